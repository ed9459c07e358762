"""What a renderer is told: surfaces against trimesh, places in the picture, colours back to Lab, photos that keep apart."""

import logging
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
import torch
import trimesh
from PIL import Image
from scipy.spatial.transform import Rotation

from seqgen.errors import UserError
from seqgen.hand import load_hand
from seqgen.hand.anatomy import joint_axes
from seqgen.hand.layer import HandLayer
from seqgen.hand.model import rest_joints_m
from seqgen.scene.background import BUILT_IN_PHOTOS, HALVES, MAX_PHOTO_PX, NUM_TEXTURES, BackgroundConfig, PhotoRef, decode_photo, draw_background, draw_texture, list_photos
from seqgen.scene.light import LightConfig, draw_light
from seqgen.scene.skin import ITA_RANGE_DEG, SkinConfig, ita_from_uniform, linear_rgb_from_lab, mottling, paint_skin, skin_map, tone_name
from seqgen.scene.surface import surface_template
from seqgen.scene.view import FOREARM_CONE_RAD, NEAREST_M, NOMINAL_DISTANCE_M, CameraConfig, View, draw_view, place_hand
from seqgen.skeleton import CANONICAL_FROM_MANO, TIPS
from seqgen.splits import SPLITS, SplitConfig

HAND = load_hand("open")
LAYER = HandLayer(HAND)
TEMPLATE = surface_template(HAND)
GREY = np.full_like(HAND.template_m, 0.5)


def posed(num, seed=0):
    """Hands in moderate poses of several shapes: vertices and joints."""
    generator = torch.Generator().manual_seed(seed)
    pose = 0.25 * torch.randn(num, 16, 3, generator=generator)
    pose[:, 0] = 2 * torch.randn(num, 3, generator=generator)
    mesh = LAYER(pose, torch.randn(num, 10, generator=generator), torch.randn(num, 3, generator=generator))
    return mesh.vertices_m.numpy(), mesh.joints_m.numpy()


def mesh_of(surface, frame=0):
    return trimesh.Trimesh(surface.vertices_m[frame], surface.faces, process=False)


# --- surface and wrist ---


def test_normals_are_the_area_weighted_mean_of_the_faces_around():
    surface = TEMPLATE.surface(posed(3)[0], GREY)
    for frame in range(3):
        mesh = mesh_of(surface, frame)
        mean = mesh.faces_sparse @ (mesh.face_normals * mesh.area_faces[:, None])
        np.testing.assert_allclose(surface.normals[frame], mean / np.linalg.norm(mean, axis=1, keepdims=True), atol=2e-4)
        by_angle = (surface.normals[frame] * mesh.vertex_normals).sum(1)  # another weighting of the same faces
        assert np.quantile(by_angle, 0.05) > 0.98


def test_the_dome_closes_the_hand_outside_out():
    surface = TEMPLATE.surface(posed(4)[0], GREY)
    assert not trimesh.Trimesh(HAND.template_m, HAND.faces, process=False).is_watertight
    for frame in range(4):
        mesh = mesh_of(surface, frame)
        assert mesh.is_watertight and mesh.is_winding_consistent and mesh.euler_number == 2
        assert 1.5e-4 < mesh.volume < 9e-4  # a hand is about 0.4 litres


@pytest.mark.parametrize("order", [slice(None, None, -1), slice(None)], ids=["reversed", "as it is"])
def test_the_loop_may_run_either_way(order):
    template = surface_template(replace(HAND, wrist_loop=HAND.wrist_loop[order].copy()))
    mesh = mesh_of(template.surface(HAND.template_m[None], GREY))
    assert mesh.is_watertight and mesh.volume == pytest.approx(mesh_of(TEMPLATE.surface(HAND.template_m[None], GREY)).volume, rel=1e-6)


def test_a_hand_without_a_loop_is_left_as_it_is():
    surface = surface_template(replace(HAND, wrist_loop=np.zeros(0, np.int32))).surface(HAND.template_m[None], GREY)
    np.testing.assert_array_equal(surface.faces, HAND.faces)
    np.testing.assert_array_equal(surface.vertices_m[0], HAND.template_m)


