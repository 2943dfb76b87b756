"""params.yaml: recipes, overrides, and one clear line for everything that cannot be."""

import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from ruamel.yaml import YAML

from pipeline.common.errors import UserError
from pipeline.config import load
from pipeline.config.load import Settings, check_processes
from pipeline.config.schema import Steps, TrainingSettings
from pipeline.methods import METHODS
from tests.params_file import change_params

ROOT = Path(__file__).parents[2]
ORIGINAL = (ROOT / "params.yaml").read_text(encoding="utf-8")


def read_settings(path: Path) -> Settings:
    return load.read_settings(path, methods=METHODS)


def with_change(folder: Path, **changes: object) -> Path:
    """A copy of params.yaml with some values changed, see `change_params`."""
    path = folder / "params.yaml"
    path.write_text(ORIGINAL, encoding="utf-8")
    return change_params(path, changes)


def test_settings_default_is_the_embedded_data_set() -> None:
    assert read_settings(ROOT / "params.yaml").dataset == "synthetic"


@pytest.mark.parametrize(
    ("dataset", "epochs", "eps", "tau", "smoothing", "seed"),
    [("market1501", 70, 0.7, 0.03, 0.3, 3407), ("dukemtmc", 70, 0.7, 0.07, 0.1, 1), ("msmt17", 80, 0.8, 0.6, 0.1, 1)],
)
def test_settings_recipe_is_the_papers(
    tmp_path: Path, dataset: str, epochs: int, eps: float, tau: float, smoothing: float, seed: int
) -> None:
    settings = read_settings(with_change(tmp_path, dataset=dataset))
    assert (settings.epochs, settings.clustering.eps, settings.memory.tau) == (epochs, eps, tau)
    assert (settings.loss.smoothing, settings.seed, settings.backbone) == (smoothing, seed, "resnet50")
    assert (settings.sampler.batch, settings.sampler.instances, settings.train.iters) == (256, 16, 200)
    assert (settings.clustering.eps_schedule, settings.clustering.k1, settings.clustering.k2) == ("expo", 30, 6)
    assert (settings.memory.momentum, settings.loss.weight, settings.model.bn_group) == (0.1, 1.0, 64)
    assert (settings.image.height, settings.image.width, settings.augment.pad) == (256, 128, 10)
    assert (settings.optimizer.lr, settings.optimizer.weight_decay, settings.pretrained) == (3.5e-4, 5e-4, "imagenet")


def test_settings_value_stands_above_the_recipe(tmp_path: Path) -> None:
    settings = read_settings(with_change(tmp_path, dataset="market1501", epochs=3, clustering__eps=0.55))
    assert (settings.epochs, settings.clustering.eps, settings.clustering.k1) == (3, 0.55, 30)


def test_settings_every_recipe_resolves(tmp_path: Path) -> None:
    recipes = YAML(typ="safe").load(ORIGINAL)["recipes"]
    for name in set(recipes) - {"paper", "dataset"}:
        change = {"recipe": name} if "datasets" in recipes[name] else {"dataset": name}
        assert read_settings(with_change(tmp_path, **change)).as_dict().items() >= change.items()


CLIP: tuple[Any, ...] = ("timm/vit_base_patch16_clip_quickgelu_224.openai", "clip", ["patch_embed"], 0, 60, 16)
LUPERSON: tuple[Any, ...] = ("timm/vit_small_ics", "token", [], 0.3, 50, 8)


