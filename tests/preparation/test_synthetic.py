"""The drawn data set: deterministic, in the right layout, different where it should differ, all or nothing."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipeline.common.errors import UserError
from pipeline.preparation.synthetic import draw_images, picture, series, write_synthetic
from pipeline.preparation.synthetic.body import Body, Pose
from pipeline.preparation.synthetic.camera import random_camera
from pipeline.preparation.synthetic.identity import random_identity
from pipeline.preparation.synthetic.person import Figure
from pipeline.preparation.synthetic.picture import Style
from pipeline.preparation.synthetic.series import OTHER, OWN, Series, Shot

NAME = re.compile(r"(-1|\d{4})_c([1-9])s1_(\d{6})_(\d{2})\.jpg")
SMALL: dict[str, Any] = {
    "train_identities": 4,
    "test_identities": 3,
    "distractors": 3,
    "junk": 2,
    "height": 32,
    "width": 16,
}
STYLE = Style(height=64, width=32, camera_strength=1.0, misalignment=1.0, occlusion=0.0)
POSE = Pose(centre=64.0, top=8.0, tall=240.0, turn=0.0, stride=0.0, swing=0.0, bend=0.0, lean=0.0)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*.jpg"))}


def keys(folder: Path) -> list[tuple[int, int]]:
    """(pid, camera) of every file, by name."""
    matches = [NAME.fullmatch(path.name) for path in sorted(folder.iterdir())]
    assert all(matches), sorted(path.name for path in folder.iterdir())
    return [(int(match[1]), int(match[2])) for match in matches if match]


def test_write_synthetic_same_bytes_for_any_number_of_workers(tmp_path):
    counts: dict[str, Any] = {**SMALL, "train_identities": 16}  # several parts, so that two processes really share them
    write_synthetic(tmp_path / "one", seed=3, workers=1, **counts)
    write_synthetic(tmp_path / "two", seed=3, workers=2, **counts)
    one, two = contents(tmp_path / "one"), contents(tmp_path / "two")
    assert len(one) > 2 * series._CHUNK
    assert one == two


def test_write_synthetic_other_seed_other_pictures(tmp_path):
    for seed in (3, 4):
        write_synthetic(tmp_path / str(seed), seed=seed, workers=1, **SMALL)
    assert not set(contents(tmp_path / "3").values()) & set(contents(tmp_path / "4").values())


def test_write_synthetic_layout_names_and_sizes(tmp_path):
    write_synthetic(tmp_path / "set", seed=1, workers=1, images_per_camera=2, **SMALL)
    assert sorted(path.name for path in (tmp_path / "set").iterdir()) == [
        "bounding_box_test",
        "bounding_box_train",
        "query",
        "tracklets.csv",
    ]
    train, query, gallery = (
        keys(tmp_path / "set" / name) for name in ("bounding_box_train", "query", "bounding_box_test")
    )
    assert {pid for pid, _ in train} == {1, 2, 3, 4}
    assert {pid for pid, _ in query} == {5, 6, 7}
    assert {pid for pid, _ in gallery} == {-1, 0, 5, 6, 7}
    assert [sum(pid == wanted for pid, _ in gallery) for wanted in (0, -1)] == [3, 2]
    assert all(train.count(key) == 2 for key in train)
    assert sorted(query) == sorted({key for key in gallery if key[0] > 0})  # one query a person and camera
    assert all(gallery.count(key) == 2 for key in query)
    for path in (tmp_path / "set").rglob("*.jpg"):
        with Image.open(path) as image:
            assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (16, 32))


@pytest.mark.parametrize("cameras", [2, 3, 6, 9])
def test_write_synthetic_every_query_has_a_match_in_another_camera(tmp_path, cameras):
    counts: dict[str, Any] = {**SMALL, "test_identities": 8}
    write_synthetic(tmp_path / "set", seed=2, cameras=cameras, images_per_camera=1, workers=1, **counts)
    query, gallery = keys(tmp_path / "set" / "query"), keys(tmp_path / "set" / "bounding_box_test")
    for pid, camera in query:
        assert any(other == pid and seen != camera for other, seen in gallery)
    assert {camera for _, camera in gallery} <= set(range(1, cameras + 1))


def test_write_synthetic_default_counts():
    from pipeline.preparation.synthetic import _plan

    for seed in range(3):
        shots = _plan(Series(seed, OWN, STYLE), 100, 100, 6, 3, 60, 20)
        parts = [shot.path.split("/")[0] for shot in shots]
        assert 1100 <= parts.count("bounding_box_train") <= 1400
        assert 1100 <= parts.count("bounding_box_test") <= 1400
        assert 300 <= parts.count("query") <= 500
        assert len({shot.path for shot in shots}) == len(shots)
        assert len({(shot.person, shot.camera, shot.index) for shot in shots}) == len(shots)  # no picture twice
        strangers = {shot.person for shot in shots if "/0000_" in shot.path}
        assert len(strangers) == 60 and min(strangers) == 201
        assert {shot.person > 100 for shot in shots if "/-1_" in shot.path} == {True}


def test_write_synthetic_replaces_what_was_there(tmp_path):
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "old.jpg").write_bytes(b"old")
    write_synthetic(tmp_path / "set", seed=1, workers=1, **SMALL)
    assert not (tmp_path / "set" / "old.jpg").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


def test_write_synthetic_leaves_nothing_half_written(tmp_path, monkeypatch):
    original, drawn = series.draw_person, []  # type: ignore[attr-defined]

    def failing(*args, **kwargs):
        drawn.append(1)
        if len(drawn) == 20:
            raise OSError("disk full")
        return original(*args, **kwargs)

    monkeypatch.setattr(series, "draw_person", failing)
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "old.jpg").write_bytes(b"old")
    with pytest.raises(OSError, match="disk full"):
        write_synthetic(tmp_path / "set", seed=1, workers=1, **SMALL)
    assert contents(tmp_path) == {"set/old.jpg": b"old"}
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


def test_write_synthetic_interrupted_with_processes_leaves_nothing(tmp_path):
    def stop(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_synthetic(tmp_path / "set", seed=1, workers=2, progress=stop, **{**SMALL, "train_identities": 16})
    assert list(tmp_path.iterdir()) == []


def test_write_synthetic_reports_progress(tmp_path):
    calls = []
    write_synthetic(
        tmp_path / "set", seed=1, workers=1, progress=lambda done, total: calls.append((done, total)), **SMALL
    )
    assert [done for done, _ in calls] == sorted({done for done, _ in calls})
    assert {total for _, total in calls} == {calls[-1][0]} == {len(contents(tmp_path / "set"))}


def test_draw_images_shapes_and_labels():
    images, pids, camids = draw_images(
        seed=0, identities=3, cameras=4, images_per_identity=5, height=48, width=20, workers=1
    )
    assert images.shape == (15, 48, 20, 3) and images.dtype == np.uint8
    assert pids.tolist() == [0] * 5 + [1] * 5 + [2] * 5
    assert camids.shape == (15,) and set(camids[:4].tolist()) == {1, 2, 3, 4}
    assert pids.dtype == camids.dtype == np.int64


def test_draw_images_same_for_any_number_of_workers():
    values: dict[str, Any] = {
        "seed": 7,
        "identities": 20,
        "cameras": 3,
        "images_per_identity": 4,
        "height": 32,
        "width": 16,
    }
    for one, two in zip(draw_images(workers=1, **values), draw_images(workers=2, **values), strict=True):
        np.testing.assert_array_equal(one, two)


def test_draw_images_do_not_depend_on_what_else_is_drawn():
    values: dict[str, Any] = {
        "seed": 7,
        "cameras": 3,
        "images_per_identity": 4,
        "height": 32,
        "width": 16,
        "workers": 1,
    }
    few, many = draw_images(identities=2, **values)[0], draw_images(identities=5, **values)[0]
    np.testing.assert_array_equal(few, many[:8])


def test_draw_images_shows_other_people_and_cameras_than_write_synthetic():
    own, other = Series(5, OWN, STYLE), Series(5, OTHER, STYLE)
    own_people = {own.identity(person) for person in range(300)}
    assert not own_people & {other.identity(person) for person in range(300)}
    assert len(own_people) == 300
    assert not {own.camera(number) for number in range(9)} & {other.camera(number) for number in range(9)}


def test_pictures_of_a_person_differ_between_cameras_and_from_shot_to_shot():
    people = Series(1, OWN, STYLE)
    shots = [Shot(1, camera, index) for camera in range(1, 7) for index in range(2)]
    assert len({people.draw(shot).tobytes() for shot in shots}) == 12


def test_every_picture_has_a_scene_of_its_own(monkeypatch):
    scenes = []
    original = picture.draw_background  # type: ignore[attr-defined]

    def watched(size, rng):
        scenes.append(original(size, rng))
        return scenes[-1].copy()

    monkeypatch.setattr(picture, "draw_background", watched)
    people = Series(1, OWN, STYLE)
    for person in (1, 2):
        for camera in (1, 2):
            for index in (0, 1):
                people.draw(Shot(person, camera, index))
    assert len({scene.tobytes() for scene in scenes}) == len(scenes) == 8


def test_pictures_show_the_person_more_than_the_camera_or_the_scene():
    """Where the chest is, colour varies mostly between people; at the border hardly with either.

    The share of variance that lies between groups (eta squared) is 0 for groups that do not matter and 1 for groups
    that decide everything; random groups of 12 among 40 people give about 0.08.
    """
    images, pids, camids = draw_images(
        seed=2, identities=40, cameras=6, images_per_identity=12, height=64, width=32, workers=1
    )

    def explained(region, groups):
        colours = region.reshape(len(region), -1, 3).mean(axis=1)
        within = sum(((colours[groups == g] - colours[groups == g].mean(0)) ** 2).sum() for g in set(groups.tolist()))
        return 1 - within / ((colours - colours.mean(0)) ** 2).sum()

    chest, border = images[:, 16:26, 13:19], images[:, :, :3]
    assert explained(chest, pids) > 0.5
    assert explained(chest, camids) < 0.15
    assert explained(border, pids) < 0.2
    assert explained(border, camids) < 0.35


def test_strong_cameras_outweigh_the_people():
    def share_of_cameras(strength):
        images, _, camids = draw_images(
            seed=2,
            identities=20,
            cameras=6,
            images_per_identity=6,
            height=64,
            width=32,
            workers=1,
            camera_strength=strength,
        )
        colours = images.reshape(len(images), -1, 3).mean(axis=1)
        within = sum(((colours[camids == c] - colours[camids == c].mean(0)) ** 2).sum() for c in set(camids.tolist()))
        return 1 - within / ((colours - colours.mean(0)) ** 2).sum()

    assert 2 * share_of_cameras(1.0) < share_of_cameras(4.0)


def test_strong_cameras_blur_and_crop_differently():
    mild, strong = (random_camera(np.random.default_rng(1), strength=strength) for strength in (1.0, 3.0))
    assert strong.blur == 3 * mild.blur and strong.scale != mild.scale
    assert (strong.turn, strong.noise, strong.quality) == (mild.turn, mild.noise, mild.quality)


def test_pictures_of_the_default_strength_stay_what_they_are():
    # What a camera of strength 1 draws is nothing that the stronger ones may touch.
    rng, again = np.random.default_rng(7), np.random.default_rng(7)
    random_camera(rng, strength=1.0)
    random_camera(again, strength=0.5)
    assert rng.random() == again.random()


def test_camera_strength_zero_makes_the_colours_of_cameras_alike():
    rng = np.random.default_rng(0)
    for _ in range(5):
        camera = random_camera(rng, strength=0.0)
        assert (camera.gain, camera.gamma, camera.cast, camera.haze) == (1, 1, (1, 1, 1), 0)
        assert camera.saturation == 1
    assert random_camera(rng, strength=1.0).gain != 1


def test_occlusion_and_misalignment_change_pictures():
    shots = [Shot(person, 1, 0) for person in range(5)]
    plain = replace(STYLE, misalignment=0.0)
    for other in (replace(plain, occlusion=1.0), replace(plain, misalignment=1.0)):
        for shot in shots:
            before, after = (Series(1, OWN, style).draw(shot).tobytes() for style in (plain, other))
            assert before != after


def test_spoilt_picture_shows_less_of_the_person(monkeypatch):
    areas = []
    original = Figure.draw

    def watched(figure):
        layer = original(figure)
        areas.append(np.asarray(layer)[:, :, 3].astype(bool).mean())
        return layer

    monkeypatch.setattr(Figure, "draw", watched)
    people = Series(1, OWN, STYLE)
    for spoilt in (False, True):
        for index in range(10):
            people.draw(Shot(1, 1, index, spoilt=spoilt))
    assert 0.15 < np.mean(areas[:10]) < 0.5
    assert np.mean(areas[10:]) < 0.6 * np.mean(areas[:10])


def test_body_coordinates_by_hand():
    identity = replace(random_identity(np.random.default_rng(0)), stature=1.0)
    facing, away, aside = (Body((128, 256), identity, replace(POSE, turn=turn)) for turn in (0.0, np.pi, np.pi / 2))
    # Seen from the front, the person's own left is on the right of the picture; from behind, on the left.
    assert facing.at(0.1, 0.5) == pytest.approx((64 + 24, 8 + 120))
    assert away.at(0.1, 0.5) == pytest.approx((64 - 24, 8 + 120))
    # Seen from the side, what is ahead is on the right and left and right fall together.
    assert aside.at(0.1, 0.5, 0.2) == pytest.approx((64 + 48, 8 + 120))
    # A smaller person keeps the feet where they were.
    small = Body((128, 256), replace(identity, stature=0.9), POSE)
    assert small.at(0, 1.0) == facing.at(0, 1.0) == pytest.approx((64, 248))
    assert small.at(0, 0.0) == pytest.approx((64, 8 + 24))


def test_figure_shows_face_and_logo_from_the_front_only():
    base = random_identity(np.random.default_rng(0))
    identity = replace(
        base,
        pattern="plain",
        upper=(10, 10, 200),
        logo="disc",
        logo_colour=(250, 0, 0),
        logo_on_back=False,
        bag="none",
        hair_cut="short",
        hair=(1, 2, 3),
        skin=(200, 150, 100),
        sleeves="long",
        open_front=False,
        sleeve_colour=(10, 10, 200),
        lower_cut="trousers",
        upper_second=(0, 0, 0),
        side_stripe=False,
    )

    def amount(turn, colour):
        layer = np.asarray(Figure((128, 256), identity, replace(POSE, turn=turn)).draw())
        return int((layer == (*colour, 255)).all(axis=2).sum())

    for colour in (identity.logo_colour, identity.skin):
        assert amount(0.0, colour) > 100
    assert amount(np.pi, identity.logo_colour) == 0
    assert amount(np.pi, identity.skin) < 0.3 * amount(0.0, identity.skin)  # the hands
    assert amount(np.pi, identity.upper) > amount(np.pi / 2, identity.upper)  # broader than deep


def test_figure_nearer_side_hides_the_farther_one():
    colour = (250, 0, 250)
    identity = replace(
        random_identity(np.random.default_rng(0)), bag="hand", bag_colour=colour, lower_cut="trousers", bag_size=1.0
    )

    def seen(turn, side):
        layer = Figure((128, 256), replace(identity, bag_side=side), replace(POSE, turn=turn)).draw()
        return int((np.asarray(layer) == (*colour, 255)).all(axis=2).sum())

    # Walking to the right (turn = pi / 2), the person's right hand (-1) is towards us; to the left, the left hand.
    assert seen(np.pi / 2, -1) > 1.3 * seen(np.pi / 2, 1)
    assert seen(-np.pi / 2, 1) > 1.3 * seen(-np.pi / 2, -1)


@pytest.mark.parametrize(
    "trait",
    [
        {"pattern": "rings"},
        {"pattern": "bars"},
        {"pattern": "checks"},
        {"pattern": "block"},
        {"pattern": "dots"},
        {"sleeves": "short"},
        {"sleeves": "none"},
        {"lower_cut": "shorts"},
        {"lower_cut": "skirt"},
        {"hem": 0.64},
        {"open_front": True},
        {"side_stripe": True},
        {"logo": "disc"},
        {"logo": "square"},
        {"logo": "line"},
        {"logo": "triangle"},
        {"hair_cut": "long"},
        {"hair_cut": "bun"},
        {"hair_cut": "bald"},
        {"hair_cut": "cap"},
        {"bag": "backpack"},
        {"bag": "shoulder"},
        {"bag": "hand"},
        {"stature": 0.9},
        {"breadth": 1.4},
    ],
    ids=str,
)
def test_figure_every_trait_can_be_seen(trait):
    plain = replace(
        random_identity(np.random.default_rng(0)),
        pattern="plain",
        sleeves="long",
        lower_cut="trousers",
        hem=0.48,
        open_front=False,
        side_stripe=False,
        logo="none",
        hair_cut="short",
        bag="none",
        stature=1.0,
        breadth=1.0,
        lower_length=0.66,
        upper=(20, 60, 120),
        upper_second=(240, 240, 240),
        logo_colour=(250, 250, 0),
    )
    pose = replace(POSE, turn=0.4, stride=0.5, swing=0.5)
    before, after = (np.asarray(Figure((128, 256), who, pose).draw()) for who in (plain, replace(plain, **trait)))
    assert (before != after).any(axis=2).sum() > 30


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"seed": -1}, r"^seed must be at least 0, got -1 \(synthetic data set\)$"),
        ({"train_identities": 0}, "train_identities must be at least 1, got 0"),
        ({"test_identities": 0}, "test_identities must be at least 1, got 0"),
        ({"train_identities": 9000, "test_identities": 1000}, "between 2 and 9999, got 10000"),
        ({"cameras": 1}, "cameras must be between 2 and 9, got 1"),
        ({"cameras": 10}, "cameras must be between 2 and 9, got 10"),
        ({"images_per_camera": 0}, "images_per_camera must be at least 1, got 0"),
        ({"distractors": -1}, "distractors must be at least 0, got -1"),
        ({"junk": -1}, "junk must be at least 0, got -1"),
        ({"height": 8}, "height must be between 16 and 1024, got 8"),
        ({"width": 2000}, "width must be between 16 and 1024, got 2000"),
        ({"camera_strength": 5.5}, r"camera_strength must be between 0 and 5, got 5\.5"),
        ({"camera_strength": float("nan")}, "camera_strength must be between 0 and 5, got nan"),
        ({"misalignment": -0.5}, r"misalignment must be between 0 and 2, got -0\.5"),
        ({"occlusion": 1.5}, r"occlusion must be between 0 and 1, got 1\.5"),
        ({"workers": 0}, "workers must be at least 1, got 0"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_write_synthetic_refuses_what_cannot_be_drawn(tmp_path, values, message):
    with pytest.raises(UserError, match=message):
        write_synthetic(tmp_path / "set", **{"seed": 1, **SMALL, **values})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["identities", "cameras", "images_per_identity", "workers"])
def test_draw_images_refuses_what_cannot_be_drawn(name):
    values: dict[str, Any] = {"seed": 1, "identities": 2, "cameras": 2, "images_per_identity": 2, "workers": 1}
    with pytest.raises(UserError, match=f"^{name} must be at least 1, got 0"):
        draw_images(**{**values, name: 0})