def test_the_surface_goes_along_with_rigid_motion():
    vertices = posed(1)[0]
    turn, shift = Rotation.random(rng=np.random.default_rng(0)).as_matrix(), np.array([0.1, -0.2, 0.6])
    still = TEMPLATE.surface(vertices, GREY)
    moved = TEMPLATE.surface((vertices @ turn.T + shift).astype(np.float32), GREY)
    np.testing.assert_allclose(moved.vertices_m, still.vertices_m @ turn.T + shift, atol=1e-6)
    np.testing.assert_allclose(moved.normals, still.normals @ turn.T, atol=2e-3)


def windings(mesh, point):
    """How often a closed surface goes around a point: the sum of its triangles' solid angles (Van Oosterom and Strackee 1983) over 4 pi."""
    a, b, c = np.moveaxis(mesh.triangles - point, 1, 0)
    la, lb, lc = (np.linalg.norm(corner, axis=1) for corner in (a, b, c))
    above = np.einsum("ni,ni->n", a, np.cross(b, c))
    below = la * lb * lc + (a * b).sum(1) * lc + (b * c).sum(1) * la + (c * a).sum(1) * lb
    return np.arctan2(above, below).sum() / (2 * np.pi)


def test_every_joint_but_the_tips_lies_inside():
    vertices, joints = posed(3)
    surface = TEMPLATE.surface(vertices, GREY)
    for frame in range(3):
        mesh = mesh_of(surface, frame)
        for joint in sorted(set(range(21)) - set(TIPS)):
            assert windings(mesh, joints[frame, joint]) == pytest.approx(1, abs=0.01), joint


def test_parts_are_those_of_the_largest_weight_and_the_dome_is_palm():
    surface = TEMPLATE.surface(HAND.template_m[None], GREY)
    assert set(np.unique(surface.corner_parts)) == set(range(1, 17))
    for face in np.random.default_rng(0).integers(len(HAND.faces), size=100):
        for corner, vertex in enumerate(HAND.faces[face]):
            weights = HAND.skinning_weights[vertex]
            assert surface.corner_parts[face, corner] == 1 + np.argmax(weights)
            np.testing.assert_array_equal(surface.corner_weights[face, corner], weights[surface.corner_parts[face] - 1])
    assert (surface.corner_parts[len(HAND.faces) :, 2] == 1).all()


def test_the_dome_takes_the_colour_of_its_rim():
    colours = np.random.default_rng(0).random(HAND.template_m.shape).astype(np.float32)
    surface = TEMPLATE.surface(HAND.template_m[None], colours)
    np.testing.assert_array_equal(surface.colours[: len(colours)], colours)
    rim = {tuple(colour) for colour in colours[HAND.wrist_loop]}
    assert {tuple(colour) for colour in surface.colours[len(colours) :]} <= rim


# --- view ---


def angle_between(a, b):
    return Rotation.from_matrix(np.swapaxes(a, -1, -2) @ b).magnitude()


@pytest.mark.parametrize("frames", [1, 2, 10])
def test_views_are_rigid_motions(frames):
    for seed in range(30):
        view = draw_view(CameraConfig(), frames=frames, fps=30.0, rng=np.random.default_rng(seed))
        for rotation in (view.camera_from_hand, view.camera_from_world[:, :3, :3]):
            assert rotation.shape == (frames, 3, 3)
            np.testing.assert_allclose(rotation @ np.swapaxes(rotation, 1, 2), np.tile(np.eye(3), (frames, 1, 1)), atol=1e-12)
            np.testing.assert_allclose(np.linalg.det(rotation), 1)
        np.testing.assert_array_equal(view.camera_from_world[:, 3], np.tile([0, 0, 0, 1.0], (frames, 1)))
        np.testing.assert_allclose(view.camera_from_world[0, :3, 3], 0, atol=1e-15)


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_the_share_of_egocentric_clips_is_as_asked(share):
    views = [draw_view(CameraConfig(egocentric=share), frames=2, fps=30.0, rng=np.random.default_rng(seed)).viewpoint for seed in range(200)]
    assert views.count("egocentric") / 200 == pytest.approx(share, abs=0.1)