@pytest.mark.parametrize(
    ("recipe", "dataset", "method", "network", "learning", "eps", "memory"),
    [
        ("clip_vitb16", "msmt17", "dccc", CLIP, ("milestones", 0.01), 0.7, ("dynamic", 0.1)),
        ("clip_vitb16", "market1501", "cluster_contrast", CLIP, ("milestones", 0.01), 0.5, ("instance", 0.1)),
        ("clip_vitb16", "msmt17", "dccc_cam", CLIP, ("milestones", 0.01), 0.6, ("dynamic", 0.1)),
        ("clip_vitb16", "folder", "dccc_cam", CLIP, ("milestones", 0.01), 0.4, ("dynamic", 0.1)),
        ("luperson_vits", "msmt17", "cluster_contrast", LUPERSON, ("step", 0.1), 0.7, ("hard", 0.2)),
        ("luperson_vits", "market1501", "dccc", LUPERSON, ("step", 0.1), 0.6, ("dynamic", 0.1)),
    ],
)
def test_settings_recipe_for_several_data_sets(
    tmp_path: Path,
    recipe: str,
    dataset: str,
    method: str,
    network: tuple[Any, ...],
    learning: tuple[str, float],
    eps: float,
    memory: tuple[str, float],
) -> None:
    settings = read_settings(with_change(tmp_path, recipe=recipe, dataset=dataset, method=method))
    model, optimizer = settings.model, settings.optimizer
    parts = (model.pooling, model.freeze, model.drop_path, settings.epochs, settings.sampler.instances)
    assert (settings.backbone, *parts) == network
    assert (optimizer.name, optimizer.lr, optimizer.weight_decay, optimizer.momentum) == ("sgd", 3.5e-4, 5e-4, 0.9)
    assert (optimizer.schedule, optimizer.warmup_start, optimizer.warmup_epochs) == (*learning, 10)
    assert (optimizer.milestones, optimizer.step_epochs) == ([20, 40], 20)
    assert (settings.clustering.eps, settings.memory.update, settings.memory.momentum) == (eps, *memory)
    assert (settings.image.height, settings.image.width, settings.sampler.batch, settings.train.iters) == (
        256,
        128,
        256,
        200,
    )
    assert (settings.clustering.k1, settings.clustering.k2, settings.loss.temperature) == (30, 6, 0.05)
    source = load.read_source_settings(tmp_path / "params.yaml")
    assert (source.pretrained, source.recipe) == (settings.pretrained, recipe)


def test_settings_recipe_of_another_data_set(tmp_path: Path) -> None:
    settings = read_settings(with_change(tmp_path, dataset="folder", recipe="msmt17"))
    assert (settings.dataset, settings.epochs, settings.clustering.eps) == ("folder", 80, 0.8)


def test_settings_recipe_may_extend_one_for_several_data_sets(tmp_path: Path) -> None:
    mine = {"extends": "clip_vitb16", "epochs": 50}
    for name, epochs in (("mine", 50), ("clip_vitb16", 60)):
        settings = read_settings(with_change(tmp_path, dataset="msmt17", recipe=name, recipes__mine=mine))
        assert (settings.epochs, settings.clustering.eps) == (epochs, 0.7)


def test_settings_recipe_packs_and_fetches_again_for_what_is_read_alone() -> None:
    """A new learning rate of a recipe is none of these."""
    stages = YAML(typ="safe").load((ROOT / "dvc.yaml").read_text())["stages"]
    read = {"prepare": {"image"}, "pretrained": {"backbone", "pretrained", "image"}}
    recipes = YAML(typ="safe").load(ORIGINAL)["recipes"]
    for stage, keys in read.items():
        places = {place for place in stages[stage]["params"] if place.startswith("recipes.")}
        assert places == {f"recipes.{name}.{key}" for name in ("${dataset}", "${recipe}") for key in keys}
        for name in set(recipes) - {"paper"}:
            assert recipes[name].keys() >= keys, f"DVC cannot follow recipes.{name}"


@pytest.mark.parametrize(
    ("method", "parts"),
    [
        ("dccc", ("expo", "dynamic", 0.1, 1.0)),
        ("cluster_contrast", ("fix", "instance", 0.1, 0.0)),
        ("spcl", ("fix", "hybrid", 0.2, 0.0)),
    ],
)
def test_settings_method_brings_its_parts(tmp_path: Path, method: str, parts: tuple[object, ...]) -> None:
    settings = read_settings(with_change(tmp_path, method=method, dataset="market1501"))
    memory = settings.memory
    assert (settings.clustering.eps_schedule, memory.update, memory.momentum, settings.loss.weight) == parts


