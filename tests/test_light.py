"""Spherical harmonics against integrals and closed forms, and light that follows the photo behind the hand."""

import numpy as np
import pytest

from seqgen.config import build
from seqgen.errors import UserError
from seqgen.geometry import random_rotation
from seqgen.scene.scene import Background
from seqgen.scene.surroundings.harmonics import harmonic_basis, harmonic_radiance, projection_matrix, rotate_harmonics, sphere_points, uniform_ambient
from seqgen.scene.surroundings.light import BLACK, LEVELS, LUMINANCE, LightConfig, draw_light, photo_harmonics

LEFT, UP, AHEAD = np.array([-1.0, 0, 0]), np.array([0, -1.0, 0]), np.array([0, 0, 1.0])


def backdrop(photo, frames=1):
    return Background(np.asarray(photo, np.uint8), np.tile(np.eye(2, 3, dtype=np.float32), (frames, 1, 1)))


def grey(level, shape=(48, 64)):
    return backdrop(np.full((*shape, 3), level))


def halves(axis, bright=230, dark=20):
    """A photo whose first half along an axis is bright."""
    photo = np.full((48, 64, 3), dark)
    photo[(slice(24), slice(None)) if axis == 0 else (slice(None), slice(32))] = bright
    return backdrop(photo)


def drawn(background, config=None, seed=0, frames=5):
    return draw_light(config or LightConfig(), background, frames=frames, fps=30.0, rng=np.random.default_rng(seed))


def white(light, normals, frame=0):
    """Radiance of white matt surfaces, as `Light` defines it."""
    soft = np.maximum(harmonic_radiance(light.ambient[frame].astype(float), normals), 0)
    return soft + np.maximum(normals @ light.directions[frame].T.astype(float), 0) @ light.colours[frame]


# --- harmonics ---


def test_the_basis_is_as_the_record_says():
    x, y, z = normal = np.array([0.48, -0.6, 0.64])
    np.testing.assert_allclose(harmonic_basis(normal), [1, x, y, z, x * y, y * z, x * z, 3 * z * z - 1, x * x - y * y])
    gram = np.einsum("pi,pj->ij", *[harmonic_basis(sphere_points(20000))] * 2) / 20000
    np.testing.assert_allclose(gram, np.diag(np.diag(gram)), atol=1e-3)


def test_light_of_one_colour_from_everywhere_is_that_colour_everywhere():
    points = sphere_points(5000)
    coefficients = projection_matrix(points, np.full(5000, 4 * np.pi / 5000)) @ np.tile([0.2, 0.5, 0.9], (5000, 1))
    np.testing.assert_allclose(coefficients, uniform_ambient((0.2, 0.5, 0.9)), atol=1e-3)
    np.testing.assert_allclose(harmonic_radiance(coefficients, points), np.tile([0.2, 0.5, 0.9], (5000, 1)), atol=2e-3)


def test_a_distant_lamp_gives_the_clamped_cosine_up_to_second_order():
    """max(0, cos) of Legendre orders 0 to 2 is 1/4 + cos/2 + (15 cos^2 - 5)/32 (Ramamoorthi & Hanrahan 2001)."""
    lamp, normals = sphere_points(7)[2], sphere_points(500)
    coefficients = projection_matrix(lamp[None], np.array([0.01])) @ np.full((1, 3), np.pi / 0.01)
    cosine = normals @ lamp
    np.testing.assert_allclose(harmonic_radiance(coefficients, normals)[:, 1], 0.25 + 0.5 * cosine + (15 * cosine**2 - 5) / 32, atol=1e-12)


def test_the_nine_numbers_hold_the_irradiance_integral():
    """Slow twin: the integral of radiance times clamped cosine over pi, of a smooth world; orders above 2 hold 1 % or so."""
    rng = np.random.default_rng(0)
    points, normals = sphere_points(6000), sphere_points(60)
    world = np.exp(points @ rng.normal(0, 0.8, (3, 3)))
    by_hand = np.maximum(normals @ points.T, 0) @ world * (4 / 6000)
    coefficients = projection_matrix(points, np.full(6000, 4 * np.pi / 6000)) @ world
    np.testing.assert_allclose(harmonic_radiance(coefficients, normals), by_hand, rtol=0.02)


def test_turned_light_gives_turned_normals_what_the_others_got():
    rng = np.random.default_rng(1)
    coefficients, rotation, normals = rng.normal(size=(9, 3)), random_rotation(rng), sphere_points(50)
    turned = rotate_harmonics(coefficients, rotation)
    np.testing.assert_allclose(harmonic_radiance(turned, normals @ rotation.T), harmonic_radiance(coefficients, normals), atol=1e-12)
    second = random_rotation(rng)
    np.testing.assert_allclose(rotate_harmonics(turned, second), rotate_harmonics(coefficients, second @ rotation), atol=1e-12)


