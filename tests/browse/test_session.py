"""What the page shows, what a person decides, and what becomes of it."""

import io
import struct
import threading
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipeline.browse.actions import Action, Actions, merged, outliers, parted
from pipeline.browse.clusters import described, nearest_clusters, replayed
from pipeline.browse.run import labels_of
from pipeline.browse.session import Session
from pipeline.common.errors import UserError
from pipeline.common.files import write_text
from pipeline.datasets.links import Link, links_of
from pipeline.preparation.links import read_corrections
from tests.browse.conftest import COLOURS, EACH, crop


def numbers(session: Session, **how: Any) -> list[int]:
    return [cluster["number"] for cluster in session.overview(**how)["clusters"]]


def links(session: Session) -> list[Link]:
    return read_corrections(session.actions.file.parent, session.run.paths)


def test_overview_has_every_cluster_in_the_order_that_is_asked_for(session: Session) -> None:
    found = session.overview()
    assert (found["total"], found["outliers"], found["images"], found["pages"]) == (5, 2, 60, 1)
    assert sorted(numbers(session)) == numbers(session, sort="number") == [0, 1, 2, 3, 4]
    assert numbers(session, sort="size")[-1] == 4
    first = next(each for each in found["clusters"] if each["number"] == 0)
    assert first["cameras"] == 1 and first["images"][0]["camera"] == "gate"
    doubts = {c.number: c.doubt for c in described(session.run.labels, session.run.embeddings, None)}
    assert numbers(session)[0] == max(doubts, key=lambda k: doubts[k] * (2 if k == 0 else 1))
    with pytest.raises(UserError, match="sort must be one of doubt, size, number, got 'x'"):
        session.overview(sort="x")


def test_clusters_that_are_merged_are_one_and_a_link(session: Session) -> None:
    session.merge([1, 2, 2])
    assert numbers(session, sort="number") == [0, 1, 3, 4] and session.cluster(1)["size"] == 2 * EACH
    (link,) = links(session)
    assert link.kind == "must_link" and {link.path_a.split("/")[0], link.path_b.split("/")[0]} == {"green", "blue"}
    with pytest.raises(UserError, match="there is no cluster 2 any more"):
        session.merge([2, 3])
    with pytest.raises(UserError, match="select two clusters or more"):
        session.merge([3, 3])


def test_images_that_are_split_off_are_another_cluster_kept_apart_from_every_other(session: Session) -> None:
    session.split(3, [3 * EACH, 3 * EACH + 1])
    assert session.cluster(3)["size"] == EACH - 2 and session.cluster(5)["size"] == 2
    paths = session.run.paths
    known, wrong = links_of(paths, links(session))
    assert wrong == [] and known.groups[3 * EACH] == known.groups[3 * EACH + 1] and len(known.apart) == EACH - 2
    for rows, message in (
        ([], "mark some of"),
        (range(3 * EACH + 2, 4 * EACH), "mark some of"),
        ([0], "not in cluster 3"),
    ):
        with pytest.raises(UserError, match=message):
            session.split(3, list(rows))


def test_images_that_are_marked_are_outliers_until_that_is_undone(session: Session) -> None:
    paths = session.run.paths
    session.mark_outliers(2, [2 * EACH + 1, 2 * EACH])
    assert session.cluster(2)["size"] == EACH - 2 and session.overview()["outliers"] == 4
    assert links(session) == [Link("outlier", paths[2 * EACH], ""), Link("outlier", paths[2 * EACH + 1], "")]
    session.mark_outliers(None, [59])  # of those that the run left in none
    found = session.outliers()
    assert {image["row"] for image in found["images"]} == {2 * EACH, 2 * EACH + 1, 58, 59} and found["size"] == 4
    assert [image["marked"] for image in found["images"]] == [False, True, True, True]
    assert found["images"][0]["row"] == 58 and found["images"][0]["like"]["cluster"] == 4
    for number, rows, message in (
        (2, [2 * EACH], "1 of the marked images are not in cluster 2 any more"),
        (2, [0], "not in cluster 2"),
        (None, [59], "1 of the marked images are not in no cluster any more"),
        (None, [], "mark an image or more"),
        (9, [0], "there is no cluster 9"),
    ):
        with pytest.raises(UserError, match=message):
            session.mark_outliers(number, rows)
    session.undo()
    session.undo()
    assert session.cluster(2)["size"] == EACH and session.overview()["outliers"] == 2
    session.mark_outliers(1, range(EACH, 2 * EACH))  # all of a cluster
    assert numbers(session, sort="number") == [0, 2, 3, 4]


def test_images_in_no_cluster_are_joined_with_the_cluster_that_is_shown(session: Session) -> None:
    shown = session.outliers()["images"]
    assert [(image["row"], image["like"]["cluster"]) for image in shown] in ([(58, 4), (59, 4)], [(59, 4), (58, 4)])
    assert shown[0]["like"]["cosine"] >= shown[1]["like"]["cosine"] > 0.9
    first = session.cluster(4)["images"][0]["path"]
    session.join([(58, 4)])
    assert session.cluster(4)["size"] == EACH - 1 and session.overview()["outliers"] == 1
    assert links(session) == [Link("must_link", first, session.run.paths[58])]
    for pairs, message in (
        ([(58, 4)], "1 of the marked images are not in no cluster any more"),
        ([(59, 7)], "there is no cluster 7 any more"),
        ([(-1, 4), (999, 4)], "2 of the marked images"),
        ([], "mark an image or more"),
    ):
        with pytest.raises(UserError, match=message):
            session.join(pairs)
    session.undo()
    assert session.overview()["outliers"] == 2
    rows, nearest, cosines = nearest_clusters(np.full(3, -1), np.eye(3, dtype=np.float32))
    assert rows.tolist() == [0, 1, 2] and set(nearest.tolist()) == set(cosines.tolist()) == {-1}


