"""Report: one self-contained HTML page and its figures (the only import of matplotlib and of the template engine)."""

from pipeline.report.clusters import sample_clusters
from pipeline.report.confusion import illustrate_pairs
from pipeline.report.contents import (
    ClusterSample,
    ConfusedPair,
    EmbeddingMap,
    RankedImage,
    RankedList,
    ReportData,
    ResultRow,
    SplitSummary,
    summarise_splits,
)
from pipeline.report.figures.embedding_map import read_map
from pipeline.report.page import write_report
from pipeline.report.published import published_rows
from pipeline.report.ranked_lists import illustrate

__all__ = [
    "ClusterSample",
    "ConfusedPair",
    "EmbeddingMap",
    "RankedImage",
    "RankedList",
    "ReportData",
    "ResultRow",
    "SplitSummary",
    "illustrate",
    "illustrate_pairs",
    "published_rows",
    "read_map",
    "sample_clusters",
    "summarise_splits",
    "write_report",
]
