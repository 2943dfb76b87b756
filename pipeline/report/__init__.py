"""Report: one self-contained HTML page and its figures (the only import of matplotlib and of the template engine)."""

from pipeline.report.clusters import sample_clusters
from pipeline.report.contents import (
    ClusterSample,
    RankedImage,
    RankedList,
    ReportData,
    ResultRow,
    SplitSummary,
    summarise_splits,
)
from pipeline.report.page import write_report
from pipeline.report.published import published_rows
from pipeline.report.ranked_lists import illustrate

__all__ = [
    "ClusterSample",
    "RankedImage",
    "RankedList",
    "ReportData",
    "ResultRow",
    "SplitSummary",
    "illustrate",
    "published_rows",
    "sample_clusters",
    "summarise_splits",
    "write_report",
]
