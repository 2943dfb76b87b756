"""Feature extractors of the timm library as trunks: `timm/<name>`, convolutional or ViT.

timm builds the model for the size of the crops, without classifier and without pooling. What it gives is brought to
the maps that our poolings expect:

- maps (B, C, h, w) as they are, those with channels last turned;
- tokens (B, n, C) of a ViT: class, register and other prefix tokens are dropped (they take part in the attention, so
  they are not lost), the patch tokens become maps (B, C, n, 1). So `avg` is the mean of the patch tokens. `gem` takes
  values below 0 for 0, and the tokens of a ViT have as many of them as of the others: prefer avg, max or avg+max there.

A step has to give the same bits on any number of processes, which asks for three changes: every BatchNorm becomes a
grouped one, dropout and stochastic depth are switched off, and attention is computed by plain matrix products (the
fused kernels' gradients differ from run to run on a GPU). A model that still draws random numbers is refused, as is
one whose BatchNorm does not see the images as its rows.

Images arrive normalized by the ImageNet statistics; a model that was trained with others (many ViTs: 0.5 and 0.5)
gets them with its own.

Source: Wightman, "PyTorch Image Models", https://github.com/huggingface/pytorch-image-models.

Shapes: (B, 3, H, W) -> (B, C, h, w); C = `num_features`; h and w depend on the model.
"""

import difflib
from functools import cache
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from pipeline.common.errors import UserError
from pipeline.model.probing import Probe, probe
from pipeline.model.timm_batchnorm import group_batchnorms_

if TYPE_CHECKING:
    from timm.models import PretrainedCfg

PREFIX = "timm/"
HEADLESS: dict[str, Any] = {"num_classes": 0, "global_pool": ""}
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def is_timm(backbone: str) -> bool:
    """Whether a backbone is named as one of timm."""
    return backbone.startswith(PREFIX)


def timm_config(backbone: str) -> "PretrainedCfg":
    """What timm knows of `timm/<architecture>` or `timm/<architecture>.<tag>`, without building it.

    Raises:
        UserError: timm has no such model, with the names that are nearest.
    """
    import timm  # takes seconds, and only this backbone needs it

    name = backbone.removeprefix(PREFIX)
    if name not in _names():
        near = difflib.get_close_matches(name, _names(), n=4) or difflib.get_close_matches(name, _names(), cutoff=0.3)
        raise UserError(
            f"backbone: timm {timm.__version__} has no model {name!r}"
            + (f"; is it timm/{' or timm/'.join(near)}?" if near else "")
        )
    config = timm.get_pretrained_cfg(name)
    if config is None:
        raise UserError(f"backbone: timm {timm.__version__} describes no input of {name!r}, use another model")
    return config


def create(backbone: str, *, image_size: tuple[int, int], **options: Any) -> nn.Module:
    """Builds timm's model of a backbone for images of H x W, its weights drawn from torch's global generator.

    Args:
        backbone: `timm/<architecture>` or `timm/<architecture>.<tag>`.
        image_size: H and W.
        options: for `timm.create_model`.

    Raises:
        UserError: unknown name, or timm cannot build it so.
    """
    import timm

    config = timm_config(backbone)
    if config.fixed_input_size:
        options["img_size"] = image_size
    try:
        return timm.create_model(backbone.removeprefix(PREFIX), **options)
    except Exception as error:  # each of timm's families says in its own way that it cannot
        raise _unusable(backbone, image_size, error) from error


class TimmTrunk(nn.Module):
    """A model of timm without its head."""

    scale: Tensor
    shift: Tensor

    def __init__(self, backbone: str, *, image_size: tuple[int, int] | None, group_size: int | None) -> None:
        """
        Args:
            backbone: `timm/<architecture>` or `timm/<architecture>.<tag>`.
            image_size: H and W of the images; None = those that the published weights were trained on. Convolutional
                models take others as well, most ViTs do not.
            group_size: images that share the statistics of BatchNorm; None = the batch of the process.

        Raises:
            UserError: unknown name, or a model that cannot serve here: it says why.
        """
        super().__init__()
        config = timm_config(backbone)
        self.name = backbone
        self.image_size: tuple[int, int] = image_size or (config.input_size[1], config.input_size[2])
        found = self._probe()
        self.num_features: int = found.width
        # "timm" and not "model", so that no name of timm's is taken for a prefix, or for one of our neck.
        self.timm = _deterministic(create(backbone, image_size=self.image_size, **HEADLESS))
        try:
            group_batchnorms_(self.timm, found.batchnorms, group_size=group_size)
        except ValueError as error:
            raise _unusable(backbone, self.image_size, error) from error
        for name in found.unused:
            self.timm.get_parameter(name).requires_grad_(False)
        self._kind, self._prefix = found.kind, found.prefix
        # (x std + mean - its mean) / its std
        std, mean = torch.tensor(IMAGENET_STD), torch.tensor(IMAGENET_MEAN)
        own_std, own_mean = torch.tensor(config.std), torch.tensor(config.mean)
        self._renormalize = (tuple(config.mean), tuple(config.std)) != (IMAGENET_MEAN, IMAGENET_STD)
        self.register_buffer("scale", (std / own_std).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("shift", ((mean - own_mean) / own_std).view(1, 3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        if self._renormalize:
            images = images * self.scale + self.shift
        features = self.timm(images)
        if self._kind == "NCHW":
            return features
        if self._kind == "NHWC":
            return features.permute(0, 3, 1, 2)  # (B, h, w, C)
        return features[:, self._prefix :].transpose(1, 2).unsqueeze(3)  # (B, n, C) -> (B, C, n, 1)

    def _probe(self) -> Probe:
        """What the model does with images, observed on one without memory."""
        with torch.random.fork_rng(devices=[]), torch.device("meta"):
            model = _deterministic(create(self.name, image_size=self.image_size, **HEADLESS))
        try:
            return probe(model, torch.empty(2, 3, *self.image_size, device="meta"))
        except Exception as error:  # as in `create`
            raise _unusable(self.name, self.image_size, error) from error


@cache
def _names() -> tuple[str, ...]:
    """Architectures, and architectures with the tag of published weights."""
    import timm

    return tuple(dict.fromkeys((*timm.list_models(), *timm.list_models(include_tags=True))))


def _deterministic(model: nn.Module) -> nn.Module:
    """Switches off what draws random numbers in train mode, and the attention that is not repeatable."""
    from timm.layers.drop import DropPath

    module: Any
    for module in model.modules():
        if isinstance(module, nn.modules.dropout._DropoutNd):
            module.p = 0.0
        elif isinstance(module, DropPath):
            module.drop_prob = 0.0
        if hasattr(module, "drop_rate"):  # for a function in place of a layer
            module.drop_rate = 0.0
        if hasattr(module, "fused_attn"):
            module.fused_attn = False
    return model


def _unusable(backbone: str, image_size: tuple[int, int], error: Exception) -> UserError:
    reason = " ".join(str(error).split()) or type(error).__name__
    height, width = image_size
    return UserError(f"{backbone} cannot be the backbone for images of {height} x {width} pixels: {reason}")