def test_settings_value_stands_above_the_method(tmp_path: Path) -> None:
    settings = read_settings(with_change(tmp_path, memory__update="instance", loss__weight=0))
    assert (settings.method, settings.memory.update, settings.loss.weight) == ("dccc", "instance", 0)
    settings = read_settings(with_change(tmp_path, method="cluster_contrast", memory__update="hard"))
    assert settings.memory.update == "hard"


@pytest.mark.parametrize(
    ("word", "distance"),
    [(False, None), (True, "jaccard"), ("jaccard", "jaccard"), ("camera_jaccard", "camera_jaccard")],
)
def test_reranking_by_word_or_by_true(tmp_path: Path, word: object, distance: str | None) -> None:
    assert read_settings(with_change(tmp_path, evaluate__rerank=word)).evaluate.reranking == distance


def test_settings_of_a_method_have_defaults_and_can_be_left_out(tmp_path: Path) -> None:
    path = with_change(tmp_path, method="spcl", methods={})
    assert read_settings(path).as_dict()["methods"] == {"spcl": {"delta": 0.02, "independent": 0.9}}


def test_settings_recipe_extends_another(tmp_path: Path) -> None:
    settings = read_settings(with_change(tmp_path, dataset="msmt17", recipes__paper__clustering__k1=20))
    assert (settings.clustering.k1, settings.clustering.eps, settings.epochs) == (20, 0.8, 80)


@pytest.mark.parametrize("camera", ["[^/]+", "none", "yes: no", "#1", "'", "c(\\d+)", "ü"])
def test_settings_with_a_strange_value_read_back(tmp_path: Path, camera: str) -> None:
    settings = read_settings(with_change(tmp_path, own__camera=camera))
    settings.write(tmp_path / "all.yaml")
    assert YAML(typ="safe", pure=True).load((tmp_path / "all.yaml").read_text())["own"]["camera"] == camera


def test_what_decides_a_training_is_one_list() -> None:
    decisive = set(TrainingSettings.model_fields)
    stages = YAML(typ="safe").load((ROOT / "dvc.yaml").read_text())["stages"]
    watched = {place.split(".")[0] for place in stages["train"]["params"]} - {"recipes"}
    elsewhere = {"dataset", "image"}  # reach the training with data/prepared
    assert watched | elsewhere == decisive
    train = {place.split(".")[1] for place in stages["train"]["params"] if place.startswith("train.")}
    assert train == set(Steps.model_fields)


def test_settings_of_before_the_cameras_are_those_without_them(tmp_path: Path) -> None:
    yaml = YAML()
    values = yaml.load(ORIGINAL)
    distance = ("distance", "k_intra", "k_inter", "k2_intra", "k2_inter", "k2_first")
    later = {
        "clustering": distance,
        "synthetic": ("camera_strength", "tracklets"),
        "loss": ("camera_weight", "camera_weight_after", "proxies", "proxies_after"),
        "optimizer": ("name", "momentum", "milestones", "warmup_start"),
        "own": ("tracklet",),
        "model": ("freeze", "drop_path", "normalize"),
    }
    for section in ("recipe", "wildlife", "union"):
        del values[section]
    for section, keys in later.items():
        for key in keys:
            del values[section][key]
    with (tmp_path / "params.yaml").open("w") as file:
        yaml.dump(values, file)
    settings, now = read_settings(tmp_path / "params.yaml"), read_settings(ROOT / "params.yaml")
    assert (settings.loss, settings.synthetic, settings.optimizer) == (now.loss, now.synthetic, now.optimizer)
    assert (settings.own, settings.model, settings.recipe) == (now.own, now.model, now.recipe)
    assert (settings.wildlife, settings.union) == (now.wildlife, now.union)
    neighbours = {"k_intra": 5, "k_inter": 20}  # not in use
    assert settings.clustering == now.clustering.model_copy(update=neighbours)
    assert settings.clustering.distance == "jaccard" and settings.loss.camera_weight == "none"


