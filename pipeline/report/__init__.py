"""Report: one self-contained HTML page and its figures (the only import of the template engine)."""

from pipeline.report.contents import (
    ClusterCount,
    ClusterSample,
    ConfusedPair,
    EmbeddingMap,
    RankedImage,
    RankedList,
    ReportData,
    ResultRow,
    SplitSummary,
)
from pipeline.report.page import write_report
from pipeline.report.published import published_rows
from pipeline.report.reading import read_report, summarise_splits

__all__ = [
    "ClusterCount",
    "ClusterSample",
    "ConfusedPair",
    "EmbeddingMap",
    "RankedImage",
    "RankedList",
    "ReportData",
    "ResultRow",
    "SplitSummary",
    "published_rows",
    "read_report",
    "summarise_splits",
    "write_report",
]
