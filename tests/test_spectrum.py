"""The amplitude spectrum's jitter: gain as drawn, phase as it was, edges no neighbours."""

import numpy as np
import pytest
import torch

from seqgen.render.spectrum import COARSE_GAIN, FINE_GAIN, PIVOT, amplitude_change, amplitude_change_by_products, amplitude_gain

SIZE = (96, 64)
GAIN = amplitude_gain(SIZE, tilt=0.2, bend=0.03, sharpening=0.5)
rng = np.random.default_rng(4)
LUMAS = (128 + 40 * rng.standard_normal((3, SIZE[1], SIZE[0])).cumsum(1)).astype(np.float32)


def mirrored(picture):
    """The picture and its mirror images, as the transform takes it to go on."""
    return np.block([[picture, picture[:, ::-1]], [picture[::-1], picture[::-1, ::-1]]]).astype(float)


@pytest.mark.parametrize("frame", range(3))
def test_amplitudes_take_the_gain_and_phases_stay(frame):
    before = np.fft.fft2(mirrored(LUMAS[frame]))[: SIZE[1], : SIZE[0]]
    after = np.fft.fft2(mirrored(LUMAS[frame] + amplitude_change(LUMAS, GAIN)[frame]))[: SIZE[1], : SIZE[0]]
    strong = np.abs(before) > 1e-4 * np.abs(before).max()
    assert strong.mean() > 0.5
    np.testing.assert_allclose((after / before)[strong], GAIN[strong], rtol=2e-3)  # a real positive ratio: no phase has turned


@pytest.mark.parametrize("size", [(96, 64), (7, 1), (224, 224), (30, 131)])
def test_products_are_the_same_transform(size):
    gain = amplitude_gain(size, tilt=0.2, bend=0.03, sharpening=0.5)
    levels = rng.uniform(0, 255, (2, size[1], size[0])).astype(np.float32)
    change = amplitude_change_by_products(torch.from_numpy(levels), torch.from_numpy(gain)).numpy()
    np.testing.assert_allclose(change, amplitude_change(levels, gain), atol=1e-3)


def test_neutral_gain_changes_nothing():
    neutral = amplitude_gain(SIZE, tilt=0.0, bend=0.0, sharpening=0.0)
    assert (neutral == 1).all()
    assert not amplitude_change(LUMAS, neutral).any()


def test_the_mean_keeps_its_amplitude():
    assert GAIN[0, 0] == 1
    np.testing.assert_allclose(amplitude_change(LUMAS, GAIN).mean((1, 2)), 0, atol=1e-3)


@pytest.mark.parametrize("tilt", [-0.2, 0.15])
def test_tilt_is_what_is_added_to_the_slope(tilt):
    noise = rng.standard_normal((40, 224, 224)).astype(np.float32)
    tilted = noise + amplitude_change(noise, amplitude_gain((224, 224), tilt=tilt, bend=0.0, sharpening=0.0))
    spectrum = np.abs(np.fft.fft2(tilted)).mean(0)
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(224), np.fft.fftfreq(224)))
    straight = (frequency > PIVOT / 2) & (frequency < 6 * PIVOT)
    slope = np.polyfit(np.log(frequency[straight]), np.log(spectrum[straight]), 1)[0]
    assert slope == pytest.approx(-tilt, abs=0.015)


@pytest.mark.parametrize("sharpening", [0.0, 0.8])
@pytest.mark.parametrize("tilt", [-5.0, -0.2, 0.2, 5.0])
def test_gains_are_bounded_whatever_is_asked_for(tilt, sharpening):
    """Coarse ones closely: no fog, no halos; fine ones, tilt and sharpening together, so that edges get no outlines."""
    gain = amplitude_gain((224, 224), tilt=tilt, bend=0.01, sharpening=sharpening)
    frequency = np.hypot(np.arange(224)[:, None], np.arange(224)) / 448
    for part, most in ((frequency <= PIVOT, COARSE_GAIN), (frequency > PIVOT, FINE_GAIN)):
        assert 1 / most <= gain[part].min() * (1 + 1e-6) and gain[part].max() <= most * (1 + 1e-6)


def test_a_bent_spectrum_falls_at_both_ends():
    bent = amplitude_gain((224, 224), tilt=0.0, bend=0.05, sharpening=0.0)[0]
    pivot = round(PIVOT * 448)
    assert bent[1] < 0.9 and bent[-1] < 0.9 and bent[pivot] == pytest.approx(1, abs=0.01)


def test_sharpening_raises_the_finest_detail_by_its_share():
    sharp = amplitude_gain(SIZE, tilt=0.0, bend=0.0, sharpening=0.5)
    assert sharp[-1, -1] == pytest.approx(1.5, abs=0.01)
    assert (np.diff(sharp[0]) > 0).all()


def test_opposite_edges_do_not_bleed_into_each_other():
    ramp = np.broadcast_to(np.linspace(0, 255, 96, dtype=np.float32), (1, 64, 96))
    sharpened = ramp + amplitude_change(ramp.copy(), amplitude_gain(SIZE, tilt=0.0, bend=0.0, sharpening=1.0))
    assert np.abs(sharpened - ramp).max() < 3  # with wrapped edges the jump of 255 would ring by tens of levels
