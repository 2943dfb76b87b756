"""Backbones, pooling, grouped BatchNorm, weights: from images to embeddings of unit length."""

from pipeline.model.backbones import BACKBONES
from pipeline.model.batchnorm import commit_statistics_, group_size, take_statistics_
from pipeline.model.network import Network, build
from pipeline.model.pooling import POOLINGS
from pipeline.model.weights import LoadedWeights, load_weights_

__all__ = [
    "BACKBONES",
    "POOLINGS",
    "LoadedWeights",
    "Network",
    "build",
    "commit_statistics_",
    "group_size",
    "load_weights_",
    "take_statistics_",
]
