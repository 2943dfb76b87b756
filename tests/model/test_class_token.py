"""The class token of a ViT, and that before and behind CLIP's projection: against timm, and where there is none."""

import pytest
import timm
import torch
import torch.nn.functional as F

from pipeline.common.errors import UserError
from pipeline.model import build, commit_statistics_, load_weights_
from pipeline.model.normalization import IMAGENET, LUPERSON, Renormalize
from tests.tiny_clip import CLIP, NAME, PROJECTION, WIDTH

SIZE = (64, 32)


def images(batch: int = 4) -> torch.Tensor:
    return torch.randn(batch, 3, *SIZE, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def published() -> dict[str, torch.Tensor]:
    """What timm publishes of a CLIP model, for images of 224 x 224."""
    torch.manual_seed(3)
    model = timm.create_model(NAME, num_classes=PROJECTION)
    torch.nn.init.normal_(model.head.weight)
    return model.state_dict()


def test_token_is_that_of_timm() -> None:
    torch.manual_seed(0)
    network = build("timm/test_vit", pooling="token", image_size=SIZE).eval()
    with torch.no_grad():
        tokens = network.backbone.timm(network.backbone.renormalize(images()))
        assert torch.equal(network.pool(network.backbone(images())), tokens[:, 0])
    assert network.num_features == 64


def test_clip_is_the_token_before_and_behind_the_projection_each_normalised(
    published: dict[str, torch.Tensor],
) -> None:
    """Two BatchNorms without bias, one beside the other, are one over both."""
    network = build(CLIP, pooling="clip", image_size=SIZE, weights=published)
    theirs = timm.create_model(NAME, num_classes=PROJECTION, img_size=SIZE).eval()
    theirs.load_state_dict({**published, "pos_embed": network.backbone.timm.pos_embed})
    inputs = network.backbone.renormalize(images())
    token = theirs.forward_features(inputs)[:, 0]
    before, behind = torch.nn.BatchNorm1d(WIDTH), torch.nn.BatchNorm1d(PROJECTION)
    expected = F.normalize(torch.cat([before(token), behind(theirs.head(token))], dim=1), dim=1)
    embeddings = network.train()(images())
    assert embeddings.shape == (4, WIDTH + PROJECTION) == (4, network.num_features)
    torch.testing.assert_close(embeddings, expected, atol=1e-4, rtol=1e-4)
    assert not network.neck.bias.requires_grad and not network.neck.bias.any()
    commit_statistics_(network)
    running = torch.cat([before.running_mean, behind.running_mean])  # type: ignore[list-item]
    torch.testing.assert_close(network.neck.running_mean, running, atol=1e-4, rtol=1e-4)


def test_position_embedding_is_resized_and_what_is_left_out_is_named(published: dict[str, torch.Tensor]) -> None:
    network = build(CLIP, pooling="clip", image_size=(256, 128))
    loaded = load_weights_(network, published)
    assert network.backbone.timm.pos_embed.shape == (1, 1 + 16 * 8, WIDTH)
    assert torch.equal(network.backbone.timm.projection.weight, published["head.weight"])
    assert loaded.left_out == ("head.bias",)
    assert all(name.startswith("neck.") for name in loaded.initial)
    token = build(CLIP, pooling="token", image_size=SIZE)
    assert set(load_weights_(token, published).left_out) == {"head.bias", "head.weight"}


def test_file_of_clips_authors_is_loaded(published: dict[str, torch.Tensor]) -> None:
    """The image tower, `visual.`, by the names of OpenAI's release, beside a text tower."""
    network = build(CLIP, pooling="clip", image_size=SIZE, weights=published)
    names = {"patch_embed.proj": "conv1", "norm_pre": "ln_pre", "blocks.": "transformer.resblocks."}
    names |= {"mlp.fc1": "mlp.c_fc", "mlp.fc2": "mlp.c_proj", "attn.proj": "attn.out_proj"}
    names |= {"attn.qkv.": "attn.in_proj_", "norm1": "ln_1", "norm2": "ln_2", "pos_embed": "positional_embedding"}
    theirs: dict[str, torch.Tensor] = {}
    for name, tensor in published.items():
        for old, new in names.items():
            name = name.replace(old, new)
        name = name.replace("norm.", "ln_post.") if name.startswith("norm.") else name
        theirs[f"visual.{name}"] = tensor
    theirs["visual.class_embedding"] = theirs.pop("visual.cls_token").flatten()
    theirs["visual.positional_embedding"] = theirs["visual.positional_embedding"][0]
    theirs["visual.proj"] = theirs.pop("visual.head.weight").T.contiguous()
    del theirs["visual.head.bias"]
    theirs |= {"token_embedding.weight": torch.ones(5, 2), "logit_scale": torch.ones(())}
    other = build(CLIP, pooling="clip", image_size=SIZE, weights=theirs)
    assert other.loaded is not None
    assert set(other.loaded.left_out) == {"token_embedding.weight", "logit_scale", "head.bias"}
    expected = network.state_dict()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in other.state_dict().items())


