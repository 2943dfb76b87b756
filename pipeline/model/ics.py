"""ViT-S with the IBN-based convolution stem (ICS) of TransReID-SSL, as a model of timm: `timm/vit_small_ics`.

Before the patches are projected, three convolutions halve the resolution: 7 x 7 with stride 2, and two 3 x 3; IBN-a
follows the first two, BatchNorm the third. Everything behind them is timm's ViT-S/16. timm learns of it when this
module is imported.

Source: Luo et al., "Self-Supervised Pre-Training for Transformer-Based Person Re-Identification", arXiv 2111.12084,
built from its description; its weights were trained on LUPerson, whose statistics the images get.

Shapes: (B, 3, H, W) -> (B, n, C), n = H / p x W / p patches of p = 16 pixels.
"""

from typing import Any

from timm.layers.patch_embed import PatchEmbed
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from timm.models.vision_transformer import VisionTransformer, checkpoint_filter_fn
from torch import Tensor, nn

from pipeline.model.ibn import IBN
from pipeline.model.normalization import LUPERSON

STEM_WIDTH = 64

default_cfgs = generate_default_cfgs(
    {
        "vit_small_ics.luperson": {
            "num_classes": 0,
            "input_size": (3, 256, 128),
            "fixed_input_size": True,
            "mean": LUPERSON[0],
            "std": LUPERSON[1],
            "first_conv": "patch_embed.conv.0",
            "classifier": "head",
        }
    }
)


class ConvolutionStem(PatchEmbed):
    """Images to tokens, (B, 3, H, W) -> (B, n, C); H and W are multiples of p."""

    def __init__(self, *, patch_size: int = 16, in_chans: int = 3, embed_dim: int = 768, **options: Any) -> None:
        super().__init__(patch_size=patch_size, in_chans=in_chans, embed_dim=embed_dim, **options)
        width = STEM_WIDTH
        self.conv = nn.Sequential(
            nn.Conv2d(in_chans, width, kernel_size=7, stride=2, padding=3, bias=False),
            IBN(width, norm_layer=nn.BatchNorm2d),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, width, kernel_size=3, padding=1, bias=False),
            IBN(width, norm_layer=nn.BatchNorm2d),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, width, kernel_size=3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
        )
        self.proj = nn.Conv2d(width, embed_dim, kernel_size=patch_size // 2, stride=patch_size // 2)

    def forward(self, x: Tensor) -> Tensor:
        assert self.img_size is not None
        assert tuple(x.shape[2:]) == tuple(self.img_size), f"{tuple(x.shape[2:])} for {tuple(self.img_size)}"
        return self.norm(self.proj(self.conv(x)).flatten(2).transpose(1, 2))


@register_model
def vit_small_ics(pretrained: bool = False, **options: Any) -> VisionTransformer:
    """timm's entry: see `timm.create_model`."""
    values = {"patch_size": 16, "embed_dim": 384, "depth": 12, "num_heads": 6, "embed_layer": ConvolutionStem}
    model = build_model_with_cfg(
        VisionTransformer,
        "vit_small_ics",
        pretrained,
        pretrained_filter_fn=checkpoint_filter_fn,
        **{**values, **options},
    )
    assert isinstance(model, VisionTransformer)
    return model
