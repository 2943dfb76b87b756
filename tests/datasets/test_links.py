"""What is known of pairs of training images."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.common.errors import UserError
from pipeline.common.files import write_text
from pipeline.datasets.links import LINKS, Link, links_of, read_links, write_links

PATHS = tuple("abcdefgh")


def must(*pairs: str) -> list[Link]:
    return [Link("must_link", *pair) for pair in pairs]


def cannot(*pairs: str) -> list[Link]:
    return [Link("cannot_link", *pair) for pair in pairs]


def test_links_join_and_part() -> None:
    links, contradictions = links_of(PATHS, must("ac", "cf", "de", "xa") + cannot("fd", "ed", "ae", "by"))
    assert links.groups.tolist() == [0, 1, 0, 2, 2, 0, 3, 4] and links.num_groups == 5
    assert links.apart.tolist() == [[0, 2]]  # f and d, a and e: the same two
    assert contradictions == cannot("ed")


def test_no_links_leave_everybody_alone() -> None:
    links, contradictions = links_of(PATHS, [])
    assert links.groups.tolist() == list(range(8)) and links.apart.shape == (0, 2) and contradictions == []


def test_what_left_out_images_joined_stays_joined() -> None:
    links, _ = links_of(PATHS, must("ab", "bc", "gh") + cannot("bd", "ge"))
    rest = links.of_rows(np.array([0, 2, 3, 6, 7]))  # a, c, d, g, h
    assert rest.groups.tolist() == [0, 0, 1, 2, 2] and rest.apart.tolist() == [[0, 1]]


pairs = st.lists(st.tuples(st.sampled_from(PATHS), st.sampled_from(PATHS)), max_size=6)


@given(pairs, pairs)
def test_links_are_read_as_they_were_written(tmp_path_factory: pytest.TempPathFactory, joined, apart) -> None:
    folder = tmp_path_factory.mktemp("links")
    given_links = [Link("must_link", *p) for p in joined] + [Link("cannot_link", *p) for p in apart]
    links, _ = links_of(PATHS, given_links)
    write_links(folder, PATHS, links)
    again = read_links(folder, PATHS)
    if links.num_groups == len(PATHS) and not len(links.apart):
        assert again is None and not (folder / LINKS).exists()
    else:
        assert again is not None
        np.testing.assert_array_equal(again.groups, links.groups)
        np.testing.assert_array_equal(again.apart, links.apart)
    for a, b in joined:  # naively
        assert links.groups[PATHS.index(a)] == links.groups[PATHS.index(b)]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a,b,c\n",
        "kind,path_a,path_b\nmust,a,b\n",
        "kind,path_a,path_b\nmust_link,a\n",
        "\x00",
        "kind,path_a,path_b\nmust_link,a,unknown\n",
        "kind,path_a,path_b\nmust_link,a,b\ncannot_link,b,a\n",
    ],
)
def test_damaged_links_are_one_line(tmp_path: Path, text: str) -> None:
    write_text(tmp_path / LINKS, text)
    with pytest.raises(UserError, match=r"links\.csv is damaged: run the prepare stage again"):
        read_links(tmp_path, PATHS)