def test_no_clip_starts_with_a_look_into_the_forearm():
    """The forearm runs along -y of the hand: the angle between its axis and the way to the camera stays over the cone's."""
    for seed in range(300):
        forearm = -draw_view(CameraConfig(), frames=1, fps=30.0, rng=np.random.default_rng(seed)).camera_from_hand[0, :, 1]
        assert np.arccos(forearm @ [0, 0, -1]) >= FOREARM_CONE_RAD - 1e-9


def test_egocentric_hands_point_away_from_their_owner():
    config = CameraConfig(egocentric=1.0)
    fingers = np.stack([draw_view(config, frames=1, fps=30.0, rng=np.random.default_rng(seed)).camera_from_hand[0, :, 1] for seed in range(100)])
    assert (fingers[:, 1] < 0).mean() > 0.95 and (fingers[:, 2] > 0).mean() > 0.75  # up in the picture; forwards


@pytest.mark.parametrize("frames", [10, 301])
def test_hands_turn_as_fast_as_asked(frames):
    """The root mean square of the angle turned, frame by frame, is the speed times the clip's length."""
    config = CameraConfig(turn_deg_s=60.0)
    turned = []
    for seed in range(150):
        way = draw_view(config, frames=frames, fps=30.0, rng=np.random.default_rng(seed)).camera_from_hand
        turned.append(angle_between(way[:-1], way[1:]).sum())
    assert np.degrees(np.sqrt(np.mean(np.square(turned)))) == pytest.approx(60.0 * (frames - 1) / 30, rel=0.15)


def outline(view, seed):
    """Vertices of a moving hand about its wrist, turned into the camera frame."""
    vertices, joints = posed(len(view.camera_from_hand), seed)
    return np.einsum("tij,tvj->tvi", view.camera_from_hand, (vertices - joints[:, :1]).astype(float))


def placed(config, size, frames, seed):
    rng = np.random.default_rng(seed)
    view = draw_view(config, frames=frames, fps=30.0, rng=rng)
    shape = outline(view, seed)
    placement = place_hand(config, view, shape, size=size, fps=30.0, rng=rng)
    return placement, placement.camera.project(shape + placement.wrist_m[:, None])


@pytest.mark.parametrize("size", [(224, 224), (160, 90), (96, 128)])
@pytest.mark.parametrize("kind", ["perspective", "weak_perspective"])
@pytest.mark.parametrize("frames", [1, 8])
def test_hands_stand_in_the_picture_as_large_as_drawn(kind, size, frames):
    config, corner = CameraConfig(kind=kind), np.array(size) - 1
    for seed in range(8):
        placement, pixels = placed(config, size, frames, seed)
        assert placement.camera.kind == kind and placement.camera.size == size
        for end in (0, -1):
            low, high = pixels[end].min(0), pixels[end].max(0)
            share = (high - low).max() / min(size)
            assert config.outline[0] - 0.01 <= share <= config.outline[1] + 0.01
            assert (low >= -0.5).all() and (high <= corner + 0.5).all()


@pytest.mark.parametrize("kind", ["perspective", "weak_perspective"])
def test_hands_stand_where_drawn_without_bias(kind):
    """With nothing to chance but the view, the outline's box is in the middle of the picture, exactly, and of the size asked for."""
    config = CameraConfig(kind=kind, outline=(0.6, 0.6), off_centre=0.0, drift=0.0, approach=0.0)
    for seed in range(10):
        _, pixels = placed(config, (200, 120), 6, seed)
        for end in (0, -1):
            low, high = pixels[end].min(0), pixels[end].max(0)
            np.testing.assert_allclose((low + high) / 2, [99.5, 59.5], atol=0.05)
            assert (high - low).max() == pytest.approx(0.6 * 120, abs=0.05)


