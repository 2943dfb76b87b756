"""Nested settings as one level of dotted names."""

from types import MappingProxyType

from pipeline.common.flatten import flatten


def test_flatten_names_every_leaf_in_order() -> None:
    nested = {"seed": 1, "clustering": MappingProxyType({"k1": 30, "eps": {"start": 0.6, "end": None}}), "empty": {}}
    flat = flatten(nested)
    assert list(flat.items()) == [
        ("seed", 1),
        ("clustering.k1", 30),
        ("clustering.eps.start", 0.6),
        ("clustering.eps.end", None),
        ("empty", {}),
    ]


def test_flatten_does_not_look_into_lists() -> None:
    assert flatten({"a": [{"b": 1}]}) == {"a": [{"b": 1}]}
    assert flatten({}) == {}
