"""Augmentation: labels stay exact, everything comes from the generator, and each change is the one that its name says."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.fft import dctn
from sequences import make_sequence

from seqgen.dataset.clip import LabelledClip
from seqgen.dataset.sequence import is_hand
from seqgen.estimators.views.crop import InputConfig, crop_squares, scale_and_turn, to_crop, to_picture
from seqgen.estimators.views.sample import Sample, make_sample
from seqgen.training.augment import AugmentConfig, _noise, augmented, draw_crop, hide, recolour
from seqgen.training.spectrum import spectral_change

SIZE = 40
INPUT = InputConfig(size=SIZE)
OFF = AugmentConfig(
    zoom=(1, 1), shift=0, turn_deg=0, jitter=0, brightness=0, contrast=0, gamma=0, saturation=0, hue_deg=0, grey_share=0, spectrum_share=0, blur_share=0, noise_share=0
)
RGB = np.random.default_rng(5).integers(60, 190, (3, 3, SIZE, SIZE)).astype(np.uint8)


def clip_of(n: int, frames: int = 3) -> LabelledClip:
    sequence = make_sequence(n, frames=frames, size=(64, 48))
    labels = {name: getattr(sequence.labels, name) for name in ("joints_m", "joints_px", "box_px", "intrinsics", "pose", "betas")}
    valid = np.ones((frames, 21), bool)
    return LabelledClip(sequence.key, "made up", "right", 30.0, sequence.rgb, joints_valid=valid, camera_kind="perspective", hand="open", mask=is_hand(sequence.parts), **labels)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def only(**changes: object) -> AugmentConfig:
    return AugmentConfig(**{**OFF.model_dump(), **changes})


def assert_same(one: Sample, other: Sample) -> None:
    for name, value in vars(one).items():
        np.testing.assert_array_equal(value, getattr(other, name), err_msg=name)


def test_nothing_changed_is_the_clip_itself() -> None:
    assert_same(augmented(clip_of(1), INPUT, OFF, rng()), make_sample(clip_of(1), INPUT))


def test_the_share_that_looks_as_it_is() -> None:
    """The others look as they would if all did."""
    plain, changed = make_sample(clip_of(1), INPUT), 0
    for seed in range(200):
        sample = augmented(clip_of(1), INPUT, AugmentConfig(share=0.3), rng(seed))
        is_plain = np.array_equal(sample.crop_from_picture, plain.crop_from_picture)
        assert_same(sample, plain if is_plain else augmented(clip_of(1), INPUT, AugmentConfig(), rng(seed)))
        changed += not is_plain
    assert 40 <= changed <= 80  # 60 +- 3 standard deviations of 6.5
    assert_same(augmented(clip_of(1), INPUT, AugmentConfig(share=0), rng()), plain)


@pytest.mark.parametrize("side", ["right", "left"])
def test_labels_stay_exact(side: str) -> None:
    """Every seed its own crop; the joints' pixels are those of the picture under the map, and what the crop's camera sees."""
    clip = replace(clip_of(2), side=side)
    for seed in range(20):
        sample = augmented(clip, INPUT, AugmentConfig(jitter=0.05), rng(seed))
        np.testing.assert_allclose(sample.joints_px, to_crop(clip.joints_px, sample.crop_from_picture), atol=1e-3)
        points_m = sample.joints_m.astype(float) + sample.root_m[:, None]
        seen = np.einsum("tij,tnj->tni", sample.intrinsics, points_m / points_m[..., 2:])[..., :2]
        assert np.abs(seen - sample.joints_px).max() < 1e-3


def test_the_generator_decides_all_and_nothing_is_changed_in_place() -> None:
    clip, config = clip_of(3), AugmentConfig(cover=1, blackout=1)
    before = {name: value.copy() for name, value in vars(clip).items() if isinstance(value, np.ndarray)}
    first, again, other = (augmented(clip, INPUT, config, rng(seed)) for seed in (7, 7, 8))
    assert_same(first, again)
    assert not np.array_equal(first.rgb, other.rgb) and not np.array_equal(first.joints_px, other.joints_px)
    for name, value in before.items():
        np.testing.assert_array_equal(getattr(clip, name), value)


def test_one_kind_of_change_leaves_the_others_alone() -> None:
    every = augmented(clip_of(4), INPUT, AugmentConfig(cover=1, blackout=1), rng(3))
    colours_off = augmented(clip_of(4), INPUT, only(zoom=AugmentConfig().zoom, shift=0.06, turn_deg=30.0, jitter=0.003), rng(3))
    np.testing.assert_array_equal(every.crop_from_picture, colours_off.crop_from_picture)
    crop_off = augmented(clip_of(4), INPUT, only(cover=1), rng(3))
    hidden = (crop_off.rgb != make_sample(clip_of(4), INPUT).rgb).any(1)
    assert 0 < hidden.mean() < 0.25


@pytest.mark.parametrize("crop", ["picture", "box"])
def test_crops_are_drawn_within_their_bounds_and_reach_them(crop: str) -> None:
    input, clip = InputConfig(size=SIZE, crop=crop), clip_of(5)
    config = AugmentConfig(zoom=(0.5, 2), shift=0.1, turn_deg=90, jitter=0)
    squares = crop_squares((64, 48), clip.box_px, input)
    draws = []
    for seed in range(300):
        matrix = draw_crop(clip, input, config, rng(seed))
        scale, turn = scale_and_turn(matrix)
        zoom, angle = scale * squares[:, 2] / SIZE, np.degrees(np.arctan2(turn[:, 1, 0], turn[:, 0, 0]))
        shift = (to_picture(np.full((3, 1, 2), (SIZE - 1) / 2), matrix)[:, 0] - squares[:, :2]) / (squares[:, 2:] / zoom[:, None])
        drawn = np.concatenate([zoom[:, None], angle[:, None], shift], 1)
        np.testing.assert_allclose(drawn, drawn[:1].repeat(3, 0), atol=1e-9)  # one draw a clip
        draws.append(drawn[0])
    low, high = np.min(draws, 0), np.max(draws, 0)
    bounds = np.array([[0.5, 2], [-90, 90], [-0.1, 0.1], [-0.1, 0.1]])
    span = bounds[:, 1] - bounds[:, 0]
    assert (low >= bounds[:, 0] - 1e-9).all() and (high <= bounds[:, 1] + 1e-9).all()
    assert (low < bounds[:, 0] + 0.03 * span).all() and (high > bounds[:, 1] - 0.03 * span).all()


def test_jitter_trembles_by_as_much_as_asked() -> None:
    still = clip_of(5, frames=1)
    repeated = {name: np.repeat(value, 400, 0) for name, value in vars(still).items() if isinstance(value, np.ndarray) and name != "betas"}
    matrix = draw_crop(replace(still, **repeated), INPUT, only(jitter=0.02), rng())
    scale, _ = scale_and_turn(matrix)
    centre = to_picture(np.full((400, 1, 2), (SIZE - 1) / 2), matrix)[:, 0]
    trembling = np.stack([np.log(scale * 48 / SIZE), *((centre - [31.5, 23.5]) * scale[:, None] / SIZE).T])
    np.testing.assert_allclose(trembling.std(1), 0.02, rtol=0.15)  # four standard errors of 400 draws
    np.testing.assert_allclose(trembling.mean(1), 0, atol=0.004)


def test_colours_do_not_flicker_unless_asked() -> None:
    still, config = np.repeat(RGB[:1], 4, 0), AugmentConfig(noise_share=0, spectrum_share=1, blur_share=1)
    steady, flickering = (recolour(still, config.model_copy(update={"flicker": flicker}), rng(2)) for flicker in (False, True))
    assert (steady == steady[:1]).all() and not np.array_equal(steady, still)
    assert all(not np.array_equal(flickering[0], frame) for frame in flickering[1:])


def test_tones() -> None:
    """One level in, one level out: brightness multiplies, contrast keeps middle grey, gamma keeps black and white; whatever is drawn."""
    ramp = np.broadcast_to(np.arange(256, dtype=np.uint8).reshape(16, 16), (1, 3, 16, 16))
    for seed in range(10):
        bright = recolour(ramp, only(brightness=0.5), rng(seed))[0, 0].ravel().astype(float)
        factor = bright[100] / 100
        assert 0.5 <= factor <= 1.5
        np.testing.assert_allclose(bright, np.minimum(factor * np.arange(256), 255), atol=0.5 + 2.56 * 0.5)
        contrast = recolour(ramp, only(contrast=0.5), rng(seed))[0, 0].ravel()
        assert abs(int(contrast[127]) + int(contrast[128]) - 255) <= 1
        gamma = recolour(ramp, only(gamma=0.5), rng(seed))[0, 0].ravel().astype(float)
        assert gamma[0] == 0 and gamma[255] == 255 and (np.diff(gamma) >= 0).all()
        power = np.log(gamma[128] / 255) / np.log(128 / 255)
        assert np.exp(-0.5) - 0.01 <= power <= np.exp(0.5) + 0.01


def test_grey_and_hue_keep_the_lightness() -> None:
    weights = np.array([0.299, 0.587, 0.114])[:, None, None]
    flat = (np.array([120, 100, 110], np.uint8)[None, :, None, None] + RGB // 16).astype(np.uint8)
    for config in (only(grey_share=1), only(hue_deg=60), only(saturation=0.8)):
        after = recolour(flat, config, rng(1))
        assert np.abs((weights * after).sum(1) - (weights * flat).sum(1)).max() < 1.01 and not np.array_equal(after, flat)
    grey = recolour(flat, only(grey_share=1), rng())
    assert np.ptp(grey.astype(int), axis=1).max() <= 1


def test_noise_is_normal_noise_of_the_size_asked_for() -> None:
    noise = _noise((2, 3, 100, 100), 5.0, rng())
    assert abs(noise.mean()) < 0.1 and noise.std() == pytest.approx(5.0, rel=0.01)  # five standard errors of 60,000 draws
    assert np.mean(np.abs(noise) < 5) == pytest.approx(0.6827, abs=0.01)
    neighbours = (noise[..., 1:] * noise[..., :-1]).mean() / 25
    assert abs(neighbours) < 0.02


@pytest.mark.parametrize("slope", [-0.3, 0.2, 1.0])
def test_the_slope_of_the_spectrum_moves_by_what_is_asked(slope: float) -> None:
    """log amplitude over log frequency, before and after; mean and contrast of the clip stay."""
    planes = RGB[:, 0].astype(np.float32)
    after = planes + spectral_change(planes, slope=slope)
    k = np.arange(SIZE) / (2 * SIZE)
    frequency = np.hypot(k[:, None], k).ravel()[1:]
    slopes = [np.polyfit(np.log(frequency), np.log(np.abs(dctn(each.astype(float))).ravel()[1:]), 1)[0] for each in (planes[0], after[0])]
    assert slopes[1] - slopes[0] == pytest.approx(slope, abs=0.01)
    np.testing.assert_allclose(after.mean((1, 2)), planes.mean((1, 2)), rtol=1e-5)
    about_mean = [((each - each.mean((1, 2), keepdims=True)) ** 2).sum() for each in (planes, after)]
    assert about_mean[1] == pytest.approx(about_mean[0], rel=1e-3)


def test_a_blur_is_gaussian() -> None:
    """A cosine of f cycles a pixel keeps exp(-2 pi^2 sigma^2 f^2) of its height."""
    wave = 30 * np.cos(np.pi * 6 * (np.arange(SIZE) + 0.5) / SIZE).astype(np.float32)
    plane = np.broadcast_to(wave, (1, SIZE, SIZE)) + np.float32(100)
    blurred = plane + spectral_change(plane, slope=0.0, blur_px=1.5)
    frequency = 6 / (2 * SIZE)
    np.testing.assert_allclose(blurred - 100, (plane - 100) * np.exp(-2 * (np.pi * 1.5 * frequency) ** 2), atol=1e-3)


def test_a_flat_picture_has_no_spectrum_to_change() -> None:
    np.testing.assert_allclose(spectral_change(np.full((2, 8, 8), 90, np.float32), slope=0.5, blur_px=1.0), 0, atol=1e-4)


def test_hidden_parts() -> None:
    """A cover is one rectangle of one colour in frames that follow one another; a black frame is never the first, and never a still."""
    rgb = np.repeat(RGB, 3, 0)
    lengths = set()
    for seed in range(40):
        covered = (hide(rgb, AugmentConfig(cover=1), rng(seed)) != rgb).any(1)
        frames, rows, columns = (np.flatnonzero(covered.any(axes)) for axes in ((1, 2), (0, 2), (0, 1)))
        assert (np.diff(frames) == 1).all() and 0.015 < len(rows) * len(columns) / SIZE**2 < 0.22
        lengths.add(len(frames))
        black = np.flatnonzero(~hide(rgb, AugmentConfig(blackout=1), rng(seed)).any((1, 2, 3)))
        assert len(black) == 1 and black[0] > 0
    assert len(lengths) > 4
    assert hide(rgb[:1], AugmentConfig(blackout=1), rng()).any() and hide(rgb, AugmentConfig(), rng()) is rgb


def test_the_share_of_clips_is_the_one_asked_for() -> None:
    changed = [hide(RGB, AugmentConfig(blackout=0.3), rng(seed)) is not RGB for seed in range(400)]
    assert np.mean(changed) == pytest.approx(0.3, abs=0.09)  # four standard errors
