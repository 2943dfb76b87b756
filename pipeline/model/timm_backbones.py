"""Feature extractors of the timm library as trunks: `timm/<name>`, convolutional or ViT.

timm builds the model for the size of the crops, without classifier and without pooling. What it gives is brought to
the maps that our poolings expect:

- maps (B, C, h, w) as they are, those with channels last turned;
- tokens (B, n, C) of a ViT: class, register and other prefix tokens are dropped (they take part in the attention, so
  they are not lost), the patch tokens become maps (B, C, n, 1). So `avg` is the mean of the patch tokens. `gem` takes
  values below 0 for 0, and the tokens of a ViT have as many of them as of the others: prefer avg, max or avg+max there.
- where the class token is asked for in place of the patches, it becomes maps of one place, (B, C, 1, 1): alone, or
  before and behind the projection of a CLIP model (PCL-CLIP: Li & Gong, arXiv 2310.17218), one after the other.

A step has to give the same bits on any number of processes, which asks for three changes: every BatchNorm becomes a
grouped one, dropout is switched off and stochastic depth is given its choices (`drop_path.py`), and attention is
computed by plain matrix products (the fused kernels' gradients differ from run to run on a GPU). A model that still
draws random numbers is refused, as is one whose BatchNorm does not see the images as its rows.

Images arrive normalized by the ImageNet statistics; a model that was trained with others (many ViTs: 0.5 and 0.5)
gets them with its own.

Source: Wightman, "PyTorch Image Models", https://github.com/huggingface/pytorch-image-models.

Shapes: (B, 3, H, W) -> (B, C, h, w); C = `num_features`; h and w depend on the model.
"""

import difflib
from functools import cache
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn

from pipeline.common.errors import UserError
from pipeline.model.drop_path import drop_paths, give_factors_, no_drop_path, replace_drop_paths_
from pipeline.model.normalization import Renormalize, Statistics
from pipeline.model.pooling import no_class_token
from pipeline.model.probing import Probe, probe
from pipeline.model.timm_batchnorm import group_batchnorms_

if TYPE_CHECKING:
    from timm.models import PretrainedCfg

PREFIX = "timm/"
HEADLESS: dict[str, Any] = {"num_classes": 0, "global_pool": ""}
PROJECTION = "projection"  # of a CLIP model, which timm takes for its classifier

Output = Literal["maps", "token", "clip"]  # what a trunk hands to the pooling


def is_timm(backbone: str) -> bool:
    """Whether a backbone is named as one of timm."""
    return backbone.startswith(PREFIX)


def timm_config(backbone: str) -> "PretrainedCfg":
    """What timm knows of `timm/<architecture>` or `timm/<architecture>.<tag>`, without building it.

    Raises:
        UserError: timm has no such model, with the names that are nearest.
    """
    timm = _timm()
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
    config = timm_config(backbone)
    if config.fixed_input_size:
        options["img_size"] = image_size
    try:
        return _timm().create_model(backbone.removeprefix(PREFIX), **options)
    except Exception as error:  # each of timm's families says in its own way that it cannot
        raise _unusable(backbone, image_size, error) from error


