"""Every layout in miniature, with its official quirks, through the one function that reads them all."""

import dataclasses
from pathlib import Path

import pandas as pd
import pytest

from pipeline.common.errors import UserError
from pipeline.datasets.catalogue import validate
from pipeline.datasets.published_counts import PUBLISHED_IMAGES
from pipeline.preparation.readers import (
    DATASETS,
    FOLDERS,
    ReaderOptions,
    count_warning,
    dataset_folder,
    open_dataset,
)
from pipeline.preparation.readers.training_only import TRAINING_ONLY
from tests.replicas import CAMERAS, REPLICAS, SHOTS, Replica, write_replica


def as_rows(catalogue: pd.DataFrame) -> tuple[tuple[object, ...], ...]:
    validate(catalogue)
    return tuple(catalogue.astype(object).where(catalogue.notna(), None).itertuples(index=False, name=None))


@pytest.fixture(scope="module")
def replicas(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Replica]]:
    """name -> (folder of raw data, replica), of small pictures."""
    raws = {name: tmp_path_factory.mktemp(name) for name in REPLICAS}
    return {name: (raw, write_replica(name, raw, height=8, width=4)) for name, raw in raws.items()}


def test_replicas_are_there_for_every_data_set() -> None:
    assert {name.removesuffix("_v2") for name in REPLICAS} == set(DATASETS) - {"synthetic"}


@pytest.mark.parametrize("name", REPLICAS)
def test_open_dataset_finds_what_was_written(replicas: dict[str, tuple[Path, Replica]], name: str) -> None:
    raw, replica = replicas[name]
    source = open_dataset(replica.dataset, raw, options=replica.options)
    assert source.folder == replica.folder == dataset_folder(replica.dataset, raw, options=replica.options)
    assert as_rows(source.catalogue) == replica.rows
    assert all((source.folder / path).is_file() for path in source.catalogue["path"])
    assert all("\n" not in line for line in (*source.warnings, *source.notes))


@pytest.mark.parametrize("name", REPLICAS)
def test_open_dataset_finds_the_same_again(replicas: dict[str, tuple[Path, Replica]], name: str) -> None:
    raw, replica = replicas[name]
    first, second = (open_dataset(replica.dataset, raw, options=replica.options) for _ in range(2))
    pd.testing.assert_frame_equal(first.catalogue, second.catalogue)
    assert (first.warnings, first.notes) == (second.warnings, second.notes)


@pytest.mark.parametrize("name", REPLICAS)
def test_replica_suffices_to_train_on(replicas: dict[str, tuple[Path, Replica]], name: str) -> None:
    raw, replica = replicas[name]
    catalogue = open_dataset(replica.dataset, raw, options=replica.options).catalogue
    train = catalogue[catalogue["split"] == "train"]
    assert len(train) == 8 * CAMERAS * SHOTS
    if name != "folder":
        assert train["pid"].nunique() == 8 and train.groupby("pid").size().min() >= 8
    if name not in ("folder", "vehicleid", "atrw"):
        assert train.groupby("pid")["camid"].nunique().min() >= 2


@pytest.mark.parametrize("name", [name for name in REPLICAS if name not in ("folder", *TRAINING_ONLY)])
def test_replica_gives_every_query_a_match(replicas: dict[str, tuple[Path, Replica]], name: str) -> None:
    raw, replica = replicas[name]
    catalogue = open_dataset(replica.dataset, raw, options=replica.options).catalogue
    query, gallery = (catalogue[catalogue["split"] == split] for split in ("query", "gallery"))
    for image in query.itertuples():
        same = gallery[gallery["pid"] == image.pid]
        assert same["camid"].isna().all() or (same["camid"] != image.camid).any()
        assert len(same) >= 1


def test_synthetic_is_read_like_market1501(market_folder: Path, tmp_path: Path) -> None:
    market_folder.rename(tmp_path / "raw" / "synthetic")
    source = open_dataset("synthetic", tmp_path / "raw", options=ReaderOptions())
    assert len(source.catalogue) == 7 and source.warnings == ()


@pytest.mark.parametrize("name", DATASETS)
def test_open_dataset_says_where_to_put_what(tmp_path: Path, name: str) -> None:
    folder = dataset_folder(name, tmp_path / "data" / "raw", options=ReaderOptions())
    with pytest.raises(UserError, match=r"is missing: put .* there") as caught:
        open_dataset(name, tmp_path / "data" / "raw", options=ReaderOptions())
    assert str(folder) in str(caught.value) and "\n" not in str(caught.value)


def test_dataset_folder_refuses_unknown_names(tmp_path: Path) -> None:
    for ask in (dataset_folder, open_dataset):
        with pytest.raises(UserError, match=r"dataset must be one of synthetic, market1501, .*csv, got 'market'"):
            ask("market", tmp_path, options=ReaderOptions())