def test_many_frames_turn_by_one_rotation_or_each_by_its_own():
    rng = np.random.default_rng(2)
    coefficients, rotations = rng.normal(size=(4, 9, 3)).astype(np.float32), np.stack([random_rotation(rng) for _ in range(4)])
    together = rotate_harmonics(coefficients, rotations)
    for t in range(4):
        np.testing.assert_allclose(together[t], rotate_harmonics(coefficients[t], rotations[t]), atol=1e-12)
        np.testing.assert_allclose(rotate_harmonics(coefficients, rotations[0])[t], rotate_harmonics(coefficients[t], rotations[0]), atol=1e-12)


# --- from the photo ---


@pytest.mark.parametrize("shape", [(1, 1), (3, 200), (333, 217)])
def test_a_plain_photo_is_light_of_its_colour(shape):
    coefficients = photo_harmonics(np.full((*shape, 3), 255, np.uint8))
    np.testing.assert_allclose(coefficients, uniform_ambient((1.0, 1.0, 1.0)), atol=2e-3)
    np.testing.assert_allclose(photo_harmonics(np.full((*shape, 3), 188, np.uint8))[0], 0.5029, atol=1e-3)  # ((188 / 255 + 0.055) / 1.055)^2.4
    np.testing.assert_allclose(photo_harmonics(np.zeros((*shape, 3), np.uint8))[0], BLACK, atol=1e-4)


@pytest.mark.parametrize(("axis", "towards"), [(1, LEFT), (0, UP)])
def test_light_comes_from_the_photos_bright_side(axis, towards):
    """Irradiance under half a white world is pi (1 + cos) / 2: a closed form that orders 0 and 1 hold exactly."""
    background = halves(axis, 255, 0)
    coefficients = photo_harmonics(background.photo)
    normals = sphere_points(200)
    cosine = normals @ towards
    np.testing.assert_allclose(harmonic_radiance(coefficients, normals)[:, 0], (1 + BLACK) / 2 + (1 - BLACK) * cosine / 2, atol=5e-3)


def test_what_is_behind_the_camera_is_what_is_ahead_mirrored():
    photo = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    coefficients, normals = photo_harmonics(photo), sphere_points(50)
    np.testing.assert_allclose(harmonic_radiance(coefficients, normals), harmonic_radiance(coefficients, normals * [1, 1, -1]), atol=1e-12)


def test_the_photos_light_is_the_integral_over_its_pixels():
    """Slow twin at the photo's own resolution, pixel by pixel."""
    y, x = np.mgrid[:1:96j, :1:128j]
    photo = np.stack([255 * x, 255 * y, 200 * (1 - x * y)], -1).astype(np.uint8)
    linear = np.where(photo <= 10, photo / 255 / 12.92, ((photo / 255 + 0.055) / 1.055) ** 2.4)
    normal, total, weight = np.array([0.6, -0.48, -0.64]), 0.0, 0.0
    for latitude, row in zip((np.arange(96) + 0.5) / 96 * np.pi - np.pi / 2, linear, strict=True):
        for longitude, value in zip((np.arange(128) + 0.5) / 128 * np.pi - np.pi / 2, row, strict=True):
            for side in (1, -1):
                direction = [np.cos(latitude) * np.sin(longitude), np.sin(latitude), side * np.cos(latitude) * np.cos(longitude)]
                total, weight = total + np.cos(latitude) * max(0.0, normal @ direction) * value, weight + np.cos(latitude) * max(0.0, normal @ direction)
    np.testing.assert_allclose(harmonic_radiance(photo_harmonics(photo), normal), total / weight, rtol=0.03)


# --- the light of a clip ---


@pytest.mark.parametrize("frames", [1, 7])
def test_one_to_three_lights_of_unit_direction_hold_their_colour(frames):
    counts = set()
    for seed in range(40):
        light = drawn(grey(120), seed=seed, frames=frames)
        num = light.directions.shape[1]
        counts.add(num)
        assert light.ambient.shape == (frames, 9, 3) and light.directions.shape == light.colours.shape == (frames, num, 3) and light.shadows
        assert {array.dtype for array in (light.ambient, light.directions, light.colours)} == {np.dtype(np.float32)}
        np.testing.assert_allclose(np.linalg.norm(light.directions, axis=-1), 1, atol=1e-6)
        assert (light.ambient == light.ambient[0]).all() and (light.colours == light.colours[0]).all() and (light.colours > 0).all()
        assert (light.colours[0].mean(-1)[1:] < light.colours[0, 0].mean()).all()  # light 0 is the key
    assert counts == {1, 2, 3}


def test_lights_turn_together_and_slowly():
    light = next(light for seed in range(20) if (light := drawn(grey(120), seed=seed, frames=9)).directions.shape[1] == 3)
    between = np.einsum("tai,tbi->tab", light.directions, light.directions)
    np.testing.assert_allclose(between, np.broadcast_to(between[0], between.shape), atol=1e-6)
    steps = np.arccos(np.clip((light.directions[1:] * light.directions[:-1]).sum(-1), -1, 1))
    assert 1e-4 < steps.max() < np.radians(4)