@pytest.mark.parametrize("fov", [(30.0, 60.0), (100.0, 140.0)])
def test_no_part_of_a_hand_is_at_the_pinhole(fov):
    """Wide lenses have to come near for a large picture, but not nearer than NEAREST_M where the hand is placed."""
    config = CameraConfig(fov_deg=fov, outline=(0.9, 0.95))
    for seed in range(10):
        rng = np.random.default_rng(seed)
        view = draw_view(config, frames=3, fps=30.0, rng=rng)
        shape = outline(view, seed)
        placement = place_hand(config, view, shape, size=(128, 128), fps=30.0, rng=rng)
        assert (shape[[0, -1]] + placement.wrist_m[[0, -1], None])[..., 2].min() >= NEAREST_M - 1e-9


def test_perspective_placing_uses_the_drawn_field_of_view():
    placement, _ = placed(CameraConfig(fov_deg=(40.0, 40.0)), (200, 100), 4, 0)
    focal = 50 / np.tan(np.radians(20.0))
    np.testing.assert_allclose(placement.camera.intrinsics, np.tile([[focal, 0, 99.5], [0, focal, 49.5], [0, 0, 1]], (4, 1, 1)))


def test_a_weak_perspective_camera_scales_and_shifts_alone():
    placement, _ = placed(CameraConfig(kind="weak_perspective"), (128, 128), 5, 0)
    intrinsics = placement.camera.intrinsics
    np.testing.assert_array_equal(intrinsics[:, 0, 0], intrinsics[:, 1, 1])
    np.testing.assert_array_equal(intrinsics[:, [0, 1, 2, 2, 2], [1, 0, 0, 1, 2]], np.tile([0, 0, 0, 0, 1.0], (5, 1)))
    np.testing.assert_array_equal(placement.wrist_m, np.tile([0, 0, NOMINAL_DISTANCE_M], (5, 1)))


def test_the_wrist_glides():
    """Depth changes one way only, and no step is far from its neighbours."""
    placement, _ = placed(CameraConfig(approach=1.0, drift=0.5), (128, 128), 30, 3)
    depth = np.diff(placement.wrist_m[:, 2])
    assert (depth >= 0).all() or (depth <= 0).all()
    steps = np.linalg.norm(np.diff(placement.wrist_m, axis=0), axis=1)
    assert np.abs(np.diff(steps)).max() < 0.3 * steps.max()


def test_placing_changes_nothing_it_is_given():
    view = View("third_person", np.tile(np.eye(3), (2, 1, 1)), np.tile(np.eye(4), (2, 1, 1)))
    shape = outline(view, 0)
    before = shape.copy()
    place_hand(CameraConfig(), view, shape, size=(64, 64), fps=30.0, rng=np.random.default_rng(0))
    np.testing.assert_array_equal(shape, before)


# --- light ---


@pytest.mark.parametrize("frames", [1, 7])
def test_lights_are_one_or_two_unit_directions_and_hold_their_colour(frames):
    counts = set()
    for seed in range(40):
        light = draw_light(LightConfig(), frames=frames, fps=30.0, rng=np.random.default_rng(seed))
        num = light.directions.shape[1]
        counts.add(num)
        assert light.ambient.shape == (frames, 3) and light.directions.shape == light.colours.shape == (frames, num, 3)
        assert {array.dtype for array in (light.ambient, light.directions, light.colours)} == {np.dtype(np.float32)}
        np.testing.assert_allclose(np.linalg.norm(light.directions, axis=-1), 1, atol=1e-6)
        assert (light.ambient > 0).all() and (light.colours > 0).all()
        assert (light.ambient == light.ambient[0]).all() and (light.colours == light.colours[0]).all()
    assert counts == {1, 2}


