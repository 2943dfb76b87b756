"""Using a trained network elsewhere: in a program of one's own (`Embedder`, `Gallery`), as ONNX, and by MLflow."""

import importlib
from typing import TYPE_CHECKING, Any

from pipeline.inference.embedder import Embedder, Judgement

if TYPE_CHECKING:
    from pipeline.inference.gallery import Gallery

__all__ = ["Embedder", "Gallery", "Judgement"]


def __getattr__(name: str) -> Any:
    """`Gallery`, when it is asked for: what MLflow serves comes without a library to search with."""
    if name == "Gallery":
        return importlib.import_module("pipeline.inference.gallery").Gallery
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
