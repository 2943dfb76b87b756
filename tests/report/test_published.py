"""Published figures stand beside a result on the paper's own images, and nowhere else."""

import pytest

from pipeline.report import SplitSummary, published_rows
from pipeline.report.published import published_remark

SIZES = {
    "market1501": (12936, 3368, 15913),
    "dukemtmc": (16522, 2228, 17661),
    "msmt17": (32621, 11659, 82161),
}


def splits(sizes):
    names = ("train", "query", "gallery")
    return tuple(SplitSummary(name, size, None, None) for name, size in zip(names, sizes, strict=True))


@pytest.mark.parametrize(
    ("dataset", "dccc", "starred", "cluster_contrast", "spcl"),
    [
        ("market1501", (0.866, 0.941, 0.980, 0.989), (0.882, 0.952, 0.983, 0.990), (0.821, 0.923), (0.731, 0.881)),
        ("dukemtmc", (0.740, 0.854, 0.922, 0.939), (0.769, 0.871, 0.935, 0.952), (0.726, 0.849), (0.653, 0.812)),
        ("msmt17", (0.316, 0.623, 0.734, 0.779), (0.443, 0.738, 0.825, 0.857), (0.276, 0.560), (0.191, 0.423)),
    ],
)
def test_published_rows_are_the_papers_figures(dataset, dccc, starred, cluster_contrast, spcl):
    rows = published_rows(dataset, splits(SIZES[dataset]))
    scores = [tuple(row.scores.values()) for row in rows]
    assert [row.name for row in rows] == ["DCCC (paper)", "DCCC* (paper)", "Cluster Contrast", "SpCL"]
    assert scores == [dccc, starred, cluster_contrast, spcl]
    assert {row.kind for row in rows} == {"published"}
    assert published_remark(dataset, splits(SIZES[dataset])) is None


@pytest.mark.parametrize("dataset", ["synthetic", "personx", "vehicleid", "randperson", "Market1501"])
def test_published_rows_are_empty_for_other_data_sets(dataset):
    assert published_rows(dataset, splits(SIZES["market1501"])) == ()
    assert published_remark(dataset, splits(SIZES["market1501"])) is None


def test_published_rows_are_empty_for_other_images_under_the_same_name():
    other = splits((1000, 400, 542))
    assert published_rows("market1501", other) == ()
    remark = published_remark("market1501", other)
    assert "12,936 / 3,368 / 15,913 images" in remark
    assert "this run read 1,000 / 400 / 542" in remark
    assert "read 0 / 0 / 0" in published_remark("market1501", ())