def test_lights_turn_together():
    light = next(light for seed in range(20) if (light := draw_light(LightConfig(), frames=9, fps=30.0, rng=np.random.default_rng(seed))).directions.shape[1] == 2)
    between = (light.directions[:, 0] * light.directions[:, 1]).sum(-1)
    np.testing.assert_allclose(between, between[0], atol=1e-6)
    assert np.abs(light.directions[-1] - light.directions[0]).max() > 1e-3


def test_flat_light_shows_the_albedo():
    light = draw_light(LightConfig(kind="flat"), frames=4, fps=30.0, rng=np.random.default_rng(0))
    np.testing.assert_array_equal(light.ambient, np.ones((4, 3)))
    assert light.directions.shape == light.colours.shape == (4, 0, 3)


# --- skin ---

XYZ_FROM_RGB = np.array([[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]])  # sRGB's primaries, D65


def lab_of(linear_rgb):
    """CIE L*a*b*, D65, the textbook way."""
    ratio = linear_rgb @ XYZ_FROM_RGB.T / XYZ_FROM_RGB.sum(1)
    f = np.where(ratio > (6 / 29) ** 3, np.cbrt(ratio), ratio / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.stack([116 * f[..., 1] - 16, 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])], -1)


def ita_of(linear_rgb):
    lightness, _, b_star = np.moveaxis(lab_of(linear_rgb.astype(float)), -1, 0)
    return np.degrees(np.arctan2(lightness - 50, b_star))


SKIN = skin_map(HAND, rest_joints_m(HAND).astype(float), TEMPLATE.normals(TEMPLATE.surface(HAND.template_m[None], GREY).vertices_m)[0, : len(GREY)].astype(float))


@pytest.mark.parametrize(
    ("lab", "rgb"),
    [((100, 0, 0), (1, 1, 1)), ((0, 0, 0), (0, 0, 0)), ((49.496, 0, 0), (0.18, 0.18, 0.18)), ((53.2408, 80.0925, 67.2032), (1, 0, 0)), ((32.297, 79.1875, -107.8602), (0, 0, 1))],
)
def test_known_colours(lab, rgb):
    np.testing.assert_allclose(linear_rgb_from_lab(np.array(lab, float)), rgb, atol=2e-4)


def test_lab_comes_back():
    rgb = np.random.default_rng(0).random((2, 50, 3))
    np.testing.assert_allclose(linear_rgb_from_lab(lab_of(rgb)), rgb, atol=1e-4)


@pytest.mark.parametrize("ita", np.linspace(*ITA_RANGE_DEG, 9))
def test_flat_skin_has_the_tone_asked_for(ita):
    for seed in range(5):
        colours = paint_skin(SKIN, SkinConfig(kind="flat"), float(ita), np.random.default_rng(seed))
        assert colours.shape == HAND.template_m.shape and (colours == colours[0]).all()
        assert ita_of(colours[0]) == pytest.approx(ita, abs=1.0)


@pytest.mark.parametrize("ita", np.linspace(*ITA_RANGE_DEG, 5))
def test_drawn_skin_has_the_tone_on_the_back_and_is_paler_in_the_palm(ita):
    colours = paint_skin(SKIN, SkinConfig(), float(ita), np.random.default_rng(0))
    assert colours.dtype == np.float32 and (colours >= 0).all() and (colours <= 1).all()
    plain = (SKIN.palmar < 0.02) & (SKIN.ruddy < 0.1) & (SKIN.nail < 0.02)
    assert np.median(ita_of(colours[plain])) == pytest.approx(ita, abs=4.0)
    lightness = lab_of(colours.astype(float))[:, 0]
    assert np.median(lightness[SKIN.palmar > 0.98]) > np.median(lightness[plain]) + 2


def test_the_palm_is_on_the_palms_side():
    """The hand frame's z comes out of the back."""
    rest = rest_joints_m(HAND).astype(float)
    across = np.cross(rest[17] - rest[0], rest[5] - rest[0])
    height = (HAND.template_m - rest[0]) @ (across / np.linalg.norm(across))
    near_middle = np.linalg.norm(HAND.template_m - (rest[0] + rest[9]) / 2, axis=1) < 0.03
    assert height[near_middle & (SKIN.palmar > 0.9)].max() < height[near_middle & (SKIN.palmar < 0.1)].min()


