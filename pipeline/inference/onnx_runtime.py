"""An exported network in ONNX Runtime, on the processor or on a GPU.

N: images · B: batch · D: width of the embedding · H, W: pixels.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import torch

from pipeline.common.device import num_gpus
from pipeline.common.errors import UserError
from pipeline.common.progress import Progress
from pipeline.common.text import first_line, one_line
from pipeline.datasets.augment import normalise
from pipeline.inference.onnx_metadata import read_metadata
from pipeline.model.embedding import CHUNK

# By ONNX Runtime's names. Float32 stays float32 on a GPU, as in our evaluation. What a provider cannot compute, the
# next one does.
_Provider = str | tuple[str, dict[str, str]]
_CPU = "CPUExecutionProvider"
_CUDA = ("CUDAExecutionProvider", {"use_tf32": "0"})
_TENSORRT = ("TensorrtExecutionProvider", {"trt_fp16_enable": "False"})
PROVIDERS: dict[str, list[_Provider]] = {"cpu": [_CPU], "cuda": [_CUDA, _CPU], "tensorrt": [_TENSORRT, _CUDA, _CPU]}
_FATAL_ONLY = 4  # of ONNX Runtime's own log: an error is an exception anyway


class OnnxNetwork:
    """A file of `python -m stages.export`, opened.

    Attributes:
        metadata: what the file says of itself.
        provider: one of `PROVIDERS`, on which it runs.
        num_features: D.

    Args:
        path: of the file.
        provider: one of `PROVIDERS`, or "auto": cuda where torch sees a GPU and ONNX Runtime can use one, else cpu.
        threads: of the processor; None = as many as torch has.

    Raises:
        UserError: the file is missing, damaged or not ours; the provider is not installed or does not start.
        ValueError: unknown provider.
    """

    def __init__(self, path: Path, *, provider: str = "auto", threads: int | None = None) -> None:
        self.provider = _chosen(provider)
        if not path.is_file():
            raise UserError(f"{path} is missing: run `python -m stages.export` first")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or torch.get_num_threads()
        options.log_severity_level = _FATAL_ONLY
        wanted = PROVIDERS[self.provider]
        with path.open("rb"):  # a file that may not be read says so here, and not as a damaged one
            pass
        try:
            self._session = onnxruntime.InferenceSession(path, options, providers=wanted)
            texts = self._session.get_modelmeta().custom_metadata_map
        except Exception as error:  # its own exceptions have no common kind
            raise UserError(f"{path} cannot be opened, it is damaged or no ONNX file ({first_line(error)})") from error
        # ONNX Runtime goes on without a provider whose libraries it does not find.
        if _name(wanted[0]) not in self._session.get_providers():
            raise UserError(f"ONNX Runtime cannot start {self.provider} here, its libraries are missing: take cpu")
        self._path = path
        self.metadata = read_metadata(texts, path)
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        if len(inputs) != 1 or len(outputs) != 1:
            raise UserError(f"{path} is damaged: it has {len(inputs)} inputs and {len(outputs)} outputs, not one each")
        self._input = inputs[0]
        if self._input.shape[1:] != [3, *self.metadata.size]:
            shape = one_line(self._input.shape)
            raise UserError(f"{path} is damaged: its input {shape} is not of the size in its metadata")
        # A graph may declare anything: what it computes counts.
        self.num_features: int = self(np.zeros((2, 3, *self.metadata.size), np.float32)).shape[1]

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """(B, 3, H, W) float32, prepared as in the metadata -> (B, D) float32, rows of length 1.

        Raises:
            UserError: the file is damaged.
        """
        try:
            (embeddings,) = self._session.run(None, {self._input.name: images})
        except Exception as error:  # its own exceptions have no common kind
            raise UserError(f"{self._path} cannot be run, it is damaged ({first_line(error)})") from error
        if not isinstance(embeddings, np.ndarray) or embeddings.dtype != np.float32 or embeddings.ndim != 2:
            raise UserError(f"{self._path} is damaged: it gives no embeddings")
        if len(embeddings) != len(images):
            raise UserError(f"{self._path} is damaged: it gives {len(embeddings)} embeddings of {len(images)} images")
        return embeddings

    def embed(self, images: np.ndarray, *, advance: Callable[[int], None] | None = None) -> np.ndarray:
        """As `pipeline.model.embedding.embed`: images (N, H, W, 3), uint8 -> (N, D) float32."""
        embeddings = np.zeros((len(images), self.num_features), np.float32)
        for start in range(0, len(images), CHUNK):
            chunk = torch.from_numpy(np.array(images[start : start + CHUNK]))
            embeddings[start : start + CHUNK] = self(normalise(chunk).numpy())
            if advance:
                advance(len(chunk))
        return embeddings

    def embed_shown(self, images: np.ndarray, title: str, *, shown: bool = True) -> np.ndarray:
        """`embed` with a progress bar."""
        with Progress(title, len(images), unit="image", shown=shown) as progress:
            return self.embed(images, advance=progress.advance)


def _chosen(provider: str) -> str:
    installed = onnxruntime.get_available_providers()
    if provider == "auto":
        return "cuda" if num_gpus() and _CUDA[0] in installed else "cpu"
    if provider not in PROVIDERS:
        raise ValueError(f"provider must be auto or one of {', '.join(PROVIDERS)}, got {provider!r}")
    if _name(PROVIDERS[provider][0]) not in installed:
        there = ", ".join(name for name, entries in PROVIDERS.items() if _name(entries[0]) in installed)
        raise UserError(
            f"this ONNX Runtime has no {provider} (it has {there}): install onnxruntime-gpu in place of onnxruntime"
        )
    return provider


def _name(entry: _Provider) -> str:
    return entry if isinstance(entry, str) else entry[0]
