"""What the clusters of each epoch tell without labels: cameras and agreement with the epoch before."""

from pipeline.report.contents import ReportData
from pipeline.report.figures.drawing import Picture, canvas, course, draw_lines, finish, lines_of, png_bytes

_LINES = {
    "single_camera": "share of clusters that one camera alone sees",
    "camera_entropy": "camera entropy of the clusters, 1: all cameras equally",
    "ari_last_epoch": "agreement with the clusters of the epoch before (ARI)",
    "silhouette": "silhouette of the clusters, 1: each all by itself",
}


def signals_figure(data: ReportData) -> Picture | None:
    """Single-camera clusters, camera entropy, agreement and silhouette; None if none of them was recorded."""
    lines = lines_of(data.history, _LINES)
    if not lines:
        return None
    with canvas() as (figure, axes):
        handles = draw_lines(axes[0], lines, markers=True)
        finish(axes[0], data.history, [], title="What the clusters tell without labels", ylabel="share, index")
        axes[0].set_ylim(min(0.0, axes[0].get_ylim()[0]), 1.02)
        figure.legend(*zip(*handles, strict=True), loc="outside lower left", ncols=1)
        png = png_bytes(figure)
    return Picture(
        name="signals",
        alt=f"Signals of the clusters over the epochs: {course(lines, digits=2)}.",
        caption="Needs no identity. Where many clusters hold one camera only, the training may be learning cameras, not"
        " individuals; where clusters agree with those of the epoch before, they have settled; where their silhouette"
        " is near 0, they touch each other.",
        png=png,
        section="learning",
    )