@pytest.mark.parametrize("finger", ["thumb", "index", "middle", "ring", "pinky"])
def test_nails_are_on_the_backs_of_the_last_bones(finger):
    tip = TIPS[("thumb", "index", "middle", "ring", "pinky").index(finger)]
    rest = rest_joints_m(HAND).astype(float)
    bone = rest[tip] - rest[tip - 1]
    along = (HAND.template_m - rest[tip - 1]) @ bone / (bone @ bone)
    own = (SKIN.nail > 0.5) & (np.linalg.norm(HAND.template_m - rest[tip], axis=1) < 0.02)
    normal = (SKIN.nail[own, None] * TEMPLATE.normals(TEMPLATE.surface(HAND.template_m[None], GREY).vertices_m)[0, : len(GREY)][own]).sum(0)
    assert own.sum() >= 5 and along[own].min() > 0.4
    assert normal @ joint_axes(HAND)[CANONICAL_FROM_MANO[tip - 1]][:, 2] / np.linalg.norm(normal) > 0.9


def test_mottling_has_unit_variance_and_no_mean():
    points = np.random.default_rng(0).uniform(0, 1, (4000, 3))
    fields = np.stack([mottling(points, np.random.default_rng(seed)) for seed in range(20)])
    assert abs(fields.mean()) < 0.1 and fields.var() == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize(
    ("ita", "name"),
    [
        *[(60, "very light"), (55, "light"), (48, "light"), (41, "intermediate"), (30, "intermediate"), (28, "tan")],
        *[(11, "tan"), (10, "brown"), (-29, "brown"), (-30, "dark"), (-45, "dark")],
    ],
)
def test_tone_classes_are_the_published_ones(ita, name):
    assert tone_name(float(ita)) == name


def test_tones_are_spread_evenly_over_all_classes():
    tones = [ita_from_uniform(u) for u in np.linspace(0, 1, 1000)]
    assert (tones[0], tones[-1]) == pytest.approx(ITA_RANGE_DEG)
    assert max(np.diff(tones)) == pytest.approx(min(np.diff(tones)))
    assert {tone_name(tone) for tone in tones} == {"very light", "light", "intermediate", "tan", "brown", "dark"}


# --- background ---


def save_photo(path, size=(40, 30), seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)).save(path)
    return PhotoRef(path.name, str(path), "mine", "me")


@pytest.mark.parametrize("photo_size", [(500, 400), (60, 300), (20, 16)], ids=["larger", "narrow", "smaller"])
@pytest.mark.parametrize("size", [(64, 48), (48, 64)])
@pytest.mark.parametrize("speed", [0.0, 0.15, 5.0])
def test_the_patch_stays_inside_the_photo(tmp_path, photo_size, size, speed):
    photo = save_photo(tmp_path / "a.png", photo_size)
    corners = np.array([[0, 0, 1], [size[0] - 1, 0, 1], [0, size[1] - 1, 1], [size[0] - 1, size[1] - 1, 1]], float)
    for seed in range(20):
        background, chosen = draw_background([photo], BackgroundConfig(speed=speed), size=size, frames=6, fps=30.0, rng=np.random.default_rng(seed))
        assert chosen == photo and background.photo.shape == (photo_size[1], photo_size[0], 3)
        seen = np.einsum("tij,nj->tni", background.photo_from_pixel, corners)
        assert (seen >= -1e-4).all() and (seen <= np.array(photo_size) - 1 + 1e-3).all()


