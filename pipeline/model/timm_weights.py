"""Published weights of timm's models: brought into a trunk by timm's own loader, strictly.

A published file holds a whole model: its classifier, often of another size of image, sometimes with the names of the
authors' own code. timm knows how to read it for each of its families. So the whole model is built for our size of
image and loaded by timm, which stops unless every tensor fits; what the trunk shares with it is then taken over.

Files that others publish for persons hold more: heads of a self-supervised training, tokens for parts of a body, and
positions for images that are not square, which timm takes for square ones. Where timm stops, it is asked again without
the parts that the model does not have, and with the positions brought to its size.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from pipeline.common.errors import UserError
from pipeline.model.positions import with_fitting_positions
from pipeline.model.timm_backbones import HEADLESS, PROJECTION, TimmTrunk, create, timm_config

CLIP_HEAD = "head"  # where timm has the projection of a CLIP model, in place of a classifier
LONGEST = 900  # characters of what timm says


def fit_published(
    trunk: TimmTrunk, tensors: Mapping[str, Tensor], source: str
) -> tuple[dict[str, Tensor], list[str], list[str]]:
    """The tensors of a published file as those of a trunk.

    Args:
        trunk: where they shall go; it is not changed.
        tensors: by timm's names, or by those of the authors where timm translates them.
        source: of the tensors, for messages.

    Returns:
        the tensors that the trunk can load; names in the published model of those that it has no place for; names in
        the trunk of those that are not published, such as the last norm of a model whose head has its own.

    Raises:
        UserError: timm cannot load them into the model, or they lack a projection that it has.
    """
    own = trunk.timm.state_dict()
    if {name: tensor.shape for name, tensor in tensors.items()} == {name: tensor.shape for name, tensor in own.items()}:
        return dict(tensors), [], []
    options: dict[str, Any] = {"num_classes": _num_classes(trunk, tensors)}
    if tensors.keys() == own.keys():  # of a trunk for another size of image
        options = dict(HEADLESS)
    whole, foreign = _whole(trunk, tensors, options, source)
    if f"{PROJECTION}.weight" in own:
        # Its bias, which CLIP does not have, is left out: the neck takes every constant away again.
        if (projection := whole.pop(f"{CLIP_HEAD}.weight", None)) is None:
            raise UserError(
                f"the weights of {source} have no projection of CLIP ({CLIP_HEAD}), use model.pooling: token"
            )
        whole[f"{PROJECTION}.weight"] = projection
    left_out = [name for name in whole if name not in own] + foreign
    initial = [name for name in own if name not in whole]
    return {name: tensor for name, tensor in whole.items() if name in own}, left_out, initial


def _whole(
    trunk: TimmTrunk, tensors: Mapping[str, Tensor], options: dict[str, Any], source: str
) -> tuple[dict[str, Tensor], list[str]]:
    """The whole model with these tensors in it, and the names of those that were left out for it."""
    try:
        return _loaded(trunk, tensors, options, source).state_dict(), []
    except UserError as refusal:
        known = _without_foreign_parts(trunk, tensors)
        foreign = [name for name in tensors if name not in known]
        known = with_fitting_positions(trunk.timm, tensors, known)
        if not known or (not foreign and all(known[name] is tensor for name, tensor in tensors.items())):
            raise
        options = {**options, "num_classes": _num_classes(trunk, known)}
        try:
            return _loaded(trunk, known, options, source).state_dict(), foreign
        except UserError:
            raise refusal from None  # says all that does not fit


def _without_foreign_parts(trunk: TimmTrunk, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Those of `tensors` that belong to a part of the trunk, or are the projection that it needs."""
    own = trunk.timm.state_dict()
    parts = {name.split(".")[0] for name in own}
    if f"{PROJECTION}.weight" in own and f"{CLIP_HEAD}.weight" in tensors:
        parts.add(CLIP_HEAD)
    return {name: tensor for name, tensor in tensors.items() if name.split(".")[0] in parts}


def _loaded(trunk: TimmTrunk, tensors: Mapping[str, Tensor], options: dict[str, Any], source: str) -> nn.Module:
    """timm's model with these tensors in it."""
    published = {
        "state_dict": {name: tensor.clone() for name, tensor in tensors.items()},  # timm changes some in place
        "num_classes": options["num_classes"],  # equal to what is asked for, or timm loads without being strict
        "label_offset": 0,
    }
    try:
        with torch.random.fork_rng(devices=[]):
            return create(
                trunk.name, image_size=trunk.image_size, pretrained=True, pretrained_cfg_overlay=published, **options
            )
    except UserError as error:
        reason = " ".join(str(error.__cause__ or error).split())
        if isinstance(error.__cause__, KeyError):
            reason = f"there is no tensor {reason}"
        shown = reason if len(reason) <= LONGEST else reason[:LONGEST] + " ..."
        raise UserError(f"the weights of {source} do not fit {trunk.name}: {shown}") from error


def _num_classes(trunk: TimmTrunk, tensors: Mapping[str, Tensor]) -> int:
    """Of the classifier in the file; 0 if it has none."""
    named = timm_config(trunk.name).classifier or ()
    if "visual.proj" in tensors:  # the projection in files of CLIP's authors
        return tensors["visual.proj"].shape[1]
    for name in ((named,) if isinstance(named, str) else tuple(named)) + ("head", "fc", "classifier"):
        weight = tensors.get(f"{name}.weight")
        if weight is not None and weight.ndim in (2, 4):
            return len(weight)
    return 0
