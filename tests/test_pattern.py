"""Patterns: they repeat without a seam, are never flat, and are matt or glossy as the stuff is."""

import numpy as np
import pytest

from seqgen.scene.things.pattern import DUST, OBJECTS, THREAD_M, WOODS, draw_pattern, pattern_fields

CLOTH, OBJECT = (lambda seed, cloth=cloth: draw_pattern(np.random.default_rng(seed), cloth=cloth) for cloth in (True, False))


def steps_down(picture):
    """Mean difference from each row to the next; the last is from the bottom row to the top one of the next tile."""
    picture = np.asarray(picture, float)
    return np.abs(np.roll(picture, -1, 0) - picture).reshape(len(picture), -1).mean(1)


@pytest.mark.parametrize("draw", [CLOTH, OBJECT], ids=["cloth", "object"])
@pytest.mark.parametrize("seed", range(40))
def test_no_seam_and_nothing_flat(draw, seed):
    material = draw(seed)
    for picture in (material.albedo, material.roughness, material.bump_m):
        for steps in (steps_down(picture), steps_down(np.swapaxes(picture, 0, 1))):
            assert steps[-1] <= 1.3 * steps[:-1].max() + 1e-9
    assert material.albedo.astype(float).mean(2).std() > 1.0
    blocks = material.albedo.reshape(8, 16, 8, 16, 3).astype(float).std((1, 3)).max(2)
    assert (blocks > 0.3).all()  # nowhere


def test_a_seam_would_be_found():
    ramp = np.tile(np.arange(128)[:, None], (1, 128))
    assert steps_down(ramp)[-1] > 1.3 * steps_down(ramp)[:-1].max()


@pytest.mark.parametrize("seed", range(5))
def test_texels_are_mixed_and_shaded_one_by_one(seed):
    """The slow twin of painted wood, in doubles: year rings between two tones of a wood, times the grain, and dust where it is dark."""
    rng, size = np.random.default_rng(seed), 32
    fields = pattern_fields(size)
    material = OBJECTS[4](fields, np.random.default_rng(seed))
    shifts = [rng.integers((4, size, size)) for _ in range(2)]
    smooth, grain = (np.roll(bank[which], way, (0, 1)).astype(float) for bank, (which, *way) in zip((fields.smooth, fields.streaks), shifts, strict=True))
    count, bend = rng.integers(2, 7), rng.uniform(0.05, 0.25)
    rings = np.sin(2 * np.pi * (count * np.arange(size)[:, None] / size + bend * smooth))
    wood, shade = WOODS[rng.integers(len(WOODS))] * rng.uniform(0.85, 1.1), 1 + 0.09 * grain
    share = 0.4 + 0.4 * rings
    for row, column in np.random.default_rng(1).integers(size, size=(50, 2)):
        colour = wood + share[row, column] * (wood * 0.68 - wood)
        expected = np.clip(np.clip(colour, 18, 225) * shade[row, column] + DUST * (shade[row, column] - 1), 4, 252)
        np.testing.assert_allclose(material.albedo[row, column], expected - 0.5, atol=0.51)


def test_cloth_is_matt_and_has_threads():
    for seed in range(40):
        material = CLOTH(seed)
        assert 0.02 <= material.reflectance <= 0.04
        assert material.roughness.mean() > 190
        assert THREAD_M[0] / 2 < np.ptp(material.bump_m) < 2e-3


def test_objects_are_of_all_kinds_of_stuff():
    materials = [OBJECT(seed) for seed in range(120)]
    roughness = [material.roughness.mean() for material in materials]
    assert min(roughness) < 80 and max(roughness) > 200
    metals = [material for material in materials if material.reflectance > 0.2]
    assert 120 / len(OBJECTS) / 2 < len(metals) < 120 / len(OBJECTS) * 2
    colours = np.array([material.albedo.reshape(-1, 3).mean(0) for material in materials])
    assert (colours.std(0) > 30).all()


def test_the_same_draw_gives_the_same_bits_and_another_another():
    for draw in (CLOTH, OBJECT):
        first, again, other = draw(3), draw(3), draw(4)
        assert first.reflectance == again.reflectance
        for name in ("albedo", "roughness", "bump_m"):
            np.testing.assert_array_equal(getattr(first, name), getattr(again, name))
        assert (first.albedo != other.albedo).any()


@pytest.mark.parametrize("size", [32, 64, 256])
def test_other_sizes(size):
    for seed in range(20):
        for cloth in (True, False):
            assert draw_pattern(np.random.default_rng(seed), cloth=cloth, size=size).albedo.shape == (size, size, 3)


def test_a_size_that_threads_do_not_fill_is_refused():
    with pytest.raises(ValueError, match="multiple of 32"):
        pattern_fields(100)