def test_the_patch_glides_evenly_at_sub_pixel_places(tmp_path):
    photo = save_photo(tmp_path / "a.png", (500, 400))
    drawn = [draw_background([photo], BackgroundConfig(), size=(64, 48), frames=9, fps=30.0, rng=np.random.default_rng(seed))[0].photo_from_pixel for seed in range(60)]
    corners = np.stack([matrix[:, :, 2] for matrix in drawn])
    steps = np.diff(corners, axis=1)
    np.testing.assert_allclose(steps, np.broadcast_to(steps[:, :1], steps.shape), atol=1e-3)
    assert (np.abs(corners - np.round(corners)) > 0.05).mean() > 0.8
    assert abs(np.mean(np.sign(steps))) < 0.25  # no way is preferred
    for matrix in drawn:
        zoom = matrix[:, 0, 0]
        assert (zoom == zoom[0]).all() and (matrix[:, 1, 1] == zoom).all() and 0.8 <= zoom[0] <= 2.0


def test_the_patchs_speed_is_as_asked():
    """In frame widths a second, as a share of the picture: what is asked for, where the photo leaves room."""
    photo = PhotoRef("texture-00", "texture-00", "", "")
    config, speeds = BackgroundConfig(speed=0.2, zoom=(1.0, 1.0)), []
    for seed in range(300):
        matrix = draw_background([photo], config, size=(32, 32), frames=4, fps=30.0, rng=np.random.default_rng(seed))[0].photo_from_pixel
        speeds.append((matrix[-1, :, 2] - matrix[0, :, 2]) / (3 / 30) / 32)
    assert np.std(speeds) == pytest.approx(0.2, rel=0.1)


def test_built_in_photos_decode_and_are_read_only():
    for name in ("china-left", "flower-right", "texture-03"):
        pixels = decode_photo(name)
        assert pixels.dtype == np.uint8 and pixels.shape[2] == 3 and pixels.std() > 10
        with pytest.raises(ValueError, match="read-only"):
            pixels[0] = 0


def test_textures_have_the_amplitude_spectrum_of_photos():
    """1 / f^a: a line of slope between -0.7 and -2 in log-log (Field 1987)."""
    slopes = []
    for seed in range(4):
        grey = draw_texture(np.random.default_rng(seed)).astype(float).mean(-1)
        amplitude = np.abs(np.fft.fft2(grey - grey.mean()))
        frequency = np.hypot(np.fft.fftfreq(grey.shape[0])[:, None], np.fft.fftfreq(grey.shape[1])[None])
        ring = (frequency > 0.01) & (frequency < 0.2)
        slopes.append(np.polyfit(np.log(frequency[ring]), np.log(amplitude[ring]), 1)[0])
    assert all(-2.0 < slope < -0.7 for slope in slopes)


@pytest.mark.parametrize("counts", [(80, 10, 10), (1, 1, 1), (9, 0, 1), (1, 0, 0)])
@pytest.mark.parametrize("num_photos", [None, 3, 20])
def test_splits_share_no_photo(tmp_path, counts, num_photos):
    split = SplitConfig(train=counts[0], val=counts[1], test=counts[2])
    for number in range(num_photos or 0):
        save_photo(tmp_path / f"{number}.png")
    photos = list_photos(BackgroundConfig(folder=str(tmp_path) if num_photos else None), split)
    total = num_photos or len(BUILT_IN_PHOTOS) * len(HALVES) + NUM_TEXTURES
    assert set(photos) == {name for name in SPLITS if split.counts()[name]}
    assert sum(map(len, photos.values())) == total and all(photos.values())
    if num_photos is None:
        assert all(any(not photo.drawn for photo in chosen) for chosen in photos.values())
    for a, b in combinations(photos.values(), 2):
        assert not {photo.place for photo in a} & {photo.place for photo in b}
    for name, chosen in photos.items():
        assert len(chosen) / total == pytest.approx(split.counts()[name] / sum(counts), abs=0.5 if num_photos == 3 else 0.1)