def test_flat_light_shows_the_albedo_before_any_photo():
    light = drawn(halves(0), LightConfig(kind="flat"), frames=4)
    np.testing.assert_allclose(white(light, sphere_points(30)), 1, atol=1e-6)
    assert light.directions.shape == light.colours.shape == (4, 0, 3) and not light.shadows


def test_soft_light_only():
    light = drawn(grey(120), LightConfig(lights=0))
    assert light.directions.shape == (5, 0, 3) and not light.shadows
    assert LEVELS[0] < (white(light, sphere_points(30)) @ LUMINANCE).mean() < LEVELS[1] * 1.2


def level(light):
    facing = sphere_points(400)
    return (white(light, facing[facing[:, 2] < 0]) @ LUMINANCE).mean()


def test_a_brighter_photo_a_brighter_hand():
    photos = [grey(shade) for shade in (40, 90, 120, 150, 200)]
    levels = np.array([[level(drawn(photo, seed=seed)) for photo in photos] for seed in range(60)])
    assert (np.diff(levels, axis=1) > -1e-6).all()  # for each clip
    assert (np.diff(levels.mean(0)) > 0.01).all()
    assert levels.min() > 0.9 * LEVELS[0] and levels.max() < 1.05 * LEVELS[1]


def test_the_floor_and_ceiling_hold_before_any_photo():
    """White is not lit brighter than 1.5 anywhere, so skin, which reflects 0.7 at most, is hardly ever burnt out; and never dark all over."""
    normals = sphere_points(300)
    for seed, photo in enumerate([grey(0), grey(255), halves(0), halves(1), backdrop(np.tile([[[255, 0, 0]]], (9, 9, 1))), backdrop(np.tile([[[0, 0, 90]]], (9, 9, 1)))] * 8):
        light = drawn(photo, seed=seed)
        facing = white(light, normals[normals[:, 2] < 0])
        assert np.isfinite(facing).all() and facing.max() < 1.6 and (facing @ LUMINANCE).mean() > 0.2


@pytest.mark.parametrize(("axis", "towards"), [(1, LEFT), (0, UP)])
def test_the_hand_is_brighter_where_the_photo_is(axis, towards):
    for config, least in ((LightConfig(lights=0), 0.95), (LightConfig(), 0.9)):
        brighter = [np.diff(white(drawn(halves(axis), config, seed), np.stack([-towards, towards])) @ LUMINANCE)[0] > 0 for seed in range(60)]
        assert np.mean(brighter) > least
    left = np.mean([drawn(halves(axis), seed=seed).directions[0, 0] @ towards for seed in range(60)])
    right = np.mean([drawn(backdrop(halves(axis).photo[::-1, ::-1]), seed=seed).directions[0, 0] @ towards for seed in range(60)])
    assert left > 0.5 > right


def test_a_warm_photo_gives_a_warm_hand_but_not_as_warm():
    warmth = []
    for seed in range(40):
        warm, cold = (white(drawn(backdrop(np.tile([[colour]], (9, 9, 1))), seed=seed), -AHEAD) for colour in ([150, 115, 80], [80, 115, 150]))
        warmth.append((warm[0] / warm[2]) / (cold[0] / cold[2]))
    assert min(warmth) > 1.05 and np.mean(warmth) < (150 / 80) ** 2.2


def test_without_share_the_photo_has_no_say():
    config = LightConfig(photo=0.0)
    for seed in range(5):
        first, second = drawn(halves(1), config, seed), drawn(grey(33), config, seed)
        for name in ("ambient", "directions", "colours"):
            np.testing.assert_allclose(getattr(first, name), getattr(second, name), rtol=1e-5, atol=1e-7)


def test_each_setting_leaves_the_other_draws_alone():
    """The key light is where it was, whatever the number of lights and with or without shadows."""
    for seed in range(10):
        usual, single, open_air = (drawn(halves(1), config, seed) for config in (LightConfig(), LightConfig(lights=1), LightConfig(shadows=False)))
        assert single.directions.shape[1] == 1 and not open_air.shadows
        np.testing.assert_array_equal(single.directions[:, 0], usual.directions[:, 0])
        np.testing.assert_array_equal(open_air.directions, usual.directions)


def test_all_draws_are_made_in_any_case():
    states = []
    for config in (LightConfig(), LightConfig(kind="flat"), LightConfig(lights=0), LightConfig(photo=0.0)):
        rng = np.random.default_rng(3)
        draw_light(config, grey(90), frames=3, fps=30.0, rng=rng)
        states.append(rng.random())
    assert len(set(states)) == 1


def test_the_same_again():
    for name in ("ambient", "directions", "colours"):
        np.testing.assert_array_equal(getattr(drawn(halves(0), seed=5), name), getattr(drawn(halves(0), seed=5), name))


def test_the_background_is_not_touched():
    background = halves(0)
    before = background.photo.copy()
    drawn(background)
    np.testing.assert_array_equal(background.photo, before)


@pytest.mark.parametrize("wrong", [{"photo": 1.5}, {"lights": 4}, {"lights": -1}, {"kind": "soft"}, {"shadows": 3}])
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(UserError, match=f"{next(iter(wrong))}"):
        build(LightConfig, wrong, where="light")