def test_weights_without_a_projection_are_refused(published: dict[str, torch.Tensor]) -> None:
    bare = {name: tensor for name, tensor in published.items() if not name.startswith("head.")}
    with pytest.raises(UserError, match=r"have no projection of CLIP \(head\), use model.pooling: token"):
        build(CLIP, pooling="clip", image_size=SIZE, weights=bare)


@pytest.mark.parametrize(
    ("backbone", "pooling", "match"),
    [
        (
            "resnet10",
            "token",
            "token needs a ViT with a class token, and resnet10 has none: use avg, gem, max or avg.max",
        ),
        ("timm/resnet10t", "clip", "clip needs a ViT with a class token, and timm/resnet10t has none"),
        ("timm/test_vit_relpos", "token", "token needs a ViT with a class token, and timm/test_vit_relpos has none"),
        ("timm/test_vit", "clip", "clip needs a ViT with CLIP's projection, and timm/test_vit has none: use token, or"),
        ("timm/vit_base_patch32_clip_224.openai_ft_in1k", "clip", "clip needs .* projection, and .*in1k has none"),
    ],
)
def test_network_without_it_is_one_line(backbone: str, pooling: str, match: str) -> None:
    with torch.device("meta"), pytest.raises(UserError, match=f"^model.pooling: {match}") as caught:
        build(backbone, pooling=pooling, image_size=SIZE)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("size", [(64, 40), (60, 32), (70, 20)])
@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "test_vit"])
def test_size_that_is_no_whole_number_of_patches_is_one_line(name: str, size: tuple[int, int]) -> None:
    """Some of timm's ViTs would not see the rest, others refuse it."""
    height, width = (side // 16 * 16 for side in size)
    expected = f"patches of timm/{name}, which are 16 x 16: .*={height} and .*={width}$"
    with torch.device("meta"), pytest.raises(UserError, match=expected):
        build(f"timm/{name}", image_size=size).require_fitting_images()


def test_size_that_fits_is_accepted() -> None:
    size = (60, 30)
    build("timm/test_vit", image_size=SIZE).require_fitting_images()
    build("resnet10_w32", image_size=size).require_fitting_images()
    build("timm/resnet10t", image_size=size).require_fitting_images()


@pytest.mark.parametrize("backbone", ["resnet10_w32", "timm/test_vit", "timm/resnet10t"])
def test_images_are_normalised_by_the_statistics_that_are_asked_for(backbone: str) -> None:
    networks = []
    for normalize in ("luperson", "imagenet"):
        torch.manual_seed(0)
        networks.append(build(backbone, normalize=normalize, image_size=SIZE).eval())
    pixels = torch.rand(2, 3, *SIZE)
    means, stds = zip(LUPERSON, IMAGENET, strict=True)
    luperson, imagenet = (
        (pixels - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)
        for mean, std in zip(means, stds, strict=True)
    )
    with torch.no_grad():
        torch.testing.assert_close(networks[0](imagenet), networks[1](luperson), atol=1e-4, rtol=1e-4)


def test_imagenets_statistics_change_nothing() -> None:
    batch = images()
    assert Renormalize(IMAGENET)(batch) is batch