def test_dealing_depends_on_names_alone(tmp_path):
    dealt = []
    for folder, order in (("a", range(12)), ("b", range(11, -1, -1))):
        for number in order:
            save_photo(tmp_path / folder / f"{number}.png", seed=number)
        photos = list_photos(BackgroundConfig(folder=str(tmp_path / folder)), SplitConfig())
        dealt.append({split: sorted(photo.name for photo in chosen) for split, chosen in photos.items()})
    assert dealt[0] == dealt[1]


def test_fewer_photos_than_splits_are_shared_with_a_warning(tmp_path, caplog):
    save_photo(tmp_path / "a.png")
    with caplog.at_level(logging.WARNING):
        photos = list_photos(BackgroundConfig(folder=str(tmp_path)), SplitConfig())
    assert [len(photos[name]) for name in SPLITS] == [1, 1, 1]
    assert "only 1 photos for 3 splits" in caplog.text


def test_folders_are_searched_deeply_and_voc_by_its_images(tmp_path):
    save_photo(tmp_path / "deep" / "er" / "A.JPG")
    save_photo(tmp_path / "b.png")
    (tmp_path / "notes.txt").write_text("no photo")
    one = SplitConfig(train=1, val=0, test=0)
    assert sorted(photo.name for photo in list_photos(BackgroundConfig(folder=str(tmp_path)), one)["train"]) == ["b.png", "deep/er/A.JPG"]
    save_photo(tmp_path / "JPEGImages" / "2007_000027.jpg")
    save_photo(tmp_path / "SegmentationClass" / "2007_000027.png")
    assert [photo.name for photo in list_photos(BackgroundConfig(folder=str(tmp_path)), one)["train"]] == ["2007_000027.jpg"]


def refusal(folder):
    with pytest.raises(UserError) as caught:
        list_photos(BackgroundConfig(folder=str(folder)), SplitConfig())
    assert str(caught.value).startswith(f"background.folder {folder}: ")
    return str(caught.value)


def test_folders_without_photos_are_refused(tmp_path):
    assert refusal(tmp_path / "missing").endswith("no such folder")
    assert "holds no readable image" in refusal(tmp_path)
    (tmp_path / "fake.jpg").write_bytes(b"not a picture")
    (tmp_path / "empty.png").touch()
    assert "holds no readable image" in refusal(tmp_path)


def test_damaged_photos_are_left_out_or_named_when_they_are_needed(tmp_path, caplog):
    whole = save_photo(tmp_path / "whole.jpg", (300, 200))
    (tmp_path / "fake.jpg").write_bytes(b"not a picture")
    (tmp_path / "cut.png").write_bytes((tmp_path / "whole.jpg").read_bytes()[:20])
    with caplog.at_level(logging.WARNING):
        photos = list_photos(BackgroundConfig(folder=str(tmp_path)), SplitConfig(train=1, val=0, test=0))["train"]
    assert [photo.name for photo in photos] == [whole.name]
    assert "fake.jpg" in caplog.text and "cut.png" in caplog.text
    (tmp_path / "half.jpg").write_bytes((tmp_path / "whole.jpg").read_bytes()[:5000])
    with pytest.raises(UserError, match=r"half\.jpg: photo cannot be decoded \(.*\); remove it from background\.folder"):
        decode_photo(str(tmp_path / "half.jpg"))


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "P", "CMYK", "1"])
def test_every_kind_of_picture_becomes_rgb(tmp_path, mode):
    path = tmp_path / ("a.jpg" if mode == "CMYK" else "a.png")
    Image.new("RGB", (30, 20), (200, 40, 40)).convert(mode).save(path)
    pixels = decode_photo(str(path))
    assert pixels.shape == (20, 30, 3) and pixels.dtype == np.uint8


def test_large_photos_are_made_smaller(tmp_path):
    Image.new("RGB", (3 * MAX_PHOTO_PX, MAX_PHOTO_PX)).save(tmp_path / "a.jpg")
    pixels = decode_photo(str(tmp_path / "a.jpg"))
    assert pixels.shape[1] <= MAX_PHOTO_PX and pixels.shape[1] == pytest.approx(3 * pixels.shape[0], rel=0.01)