@pytest.mark.parametrize("name", [name for name, folders in FOLDERS.items() if len(folders) > 1])
def test_dataset_folder_is_the_first_that_exists(tmp_path: Path, name: str) -> None:
    first, second = (tmp_path / folder for folder in FOLDERS[name])
    assert dataset_folder(name, tmp_path, options=ReaderOptions()) == first
    second.mkdir(parents=True)
    assert dataset_folder(name, tmp_path, options=ReaderOptions()) == second
    first.mkdir()
    assert dataset_folder(name, tmp_path, options=ReaderOptions()) == first


@pytest.mark.parametrize("name", ["folder", "csv"])
def test_dataset_folder_of_own_images_is_named_by_the_options(tmp_path: Path, name: str) -> None:
    assert dataset_folder(name, tmp_path, options=ReaderOptions(folder="birds")) == tmp_path / "birds"


def test_dataset_folder_may_lie_in_one_of_the_same_name(tmp_path: Path) -> None:
    outer = tmp_path / "market1501/Market-1501-v15.09.15"
    inner = outer / "market-1501-v15.09.15/Market-1501-v15.09.15"
    (inner / "query").mkdir(parents=True)
    (inner / "bounding_box_train").mkdir()
    (outer / "Thumbs.db").touch()
    (outer / "__MACOSX").mkdir()
    assert dataset_folder("market1501", tmp_path) == inner
    (outer / "notes").mkdir()  # then it is not clear which is meant, and the message names the outer one
    assert dataset_folder("market1501", tmp_path) == outer
    (tmp_path / "mine/mine").mkdir(parents=True)
    assert dataset_folder("folder", tmp_path) == tmp_path / "mine"


def test_open_dataset_warns_of_other_counts_than_published(replicas: dict[str, tuple[Path, Replica]]) -> None:
    raw, replica = replicas["market1501"]
    (warning,) = open_dataset("market1501", raw, options=replica.options).warnings
    assert "\n" not in warning
    assert "holds 72 train, 8 query, 31 gallery images" in warning
    assert "published: 12,936 train, 3,368 query, 15,913 gallery" in warning


@pytest.mark.parametrize("name", PUBLISHED_IMAGES)
def test_count_warning_is_silent_for_the_published_counts(name: str) -> None:
    splits = [split for split, count in PUBLISHED_IMAGES[name].items() for _ in range(count)]
    assert count_warning(name, pd.DataFrame({"split": splits})) is None
    assert count_warning(name, pd.DataFrame({"split": splits[1:]})) is not None


def identities(train: int, gallery: int) -> pd.DataFrame:
    pids = [*range(train), *range(gallery), *range(gallery)]
    return pd.DataFrame({"pid": pids, "split": ["train"] * train + ["gallery"] * gallery + ["query"] * gallery})


@pytest.mark.parametrize("size", [800, 1600, 2400])
def test_count_warning_counts_the_identities_of_a_test_list(size: int) -> None:
    assert count_warning("vehicleid", identities(13_164, size), test_size=size) is None
    warning = count_warning("vehicleid", identities(13_164, size - 1), test_size=size)
    assert warning is not None and f"13,164 train, {size - 1:,} gallery identities" in warning
    assert f"published: 13,164 train, {size:,} gallery." in warning


def test_count_warning_counts_identities_where_images_are_not_published() -> None:
    assert count_warning("vehiclex", identities(1_362, 0)) is None
    assert count_warning("clonedperson", identities(3, 2)) is None  # nothing is published of its splits
    assert "1,361 train identities; published: 1,362 train." in str(count_warning("vehiclex", identities(1_361, 0)))


@pytest.mark.parametrize("name", ["synthetic", "folder", "csv"])
def test_count_warning_knows_nothing_of_own_images(name: str) -> None:
    assert count_warning(name, identities(3, 2)) is None


def test_reader_options_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        ReaderOptions().seed = 2  # type: ignore[misc]


def test_own_images_lie_below_the_folder_of_raw_data(tmp_path: Path) -> None:
    inside = ReaderOptions(folder=str(tmp_path / "mine"))
    assert dataset_folder("folder", tmp_path, options=inside) == tmp_path / "mine"
    with pytest.raises(UserError, match=r"own\.folder must lie below .*, got /data/crops: move it there, or link it"):
        dataset_folder("folder", tmp_path, options=ReaderOptions(folder="/data/crops"))


def test_an_archive_of_another_name_is_named_where_the_data_set_is_missing(tmp_path: Path) -> None:
    (tmp_path / "msmt17").mkdir()
    for name in ("msmt17/download.tar.gz", "archive.zip", "notes.txt"):
        (tmp_path / name).touch()
    with pytest.raises(UserError, match=r"MSMT17_V1 is missing, and no archive is called like it") as error:
        open_dataset("msmt17", tmp_path)
    assert str(error.value).endswith(
        f"if one of {tmp_path}/archive.zip, {tmp_path}/msmt17/download.tar.gz holds MSMT17_V1, call it MSMT17_V1.zip"
    )
