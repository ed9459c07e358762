"""The colour sensor: laws of its noise, closed forms of its optics and curve, and the same bits wherever it is used."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import warp as wp
from scipy.ndimage import correlate1d
from scipy.stats import chisquare

from seqgen.config import build
from seqgen.errors import UserError
from seqgen.render import sensor_kernels
from seqgen.render.device import Workspace
from seqgen.render.noise_kernels import hash_at, hash_on_host, normal_quantiles, stream_key
from seqgen.render.sensor import Developer, gaussian_taps, level_tables, recompress, srgb_chords
from seqgen.scene.sensor import LUMA, MAX_DEFOCUS_PX, NO_SENSOR, Sensor, SensorConfig, draw_sensor
from seqgen.srgb import linear_from_srgb, srgb_from_linear

CLEAN = Sensor("drawn", 0.0, np.ones(3, np.float32), 1e12, 0.0, 0.0, 0.0, 0.0, 0)  # a camera that does nothing
NOISY = replace(CLEAN, electrons=400.0, read_electrons=6.0)
rng = np.random.default_rng(2)
LIGHT = rng.random((3, 40, 56, 3), np.float32)


@cache
def developer():
    return Developer()


def develop(light, sensor, *, seed=1, sequence=2):
    return developer().develop(light, sensor, seed=seed, sequence=sequence)


def flat(light, *, frames=4, side=128):
    return np.full((frames, side, side, 3), light, np.float32)


def linear(rgb):
    return linear_from_srgb(rgb / 255.0)


@wp.kernel
def write_hashes(key: wp.uint64, out: wp.array(dtype=wp.uint64)):
    out[wp.tid()] = hash_at(key, wp.tid())


def hashes(key, count):
    out = wp.zeros(count, dtype=wp.uint64, device="cpu")
    wp.launch(write_hashes, count, [wp.uint64(key)], outputs=[out], device="cpu")
    return out.numpy()


# --- the hash ---


def test_the_hash_is_splitmix64():
    assert hash_on_host(0, 0) == 0xE220A8397B1DCDAF  # its published first number from state 0
    key = stream_key(7, 8, 0)
    assert hashes(key, 50).tolist() == [hash_on_host(key, i) for i in range(50)]


@pytest.mark.parametrize("shift", [0, 20, 40, 48])
def test_the_bits_that_are_used_are_uniform(shift):
    bits = hashes(stream_key(1, 2, 0), 1 << 18) >> np.uint64(shift) & np.uint64(1023)
    assert chisquare(np.bincount(bits.astype(int), minlength=1024)).pvalue > 1e-4


def test_streams_have_keys_of_their_own():
    assert len({stream_key(seed, sequence, concern) for seed in range(20) for sequence in range(20) for concern in range(2)}) == 800


def test_quantiles_are_standard_normal():
    quantiles = normal_quantiles().astype(float)
    assert quantiles.mean() == pytest.approx(0, abs=1e-6) and quantiles.var() == pytest.approx(1, abs=1e-6)
    assert (quantiles**4).mean() == pytest.approx(3, abs=0.1)


# --- curve, exposure, white balance ---


def test_no_sensor_is_srgb_to_the_nearest_level():
    _, thresholds = level_tables()
    near = np.concatenate([thresholds[:255], np.nextafter(thresholds[:255], np.float32(-1)), [0, 1, 1.5, 7]]).astype(np.float32)
    light = np.resize(np.concatenate([near, LIGHT.ravel()]), LIGHT.shape).astype(np.float32)
    expected = np.floor(255 * srgb_from_linear(np.minimum(light.astype(float), 1)) + 0.5)
    np.testing.assert_array_equal(develop(light, NO_SENSOR), expected.astype(np.uint8))


def test_the_curve_of_chords_is_srgb():
    place = np.linspace(0, sensor_kernels.BINS, 100_001)
    chords = srgb_chords()[place.astype(int)].astype(float)
    exact = 255 * srgb_from_linear(place / sensor_kernels.BINS)
    np.testing.assert_allclose(chords[:, 0] + chords[:, 1] * place, exact, atol=0.006)


def test_exposure_and_white_balance_are_gains_on_light():
    gains = np.array([1.3, 0.9, 0.5], np.float32)
    expected = 255 * srgb_from_linear(np.minimum(LIGHT * gains, 1.0))
    assert np.abs(develop(LIGHT, replace(CLEAN, gains=gains)) - expected).max() < 0.52


def test_light_that_is_no_number_is_black():
    assert not develop(flat(np.nan, side=8), NOISY).any()


# --- noise ---


@pytest.mark.parametrize("light", [0.08, 0.2, 0.5])
def test_noise_keeps_the_mean_and_has_the_variance_of_shot_and_read(light):
    picture = linear(develop(flat(light, frames=8), NOISY))
    variance = light / NOISY.electrons + (NOISY.read_electrons / NOISY.electrons) ** 2
    assert picture.mean() == pytest.approx(light, abs=6 * np.sqrt(variance / picture.size) + 1e-4)
    assert picture.var() == pytest.approx(variance, rel=0.02)


def test_pixels_channels_and_frames_have_noises_of_their_own():
    noise = develop(flat(0.3, frames=6), NOISY).astype(float)
    noise -= noise.mean()
    pairs = {
        "across": (noise[:, :, 1:], noise[:, :, :-1]),
        "down": (noise[:, 1:], noise[:, :-1]),
        "frames": (noise[1:], noise[:-1]),
        "channels": (noise[..., 1:], noise[..., :-1]),
        "ends": (noise[..., 0], noise[..., 2]),
    }
    for name, (a, b) in pairs.items():
        assert abs((a * b).mean() / noise.var()) < 5 / np.sqrt(a.size), name


def test_noise_knows_no_picture():
    dark, bright = (develop(flat(light, side=64), NOISY).astype(float).ravel() for light in (0.2, 0.4))
    assert np.corrcoef(dark, bright)[0, 1] > 0.98


def test_the_same_bits_alone_and_in_any_order():
    sensor = replace(NOISY, defocus_px=0.7, sharpening=0.5, tilt=0.1, jpeg_quality=70)
    first = develop(LIGHT, sensor)
    develop(flat(0.3, side=30), NOISY, sequence=9)
    np.testing.assert_array_equal(develop(LIGHT, sensor), first)
    np.testing.assert_array_equal(Developer().develop(LIGHT, sensor, seed=1, sequence=2), first)
    np.testing.assert_array_equal(develop(LIGHT[:1], sensor), first[:1])


def test_seeds_and_sequences_have_noises_of_their_own():
    pictures = [develop(flat(0.3, side=32), NOISY, seed=seed, sequence=sequence) for seed in (0, 1) for sequence in (0, 1)]
    assert len({picture.tobytes() for picture in pictures}) == 4


def test_nothing_given_is_changed():
    before = LIGHT.copy()
    develop(LIGHT, replace(NOISY, defocus_px=0.7))
    np.testing.assert_array_equal(LIGHT, before)


# --- focus, sharpening, JPEG ---


@pytest.mark.parametrize("sigma_px", [0.3, 0.6, 0.9, MAX_DEFOCUS_PX])
def test_taps_keep_the_energy_and_have_the_variance_drawn(sigma_px):
    taps = gaussian_taps(sigma_px)
    assert taps[0] + 2 * taps[1:].sum() == pytest.approx(1)
    assert 2 * taps[1:] @ [1, 4, 9] == pytest.approx(sigma_px**2, rel=1e-6)
    assert (np.diff(taps) < 0).all() and taps[-1] > 0


def test_defocus_is_the_slow_blur_of_light():
    taps = gaussian_taps(0.9)
    weights = np.concatenate([taps[:0:-1], taps])
    slow = correlate1d(correlate1d(LIGHT.astype(float), weights, 2, mode="nearest"), weights, 1, mode="nearest")
    assert np.abs(develop(LIGHT, replace(CLEAN, defocus_px=0.9)) - 255 * srgb_from_linear(slow)).max() < 0.52


@pytest.mark.parametrize("kernel", [sensor_kernels.blur_rows, sensor_kernels.blur_columns], ids=["rows", "columns"])
def test_short_pieces_of_a_row_give_the_same_bits(kernel):
    """A GPU works by pixels, a CPU by rows."""
    space = Workspace("cpu")
    light = space.give(LIGHT, np.float32, wp.vec3)
    made = []
    for columns in (1, 5, 56):
        blurred = space.new(light.shape, wp.vec3)
        space.launch(kernel, (3, 40, -(-56 // columns)), light, wp.vec4(0.4, 0.2, 0.08, 0.02), blurred, columns)
        made.append(blurred.numpy())
    np.testing.assert_array_equal(made[0], made[2])
    np.testing.assert_array_equal(made[1], made[2])


def test_sharpening_overshoots_at_edges_and_leaves_plains_alone():
    step = flat(0.1, frames=1, side=64)
    step[:, :, 32:] = 0.4
    plain, sharp = develop(step, CLEAN).astype(int), develop(step, replace(CLEAN, sharpening=0.8)).astype(int)
    assert (sharp[:, :, 31] < plain[:, :, 31] - 5).all() and (sharp[:, :, 32] > plain[:, :, 32] + 5).all()
    np.testing.assert_allclose(sharp[:, :, :20], plain[:, :, :20], atol=1)


def test_jpeg_is_worse_the_lower_its_quality():
    smooth = correlate1d(correlate1d(LIGHT, np.ones(5) / 5, 1), np.ones(5) / 5, 2)
    plain = develop(smooth, CLEAN)
    errors = [np.abs(recompress(plain, quality).astype(int) - plain).mean() for quality in (95, 80, 60, 30)]
    assert 0 < errors[0] < errors[1] < errors[2] < errors[3]
    np.testing.assert_array_equal(develop(smooth, replace(CLEAN, jpeg_quality=60)), recompress(plain, 60))


# --- what is drawn ---


def draw(config, count=400):
    return [draw_sensor(config, rng=np.random.default_rng(i)) for i in range(count)]


def values(sensors, name):
    return np.array([getattr(sensor, name) for sensor in sensors])


SWITCHES = {
    "defocus_px": ({"defocus_px": 0.0}, {"defocus_px"}),
    "exposure": ({"exposure_ev": 0.0}, {"gains"}),
    "balance": ({"white_balance_deg": 0.0}, {"gains"}),
    "electrons": ({"electrons": (5e5, 5e5)}, {"electrons"}),
    "sharpening": ({"sharpening": 0.0}, {"sharpening"}),
    "spectrum": ({"spectrum": 0.0}, {"tilt", "bend"}),
    "jpeg": ({"jpeg": 0.0}, {"jpeg_quality"}),
    "depth": ({"depth": "sr300"}, set()),
}


@pytest.mark.parametrize("name", SWITCHES)
def test_switching_one_property_leaves_the_others_alone(name):
    changed, touched = SWITCHES[name]
    for a, b in zip(draw(SensorConfig(), 20), draw(SensorConfig(**changed), 20), strict=True):
        for field in Sensor.__dataclass_fields__:
            if field not in touched:
                np.testing.assert_array_equal(getattr(a, field), getattr(b, field))


def test_properties_are_spread_as_asked_for():
    sensors = draw(SensorConfig())
    assert values(sensors, "defocus_px").max() <= MAX_DEFOCUS_PX and 0.3 < np.median(values(sensors, "defocus_px")) < 0.4
    electrons = np.log(values(sensors, "electrons"))
    assert electrons.min() > np.log(1000) and electrons.max() < np.log(20000) and np.median(electrons) == pytest.approx(np.log(4472), abs=0.25)
    assert values(sensors, "tilt").std() == pytest.approx(0.15, abs=0.015)
    qualities = values(sensors, "jpeg_quality")
    assert (qualities > 0).mean() == pytest.approx(0.4, abs=0.08) and qualities[qualities > 0].min() >= 50 and qualities.max() <= 95


def test_white_balance_is_off_by_the_angle_and_keeps_the_luma():
    gains = values(draw(SensorConfig(exposure_ev=0.0)), "gains").astype(float)
    np.testing.assert_allclose(gains @ LUMA, 1, atol=1e-6)
    off = np.degrees(np.arccos(gains.sum(1) / np.sqrt(3) / np.linalg.norm(gains, axis=1)))
    assert np.sqrt((off**2).mean()) == pytest.approx(2.5 * np.sqrt(1.25), rel=0.1)
    exposure = np.log2(values(draw(SensorConfig(white_balance_deg=0.0)), "gains")[:, 0])
    assert exposure.std() == pytest.approx(0.3, rel=0.12)


def test_no_sensor_is_drawn_where_none_is_wanted():
    assert draw_sensor(SensorConfig(kind="none"), rng=np.random.default_rng(0)) is NO_SENSOR


def test_impossible_settings_are_refused_in_one_line():
    with pytest.raises(UserError, match=r"sensor: jpeg_quality = .*from 1 to 100"):
        build(SensorConfig, {"jpeg_quality": [0, 120]}, where="sensor")
    with pytest.raises(UserError, match="defocus_px"):
        build(SensorConfig, {"defocus_px": 3.0}, where="sensor")
