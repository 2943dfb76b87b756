"""Curves of the clustering over the epochs: number of clusters, distances, agreement with the true identities.

E: epochs.
"""

from collections.abc import Mapping

import pandas as pd

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

_TALL = (5.2, 4.6)


def clusters_figure(data: ReportData) -> Picture | None:
    """eps, clusters and outliers; None if no clusters were counted."""
    history, num_identities, num_images = data.history, data.num_train_identities, data.num_train_images
    eps = lines_of(history, {"eps": "eps"})
    clusters = lines_of(history, {"num_clusters": "clusters"})
    outliers = _outliers(history, num_images)
    if not clusters:
        return None
    panels = [name for name, lines in (("eps", eps), ("clusters", clusters), ("outliers", outliers)) if lines]
    with canvas(rows=len(panels), size=_TALL) as (figure, axes):
        panel = dict(zip(panels, axes, strict=True))
        if eps:
            draw_lines(panel["eps"], eps, markers=True, start=3)
            finish(panel["eps"], history, [], ylabel="eps", last=False)
        handles = draw_lines(panel["clusters"], clusters, markers=True)
        if num_identities is not None:
            level = panel["clusters"].axhline(num_identities, color=GREY, linestyle=":", linewidth=1.6)
            handles.append((level, f"true identities ({num_identities:,})"))
        from_zero(panel["clusters"])
        finish(panel["clusters"], history, handles, ylabel="clusters", last=not outliers)
        if outliers:
            draw_lines(panel["outliers"], outliers, markers=True, start=1)
            finish(panel["outliers"], history, [], ylabel="outliers, %" if num_images else "outlier images")
            from_zero(panel["outliers"])
        axes[0].set_title("How the clusters follow eps" if eps else "Clusters and outliers")
        figure.align_ylabels(axes)
        png = png_bytes(figure)
    texts = [course(eps, digits=3)] * bool(eps) + [course(clusters, digits=0)]
    texts += [course(outliers, digits=1 if num_images else 0)] * bool(outliers)
    truth = "" if num_identities is None else f"; the training set shows {num_identities} identities"
    beside = " The true identities are shown for comparison; the training never reads them."
    return Picture(
        name="clusters",
        alt=f"Clustering over the epochs: {'; '.join(texts)}{truth}.",
        caption="At the start of each epoch DBSCAN joins images that are nearer than eps, the radius; a smaller one"
        f" makes tighter clusters and leaves more images out.{beside if num_identities is not None else ''}",
        png=png,
        section="learning",
    )


def _outliers(history: pd.DataFrame, num_images: int | None) -> dict[str, pd.Series]:
    """In percent of the images, where their number is known."""
    if num_images:
        return lines_of(history, {"num_outliers": "outliers, percent of the images"}, scale=100 / num_images)
    return lines_of(history, {"num_outliers": "outliers"})


def distances_figure(data: ReportData) -> Picture | None:
    """Distances within and between clusters; None if they were not measured."""
    history = data.history
    names = {"distance_within": "within: image to its centroid", "distance_between": "between: centroid to the next"}
    lines = lines_of(history, names)
    if not lines:
        return None
    with canvas() as (figure, axes):
        handles = draw_lines(axes[0], lines, markers=True)
        finish(axes[0], history, [], title="Distances within and between clusters", ylabel="mean cosine distance")
        from_zero(axes[0])
        figure.legend(*zip(*handles, strict=True), loc="outside lower left", ncols=2)
        png = png_bytes(figure)
    return Picture(
        name="distances",
        alt=f"Mean cosine distances over the epochs: {course(lines, digits=3)}.",
        caption="What contrastive learning of clusters is for: clusters get tight (images near their own centroid) and"
        " move apart (each centroid far from the nearest other one). By pseudo labels, without any identity.",
        png=png,
        section="learning",
    )


def cluster_quality_figure(data: ReportData) -> Picture | None:
    """Agreement of the clusters with the true identities; None if these are not known."""
    history, num_images = data.history, data.num_train_images
    pairs = {"pairwise_precision": "precision", "pairwise_recall": "recall", "pairwise_f": "F"}
    whole = {"ari": "adjusted Rand", "ami": "adjusted mutual information", "purity": "purity"}
    panels = {"pairs of images": lines_of(history, pairs), "clustering": lines_of(history, whole)}
    panels = {name: lines for name, lines in panels.items() if lines}
    if not panels:
        return None
    if num_images and "clustering" in panels:  # purity is of the images in clusters: how many are not belongs to it
        panels["clustering"] |= lines_of(history, {"num_outliers": "share of outliers"}, scale=1 / num_images)
    with canvas(rows=len(panels), size=_TALL) as (figure, axes):
        for ax, (name, lines) in zip(axes, panels.items(), strict=True):
            handles = draw_lines(ax, lines, markers=True)
            finish(ax, history, [], ylabel=name, last=ax is axes[-1])
            ax.set_ylim(min(0.0, ax.get_ylim()[0]), 1.02)
            # Beside the axes: curves that end up anywhere leave no place among them.
            ax.legend(*zip(*handles, strict=True), loc="center left", bbox_to_anchor=(1.0, 0.5), handlelength=2.0)
        axes[0].set_title("Clusters against true identities")
        figure.align_ylabels(axes)
        png = png_bytes(figure)
    return Picture(
        name="cluster_quality",
        alt=f"Agreement of the clusters with the true identities over the epochs: {_courses(panels)}.",
        caption="Pairs: of two images in one cluster, how often they are one individual (precision), and of two images"
        " of one individual, how often they are in one cluster (recall). A diagnostic that the training never reads.",
        png=png,
        section="learning",
    )


def _courses(panels: Mapping[str, Mapping[str, pd.Series]]) -> str:
    return "; ".join(
        course({f"{name}: {label}": values for label, values in lines.items()}, digits=2)
        for name, lines in panels.items()
    )
