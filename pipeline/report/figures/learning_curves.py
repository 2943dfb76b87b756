"""Curves of the training over the epochs: accuracy, loss, learning rate."""

from itertools import cycle

from pipeline.report.contents import ReportData
from pipeline.report.figures.drawing import (
    GREY,
    Picture,
    canvas,
    course,
    draw_lines,
    finish,
    from_zero,
    lines_of,
    png_bytes,
)
from pipeline.report.wording import percent, shortened


def accuracy_figure(data: ReportData) -> Picture | None:
    """mAP on the test images, with the baselines as levels; None if it was never measured."""
    history, baselines = data.history, data.baselines
    lines = lines_of(history, {"student_mAP": "student", "teacher_mAP": "teacher"}, scale=100)
    if not lines:
        return None
    with canvas() as (figure, axes):
        ax = axes[0]
        handles = draw_lines(ax, lines, markers=True)
        for (name, score), dash in zip(baselines.items(), cycle((":", (0, (5, 3)), "-.")), strict=False):
            handles.append((ax.axhline(100 * score, color=GREY, linestyle=dash, linewidth=1.4), name))
        finish(ax, history, [], title="Accuracy on the test set", ylabel="mAP, %")
        from_zero(ax)
        # Below the axes: levels and curves leave no place among them that is always free.
        names = [shortened(name) for _, name in handles]
        figure.legend([handle for handle, _ in handles], names, loc="outside lower left", ncols=2)
        png = png_bytes(figure)
    levels = "".join(f"; {name} {percent(score)}" for name, score in baselines.items())
    return Picture(
        name="map",
        alt=f"mAP over the epochs, in percent: {course(lines)}{levels}.",
        caption=f"mAP of the student{' and of its moving average, the teacher,' if 'teacher' in lines else ''} at the"
        " epochs that were evaluated.",
        png=png,
        section="learning",
    )


def loss_figure(data: ReportData) -> Picture | None:
    """The loss and its two parts."""
    history = data.history
    names = {"loss": "total", "loss_hard": "hard labels", "loss_soft": "soft labels", "loss_proxies": "camera proxies"}
    lines = lines_of(history, names)
    if not lines:
        return None
    for part in ("hard labels", "soft labels"):
        if "total" in lines and part in lines and lines[part].equals(lines["total"]):
            lines[f"{part} (the total)"] = lines.pop(part)
            del lines["total"]
    with canvas() as (figure, axes):
        finish(axes[0], history, draw_lines(axes[0], lines, markers=True), title="Loss", ylabel="mean of the epoch")
        png = png_bytes(figure)
    return Picture(
        name="loss",
        alt=f"Loss over the epochs: {course(lines, digits=2)}.",
        caption="Contrastive loss against the memory of clusters. The number of clusters, hence of classes, changes"
        " from epoch to epoch, so values of different epochs compare only roughly.",
        png=png,
        section="learning",
    )


def learning_rate_figure(data: ReportData) -> Picture | None:
    """The learning rate; None where it stays the same."""
    history = data.history
    lines = lines_of(history, {"learning_rate": "learning rate"}, scale=1e4)
    if not lines or history["learning_rate"].nunique() < 2:
        return None
    with canvas() as (figure, axes):
        draw_lines(axes[0], lines, markers=True)
        finish(axes[0], history, [], title="Learning rate", ylabel="learning rate, 10⁻⁴")
        from_zero(axes[0])
        png = png_bytes(figure)
    return Picture(
        name="learning_rate",
        alt=f"Learning rate over the epochs: {course(lines, digits=3)} (in units of 10⁻⁴).",
        caption="The learning rate of the optimizer.",
        png=png,
        section="learning",
    )
