"""A CLIP model of two blocks, which timm knows once this module is imported: 32 wide, its projection 24."""

from typing import Any

from timm.models import generate_default_cfgs, register_model
from timm.models.vision_transformer import VisionTransformer, _create_vision_transformer

NAME = "vit_toy_clip_224"
CLIP = f"timm/{NAME}"
WIDTH, PROJECTION = 32, 24
_PUBLISHED = {"num_classes": PROJECTION, "input_size": (3, 224, 224), "fixed_input_size": True, "classifier": "head"}
default_cfgs = generate_default_cfgs({f"{NAME}.toy": {**_PUBLISHED, "mean": (0.48, 0.46, 0.41), "std": (0.27,) * 3}})


@register_model
def vit_toy_clip_224(pretrained: bool = False, **options: Any) -> VisionTransformer:
    values = {"patch_size": 16, "embed_dim": WIDTH, "depth": 2, "num_heads": 2, "pre_norm": True}
    model = _create_vision_transformer(NAME, pretrained=pretrained, **{**values, **options})
    assert isinstance(model, VisionTransformer)
    return model