@pytest.mark.parametrize(
    ("dataset", "method", "eps"),
    [
        ("market1501", "dccc", 0.7),
        ("market1501", "dccc_cam", 0.4),
        ("dukemtmc", "dccc_cam", 0.4),
        ("msmt17", "dccc", 0.8),
        ("msmt17", "dccc_cam", 0.6),
        ("folder", "dccc_cam", 0.4),
        ("csv", "dccc_cam", 0.4),
        ("synthetic", "dccc_cam", 0.6),
    ],
)
def test_settings_recipe_of_a_method(tmp_path: Path, dataset: str, method: str, eps: float) -> None:
    settings = read_settings(with_change(tmp_path, dataset=dataset, method=method))
    assert settings.clustering.eps == eps
    aware = ("camera_jaccard", "batch") if method == "dccc_cam" else ("jaccard", "none")
    assert (settings.clustering.distance, settings.loss.camera_weight) == aware


def test_settings_are_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        read_settings(ROOT / "params.yaml").clustering.eps = 0.5


def test_settings_written_beside_a_result_read_back(tmp_path: Path) -> None:
    settings = read_settings(ROOT / "params.yaml")
    settings.write(tmp_path / "all.yaml")
    assert YAML(typ="safe", pure=True).load((tmp_path / "all.yaml").read_text()) == settings.as_dict()
    settings.write(tmp_path / "some.yaml", ("dataset", "image"))
    assert list(YAML(typ="safe").load((tmp_path / "some.yaml").read_text())) == ["dataset", "image"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"clustering__eps": 1.3}, "clustering.eps must be less than 1, got 1.3"),
        ({"epochs": 0}, "epochs must be greater than or equal to 1, got 0"),
        ({"epochs": 2.5}, "epochs must be a valid integer, got 2.5"),
        ({"augment__flip": "often"}, "augment.flip must be a valid number, got 'often'"),
        (
            {"model__pooling": "mean"},
            "model.pooling must be 'avg', 'gem', 'max', 'avg.max', 'token' or 'clip', got 'mean'",
        ),
        ({"clustering__distance": "cosine"}, "clustering.distance must be 'jaccard' or 'camera_jaccard', got 'cos"),
        ({"clustering__k_inter": 0}, "clustering.k_inter must be greater than or equal to 1, got 0"),
        ({"loss__camera_weight": "some"}, "loss.camera_weight must be 'none', 'batch' or 'cluster', got 'some'"),
        ({"evaluate__rerank": "cosine"}, "rerank must be False, True, 'jaccard' or 'camera_jaccard', got 'cosine'"),
        ({"sampler__camera_aware": "no way"}, "sampler.camera_aware must be a valid boolean, got 'no way'"),
        ({"clustering__epsilon": 0.5}, "unknown key clustering.epsilon; known are eps, eps_schedule, min_samples"),
        ({"lr": 0.1}, "unknown key lr; known are dataset, method, backbone"),
        ({"recipes__synthetic__clustering__k3": 5}, "unknown key recipes.synthetic.clustering.k3; known are eps"),
        ({"recipes__paper__methods": {"moco": {}}}, "unknown key recipes.paper.methods.moco; known are dccc"),
        ({"recipes__paper__methods": {"spcl": {"image": {}}}}, "methods.spcl.image must stand in the recipe, the same"),
        ({"recipes__paper__methods": 3}, "recipes.paper.methods must hold keys and values, got 3"),
        ({"recipe": "foo"}, r"recipe must be dataset or one of those below `recipes` \(synthetic, .*vits\), got 'foo'"),
        ({"recipe": 3}, "recipe must be dataset or one of those below `recipes` .*, got 3"),
        ({"recipe": "paper"}, "recipe must be dataset or one of .*, got 'paper'"),
        ({"dataset": "clip_vitb16"}, r"dataset must be one of those below `recipes` \(.*, csv\), got 'clip_vitb16'"),
        ({"recipes__clip_vitb16__datasets": 3}, "recipes.clip_vitb16.datasets must hold keys and values, got 3"),
        (
            {"recipes__clip_vitb16__datasets": {"msmt": {}}},
            "unknown key recipes.clip_vitb16.datasets.msmt; known are synthetic, paper, market1501",
        ),
        (
            {"recipes__clip_vitb16__datasets": {"veri": {"image": {}}}},
            "recipes.clip_vitb16.datasets.veri.image must stand in the recipe, the same for all data sets",
        ),
        (
            {"recipes__clip_vitb16__datasets": {"veri": {"methods": {"moco": {}}}}},
            "unknown key recipes.clip_vitb16.datasets.veri.methods.moco; known are dccc",
        ),
        ({"model__freeze": "conv1"}, r"model.freeze must be a valid list, got 'conv1'"),
        ({"model__drop_path": 1.0}, "model.drop_path must be less than 1, got 1.0"),
        ({"model__normalize": "mine"}, "model.normalize must be 'backbone', 'imagenet' or 'luperson', got 'mine'"),
        ({"recipes__synthetic__colour": 5}, "unknown key recipes.synthetic.colour; known are dataset"),
        ({"recipes__synthetic__clustering": 5}, "recipes.synthetic.clustering must hold keys and values, got 5"),
        (
            {"recipes__synthetic__image": {}},
            "image.height is left to the recipe, but recipes.synthetic has no image.height",
        ),
        (
            {"dataset": "market"},
            r"dataset must be one of those below `recipes` \(synthetic, market1501, .*\), got 'market'",
        ),
        ({"optimizer__name": "lion"}, "optimizer.name must be 'adam', 'adamw' or 'sgd', got 'lion'"),
        ({"optimizer__momentum": 1.0}, "optimizer.momentum must be less than 1, got 1.0"),
        (
            {"optimizer__milestones": [9, 5]},
            r"optimizer.milestones must be epochs from 1 on that rise, such as \[20, 40",
        ),
        ({"optimizer__milestones": []}, "optimizer.milestones must be epochs from 1 on that rise"),
        ({"optimizer__milestones": ["soon"]}, "optimizer.milestones.0 must be a valid integer, got 'soon'"),
        (
            {"optimizer__schedule": "milestones", "epochs": 40},
            "optimizer.milestones must lie before the end of the training, which has epochs 40, got 40",
        ),
        ({"sampler__batch": 66}, "sampler.batch must be a multiple of sampler.instances, got 66 and"),
        ({"model__bn_group": 60}, "sampler.batch must be a multiple of model.bn_group, got 64 and 60"),
        ({"train__processes": 3}, "train.processes must divide sampler.batch / model.bn_group = "),
        ({"train__processes": "many"}, "train.processes must be "),
        ({"recipes": 3}, "there is no section `recipes`"),
        ({"methods": 3}, "methods must hold keys and values, got 3"),
        ({"method": "moco"}, "method must be one of dccc, dccc_cam, cluster_contrast, spcl, got 'moco'"),
        ({"methods__moco": {}}, "unknown key methods.moco; known are dccc, dccc_cam, cluster_contrast, spcl"),
        ({"methods__spcl__queue": 5}, "unknown key methods.spcl.queue; known are delta, independent"),
        ({"method": "spcl", "methods__spcl__delta": 2.0}, "methods.spcl.delta must be less than 1, got 2.0"),
        ({"clustering__eps": "method"}, "clustering.eps is left to the method, but method dccc has no clustering.eps"),
        ({"recipes__veri__extends": "pape"}, "recipes.veri.extends is 'pape', which is no recipe"),
        ({"recipes__veri__extends": "veri"}, "recipes.veri.extends is 'veri', which is a circle"),
        ({"recipes__veri": "resnet50"}, "recipes.veri must hold settings, got resnet50"),
        ({"recipes__veri__extends": {"a": 1}}, "recipes.veri.extends is {'a': 1}, which is no recipe"),
        (
            {"dataset": "paper"},
            "one of those below `recipes` .*csv., got 'paper'",
        ),
        ({"optimiser": {"lr": 0.1}}, "optimiser is called optimizer now"),
        ({"reliability": {"delta": 0.1}}, "reliability is called methods.spcl now"),
        ({"recipes__veri__optimiser": {"lr": 0.1}}, "recipes.veri.optimiser is called optimizer now"),
        ({"optimizer__lr": 1e38}, "optimizer.lr must be less than or equal to 100, got 1e"),
        (
            {"memory__update": "hybrid"},
            "memory.update must be dynamic or hard or mean or instance for method dccc, got hy",
        ),
        (
            {"method": "cluster_contrast", "clustering__eps_schedule": "expo"},
            r"eps_schedule must be fix for method cluster_contrast, got expo \(which fits method dccc, dccc_cam\)",
        ),
        (
            {"method": "cluster_contrast", "memory__update": "dynamic"},
            r"must be instance or mean or hard for method cluster_contrast, got dynamic \(which fits method dccc, ",
        ),
        ({"method": "spcl", "loss__weight": 0.5}, r"loss.weight must be 0 for method spcl, got 0.5 \(which fits"),
        (
            {"method": "spcl", "methods__spcl__delta": 0.5},
            "delta must keep clustering.eps in .* both ways, got 0.5 at 0.6",
        ),
    ],
)
def test_settings_refuse(tmp_path: Path, change: dict[str, object], message: str) -> None:
    path = with_change(tmp_path, **change)
    with pytest.raises(ValueError, match=message) as caught:
        read_settings(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [1", "is not valid YAML: "),
        ('{"a": "b", "c\u200e: 1, "d": 2}', '"c\\u200e: 1'),
        ("a: 1\na: 2", "found duplicate key"),
        ("- 1", "expected keys and values, got list"),
        ("", "expected keys and values, got NoneType"),
        ("a: " + "[" * 5000, "is not valid: it is nested too deeply"),
        ("a: " + "9" * 6000, "is not valid YAML: Exceeds the limit"),
        ("a: &a {x: 1}\n" + "".join(f"b{i}: *a\n" for i in range(30)), "has 30 aliases"),
        ("a: " + "x" * 1_000_000, "no settings are that long"),
    ],
)
def test_settings_refuse_what_is_no_mapping(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        read_settings(path)
    assert "\n" not in str(caught.value)


def test_settings_missing_file_says_where_to_stand(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is missing: run this from the top folder of the project"):
        read_settings(tmp_path / "params.yaml")


def test_processes_must_share_the_batch_evenly(tmp_path: Path) -> None:
    settings = read_settings(with_change(tmp_path, dataset="market1501"))
    for processes in (1, 2, 4):
        check_processes(settings, processes)
    for processes in (0, 3, 8):
        with pytest.raises(ValueError, match=f"must divide sampler.batch / model.bn_group = 4, got {processes}"):
            check_processes(settings, processes)


@pytest.mark.parametrize(
    "folder", ["mine", "mine/crops", "2024", ".crops", "mine (1)", "Füchse", "a,b", "/data/raw/x", "50%?"]
)
def test_own_folder_may_be_called_anything(tmp_path: Path, folder: str) -> None:
    assert read_settings(with_change(tmp_path, own__folder=folder)).own.folder == folder


@pytest.mark.parametrize(
    ("folder", "message"),
    [
        (2024, r"own\.folder must be text, got the number 2024: put it in quotes"),
        (1e3, r"own\.folder must be text, got the number 1000\.0: put it in quotes"),
        ("../x", r"own\.folder must be a folder below data/raw/, such as mine or mine/crops, .* got '\.\./x'"),
        ("C:\\crops", r"own\.folder must be a folder below data/raw/"),
        ("", r"own\.folder must be a folder below data/raw/"),
    ],
)
def test_own_folder_is_refused_in_words(tmp_path: Path, folder: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_settings(with_change(tmp_path, own__folder=folder))


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"dataset": "msmt17"}, "msmt17"),
        ({"dataset": "folder", "own__folder": "nyala"}, "nyala"),
        ({"dataset": "csv", "own__folder": "summer/nyala/"}, "nyala"),
        ({"dataset": "union", "union__datasets": ["veri", "vehicleid"]}, "veri+vehicleid"),
    ],
)
def test_own_images_are_called_by_the_name_of_their_folder_and_a_union_by_its_members(
    tmp_path: Path, changes: dict[str, Any], name: str
) -> None:
    assert read_settings(with_change(tmp_path, **changes)).data_name == name