def test_decision_against_an_earlier_one_is_refused_and_nothing_is_written(session: Session) -> None:
    session.merge([1, 2])
    (link,) = links(session)
    row = session.run.paths.index(link.path_a)
    rest = [each["row"] for each in session.cluster(1)["images"] if each["path"] != link.path_a]
    written = session.actions.file.read_bytes()
    with pytest.raises(UserError, match=r"contradicts an earlier decision: 1 outliers are images that must-links"):
        session.mark_outliers(1, [row])
    with pytest.raises(UserError, match=r"contradicts an earlier decision: 1 cannot-links are between"):
        session.split(1, rest[:-1])
    assert session.actions.file.read_bytes() == written
    session.mark_outliers(1, [rest[-1]])
    # Those that were in the file before are no obstacle.
    write_text(session.actions.file, f"{written.decode()}outlier,{link.path_a},,\n")
    session.mark_outliers(3, [3 * EACH])


def test_decisions_are_taken_back_one_by_one_but_for_those_of_others(session: Session) -> None:
    write_text(session.actions.file, "kind,path_a,path_b\nmust_link,green/00.png,green/01.png\n")
    session.split(0, [0])
    session.merge([1, 2])
    assert session.overview()["decisions"] == 2
    session.undo()
    assert session.cluster(2)["size"] == EACH and session.cluster(5)["size"] == 1
    session.undo()
    assert numbers(session, sort="number") == [0, 1, 2, 3, 4]
    with pytest.raises(UserError, match="there is nothing to undo"):
        session.undo()
    assert links(session) == [Link("must_link", "green/00.png", "green/01.png")]


def test_two_pages_lose_no_decision(session: Session) -> None:
    other = Session(session.run, Actions(session.actions.file, session.actions._lock))
    threads = [threading.Thread(target=page.split, args=(k, [EACH * k])) for k, page in ((1, session), (2, other))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    other.merge([3, 4])
    assert session.overview()["decisions"] == 3 and session.overview()["total"] == 6


def test_outliers_may_be_joined_by_hand(session: Session) -> None:
    paths = session.run.paths
    write_text(
        session.actions.file, f"kind,path_a,path_b\nmust_link,{paths[-1]},{paths[-2]}\nmust_link,gone,{paths[0]}\n"
    )
    assert session.overview()["outliers"] == 0 and session.overview()["total"] == 6


def test_what_is_wrong_with_the_file_is_one_line(session: Session) -> None:
    write_text(session.actions.file, "kind,path_a,path_b\nsame,a,b\n")
    for act in (session.overview, session.undo, lambda: session.merge([0, 1])):
        with pytest.raises(UserError, match=r"corrections\.csv: line 2: kind must be one of must_link, cannot_link"):
            act()
    assert session.actions.file.read_text().endswith("same,a,b\n")


@pytest.mark.parametrize("colour", COLOURS[1:3])
def test_search_finds_the_colour_with_verdicts(session: Session, colour: str) -> None:
    buffer = io.BytesIO()
    Image.fromarray(crop(colour, 3)).save(buffer, format="PNG")
    found = session.search(buffer.getvalue())
    assert found[0]["path"].startswith(colour) and found[0]["verdict"] == "same"
    assert found[0]["cluster"] == COLOURS.index(colour) and len(found) == 24
    wrong = ((b"", "an empty file"), (b"%PDF", "a PDF, not JPEG"), (buffer.getvalue()[:40], "damaged"))
    for content, reason in (*wrong, (bomb(), "too many pixels to be decoded safely, more than")):
        with pytest.raises(UserError, match=f"this is no picture that can be read: {reason}"):
            session.search(content)


def bomb() -> bytes:
    """The beginning of a PNG file of 15,000 x 15,000 pixels; one that is read whole would ask for 675 MB."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", 15_000, 15_000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000)))


def test_split_that_the_run_has_used_is_not_made_again() -> None:
    actions = [Action("split", tuple(parted(["a", "b"], ["d", "e"])))]
    assert replayed(np.array([0, 0, 0, 0, 0]), "abcde", actions).tolist() == [1, 1, 0, 0, 0]
    for used in ([1, 1, 1, 0, 0], [-1, -1, -1, 0, 0], [0, 0, 1, -1, -1]):  # c has gone with a and b
        assert replayed(np.array(used), "abcde", actions).tolist() == used


def test_replaying_nothing_changes_nothing(session: Session) -> None:
    labels = session.run.labels
    np.testing.assert_array_equal(replayed(labels, session.run.paths, []), labels)
    assert described(np.full(3, -1), np.eye(3, dtype=np.float32), None) == []
    (alone,) = described(np.zeros(3, np.int64), np.eye(3, dtype=np.float32), None)
    assert alone.nearest is None and alone.doubt == 0 and alone.cameras is None


def test_links_of_decisions() -> None:
    assert merged("a", "b") == [Link("must_link", "a", "b")]
    assert outliers(["a"]) == [Link("outlier", "a", "")]
    assert parted(["a", "b"], ["c"]) == [Link("must_link", "a", "b"), Link("cannot_link", "a", "c")]


def test_clusters_of_another_run_are_one_line(session: Session, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="run `dvc repro` first"):
        labels_of(tmp_path / "clusters.csv", len(session.run.paths))
    write_text(tmp_path / "clusters.csv", "path,cluster\na,0\n")
    with pytest.raises(UserError, match="of other images than data/prepared"):
        labels_of(tmp_path / "clusters.csv", len(session.run.paths))