class TimmTrunk(nn.Module):
    """A model of timm without its head."""

    def __init__(
        self,
        backbone: str,
        *,
        image_size: tuple[int, int] | None,
        group_size: int | None,
        output: Output = "maps",
        drop_path: float = 0.0,
        statistics: Statistics | None = None,
    ) -> None:
        """
        Args:
            backbone: `timm/<architecture>` or `timm/<architecture>.<tag>`.
            image_size: H and W of the images; None = those that the published weights were trained on. Convolutional
                models take others as well, most ViTs do not.
            group_size: images that share the statistics of BatchNorm; None = the batch of the process.
            output: the maps or patch tokens, the class token, or the class token before and behind the projection.
            drop_path: rate of stochastic depth in the last block; it rises to it as timm has it for the model.
            statistics: that images are normalised by; None = those of the published weights.

        Raises:
            UserError: unknown name, or a model that cannot serve here: it says why.
        """
        super().__init__()
        config = timm_config(backbone)
        self.name = backbone
        self.image_size: tuple[int, int] = image_size or (config.input_size[1], config.input_size[2])
        self._options = {**HEADLESS, "drop_path_rate": drop_path} if drop_path else HEADLESS
        self._output = output
        found = self._probe()
        self.num_features: int = found.width
        # "timm" and not "model", so that no name of timm's is taken for a prefix, or for one of our neck.
        self.timm = self._built()
        try:
            group_batchnorms_(self.timm, found.batchnorms, group_size=group_size)
        except ValueError as error:
            raise _unusable(backbone, self.image_size, error) from error
        for name in found.unused:
            self.timm.get_parameter(name).requires_grad_(False)
        self._kind, self._prefix = found.kind, found.prefix
        self.renormalize = Renormalize(statistics or (config.mean, config.std))
        if output != "maps" and not (found.prefix and getattr(self.timm, "cls_token", None) is not None):
            raise no_class_token(backbone, output)
        if output == "clip":
            self._add_projection_(config)

    def forward(self, images: Tensor) -> Tensor:
        features = self.timm(self.renormalize(images))
        if self._output != "maps":
            token = features[:, 0]  # (B, C)
            if self._output == "clip":
                token = torch.cat([token, self.timm.get_submodule(PROJECTION)(token)], dim=1)
            return token[:, :, None, None]
        if self._kind == "NCHW":
            return features
        if self._kind == "NHWC":
            return features.permute(0, 3, 1, 2)  # (B, h, w, C)
        return features[:, self._prefix :].transpose(1, 2).unsqueeze(3)  # (B, n, C) -> (B, C, n, 1)

    def require_whole_patches(self) -> None:
        """Raises a UserError where the images of a ViT are no whole number of patches: it would not see their rest."""
        if self._kind == "tokens" and (error := self._cut_patches(self.timm)) is not None:
            raise error

    def _built(self) -> nn.Module:
        drop_path = "drop_path_rate" in self._options
        try:
            model = create(self.name, image_size=self.image_size, **self._options)
        except UserError as error:
            if drop_path and "drop_path_rate" in str(error):  # timm's builder does not take it
                raise no_drop_path(self.name) from error
            raise
        model = _deterministic(model, drop_path=drop_path)
        if drop_path and not drop_paths(model):
            raise no_drop_path(self.name)
        return model

    def _probe(self) -> Probe:
        """What the model does with images, observed on one without memory."""
        with torch.random.fork_rng(devices=[]), torch.device("meta"):
            model = self._built()
        try:
            # One per image: a layer that sees anything else as its rows cannot be multiplied by them.
            give_factors_(model, torch.ones(len(drop_paths(model)), 2, device="meta"))
            return probe(model, torch.empty(2, 3, *self.image_size, device="meta"), class_token=self._output != "maps")
        except Exception as error:  # as in `create`
            raise self._cut_patches(model) or _unusable(self.name, self.image_size, error) from error

    def _cut_patches(self, model: nn.Module) -> UserError | None:
        """What to say where the images are no whole number of the patches of `model`."""
        patch = getattr(getattr(model, "patch_embed", None), "patch_size", None)
        if not isinstance(patch, tuple):
            return None
        whole = tuple(max(size // side, 1) * side for size, side in zip(self.image_size, patch, strict=True))
        if whole == self.image_size:
            return None
        (height, width), (rows, columns) = self.image_size, patch
        return UserError(
            f"images of {height} x {width} pixels are no whole number of patches of {self.name}, "
            f"which are {rows} x {columns}: set image.height={whole[0]} and image.width={whole[1]}"
        )

    def _add_projection_(self, config: "PretrainedCfg") -> None:
        """The projection of a CLIP model, published in the place of a classifier; drawn as CLIP's authors do."""
        from timm.models.vision_transformer import VisionTransformer

        published = isinstance(self.timm, VisionTransformer) and "_clip_" in str(config.architecture)
        if not published or "_ft_" in str(config.tag) or not config.num_classes:
            raise UserError(
                f"model.pooling: clip needs a ViT with CLIP's projection, and {self.name} has none: "
                "use token, or a backbone such as timm/vit_base_patch16_clip_quickgelu_224.openai"
            )
        projection = nn.Linear(self.num_features, int(config.num_classes), bias=False)
        nn.init.normal_(projection.weight, std=self.num_features**-0.5)
        self.timm.add_module(PROJECTION, projection)
        self.num_features += projection.out_features


def _timm() -> ModuleType:
    """timm, which takes seconds to import and which only these backbones need, with our model in its registry."""
    import timm

    import pipeline.model.ics  # noqa: F401 - to register it

    return timm


@cache
def _names() -> tuple[str, ...]:
    """Architectures, and architectures with the tag of published weights."""
    timm = _timm()
    return tuple(dict.fromkeys((*timm.list_models(), *timm.list_models(include_tags=True))))


def _deterministic(model: nn.Module, *, drop_path: bool) -> nn.Module:
    """Switches off what draws random numbers in train mode, and the attention that is not repeatable.

    Args:
        model: just built.
        drop_path: whether its stochastic depth stays, by choices that it is given.
    """
    replace_drop_paths_(model, kept=drop_path)
    module: Any
    for module in model.modules():
        if isinstance(module, nn.modules.dropout._DropoutNd):
            module.p = 0.0
        if hasattr(module, "drop_rate"):  # for a function in place of a layer
            module.drop_rate = 0.0
        if hasattr(module, "fused_attn"):
            module.fused_attn = False
    return model


def _unusable(backbone: str, image_size: tuple[int, int], error: Exception) -> UserError:
    reason = " ".join(str(error).split()) or type(error).__name__
    height, width = image_size
    return UserError(f"{backbone} cannot be the backbone for images of {height} x {width} pixels: {reason}")
