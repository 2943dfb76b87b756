"""The figures of the report, drawn by matplotlib. A new figure is a module in this folder and a line in FIGURES.

A figure is a function from the report's data to a `Picture`, or to None if the data do not hold what it draws. The
picture names the section of the page that shows it; every picture is also a PNG file beside the page.
"""

from collections.abc import Callable

from pipeline.report.contents import ReportData
from pipeline.report.figures.camera_heatmap import camera_figure
from pipeline.report.figures.clustering_curves import cluster_quality_figure, clusters_figure, distances_figure
from pipeline.report.figures.cmc_curve import cmc_figure
from pipeline.report.figures.contact_sheets import clusters_sheet, confused_pairs_sheet, ranked_lists_sheet
from pipeline.report.figures.drawing import Picture
from pipeline.report.figures.epoch_bars import time_figure
from pipeline.report.figures.learning_curves import accuracy_figure, learning_rate_figure, loss_figure
from pipeline.report.figures.signal_curves import signals_figure
from pipeline.report.figures.tsne_map import map_figure
from pipeline.report.figures.verification_curve import verification_figure

# Key -> title, in the order of the page. A section that has nothing to show is left out.
SECTIONS: dict[str, str] = {
    "result": "Result",
    "learning": "Learning curves",
    "ranking": "Ranking",
    "lists": "Ranked lists",
    "failures": "Where it fails",
    "map": "Map of the embedding",
    "clusters": "Clusters",
    "data": "Data",
    "settings": "Settings",
}
# In the order within their sections.
FIGURES: tuple[Callable[[ReportData], Picture | None], ...] = (
    accuracy_figure,
    loss_figure,
    clusters_figure,
    distances_figure,
    cluster_quality_figure,
    signals_figure,
    learning_rate_figure,
    time_figure,
    cmc_figure,
    verification_figure,
    camera_figure,
    ranked_lists_sheet,
    confused_pairs_sheet,
    map_figure,
    clusters_sheet,
)


def draw(data: ReportData) -> list[Picture]:
    """All figures that the data allow, in the order of FIGURES."""
    drawn = [figure(data) for figure in FIGURES]
    return [picture for picture in drawn if picture is not None]
