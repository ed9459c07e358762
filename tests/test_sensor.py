"""The colour sensor: laws of its noise, closed forms of its optics and curve, and the same bits wherever it is used."""

import io
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import warp as wp
from PIL import Image
from scipy.ndimage import correlate1d
from scipy.stats import chisquare, kurtosis

from seqgen.config import build
from seqgen.errors import UserError
from seqgen.render import sensor_kernels
from seqgen.render.device import Workspace
from seqgen.render.noise_kernels import hash_at, hash_on_host, normal_quantiles, stream_key
from seqgen.render.sensor import KNEE, Developer, camera_curve, gaussian_taps, level_tables, noise_scale, shoulder
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


def byte_sums(key, frame, y, count):
    """Slow twin of the colour sensor's noise: whole numbers of 32 bits."""
    row, mask = hash_on_host(hash_on_host(key, frame), y), (1 << 32) - 1
    sums = []
    for i in range(count):
        z = (row + i * 0x9E3779B9) & mask
        z = ((z ^ (z >> 16)) * 0x7FEB352D + (row >> 32)) & mask
        z = ((z ^ (z >> 15)) * 0x846CA68B) & mask
        z ^= z >> 16
        sums.append(sum(z.to_bytes(4)))
    return np.array(sums)


def test_noise_is_the_sum_of_the_bytes_of_a_hash():
    """On the root scale it is added as it is: shown on light so that the levels hardly bend it."""
    picture = develop(flat(0.3, frames=2, side=32), replace(CLEAN, electrons=900.0))
    for frame, y in ((0, 0), (1, 17)):
        sums = byte_sums(stream_key(1, 2, 0), frame, y, 96)
        place = np.sqrt(0.3) + (sums - 510) / np.sqrt(21845) / (2 * np.sqrt(900))
        assert np.abs(picture[frame, y].ravel() - 255 * srgb_from_linear(place**2 - 1 / 3600)).max() < 0.62


def test_sums_of_bytes_are_normal_enough():
    sums = (np.concatenate([byte_sums(stream_key(3, n, 0), 0, n, 3000) for n in range(20)]) - 510) / np.sqrt(21845)
    assert sums.mean() == pytest.approx(0, abs=0.02) and sums.var() == pytest.approx(1, abs=0.03) and kurtosis(sums) == pytest.approx(-0.3, abs=0.07)


def test_quantiles_are_standard_normal():
    quantiles = normal_quantiles().astype(float)
    assert quantiles.mean() == pytest.approx(0, abs=1e-6) and quantiles.var() == pytest.approx(1, abs=1e-6)
    assert (quantiles**4).mean() == pytest.approx(3, abs=0.1)


# --- curve, exposure, white balance ---


def test_no_sensor_is_srgb_to_the_nearest_level():
    _, thresholds = level_tables()
    near = np.concatenate([thresholds[:255], np.nextafter(thresholds[:255], np.float32(-1)), [0, 1, 1.5, 7, 1e-30, 1e-5, 2**-13, 2**-12]]).astype(np.float32)
    light = np.resize(np.concatenate([near, LIGHT.ravel()]), LIGHT.shape).astype(np.float32)
    expected = np.floor(255 * srgb_from_linear(np.minimum(light.astype(float), 1)) + 0.5)
    np.testing.assert_array_equal(develop(light, NO_SENSOR), expected.astype(np.uint8))


@pytest.mark.parametrize("sensor", [CLEAN, NOISY, replace(CLEAN, electrons=5000.0, read_electrons=2.0)], ids=["clean", "noisy", "usual"])
def test_the_cameras_curve_is_srgb(sensor):
    scale = noise_scale(sensor, white=1.0)
    for end in (0, 1):
        place = scale.black + (np.arange(sensor_kernels.STEPS) + end) / scale.steps
        exact = 255 * srgb_from_linear(np.clip(place**2 - scale.black**2, 0, 1))
        np.testing.assert_allclose(camera_curve(scale), exact, atol=1.0 if sensor is NOISY else 0.11)  # a step of 1 where noise is 9 levels


def test_darker_exposure_and_white_balance_are_gains_on_light():
    gains = np.array([1.0, 0.9, 0.5], np.float32)
    assert np.abs(develop(LIGHT, replace(CLEAN, gains=gains)) - 255 * srgb_from_linear(LIGHT * gains)).max() < 0.62


def test_brighter_exposure_is_a_gain_up_to_the_knee():
    light = LIGHT * np.float32(KNEE / 1.5)
    assert np.abs(develop(light, replace(CLEAN, gains=np.full(3, 1.5, np.float32))) - 255 * srgb_from_linear(1.5 * light)).max() < 0.62


@pytest.mark.parametrize("white", [1.0, 1.1, 1.5, 4.0])
def test_the_shoulder_rises_slower_and_slower_from_a_straight_line_to_white(white):
    light = np.linspace(0, white, 2001)
    pressed = shoulder(light, white)
    slopes = np.diff(pressed) * 2000 / white  # of 2000 short chords
    np.testing.assert_allclose(pressed[light <= KNEE], light[light <= KNEE])
    assert pressed[-1] == 1 and (slopes > -1e-12).all() and (pressed[light < 0.9 * white] < 1).all()
    assert (np.diff(slopes) < 1e-9).all()  # concave
    assert np.diff(shoulder(np.array([KNEE - 1e-6, KNEE, KNEE + 1e-6]), white)) == pytest.approx(1e-6, rel=1e-4)  # and without a corner
    np.testing.assert_allclose(shoulder(light[light <= 1], 1.0), light[light <= 1], atol=1e-12)


def test_what_was_not_white_is_not_made_white():
    """A photo behind the hand has been exposed already: its highlights keep their drawing when the clip is brighter."""
    sky = np.broadcast_to(np.linspace(0.4, 1.0, 64, dtype=np.float32)[:, None], (2, 16, 64, 3))
    row = develop(sky, replace(CLEAN, gains=np.full(3, 1.5, np.float32)))[0, 0, :, 0].astype(int)
    assert row[0] < 210 and row[-1] == 255 and (np.diff(row) >= 0).all() and (row == 255).mean() < 0.25
    assert (develop(3 * sky, CLEAN) == 255).all()


def test_light_that_is_no_number_is_black():
    assert not develop(flat(np.nan, side=8), NOISY).any() and not develop(flat(np.nan, side=8), NO_SENSOR).any()


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
    assert np.abs(develop(LIGHT, replace(CLEAN, defocus_px=0.9)) - 255 * srgb_from_linear(slow)).max() < 0.62


@pytest.mark.parametrize("shape", [(3, 40, 56), (2, 2, 150), (1, 9, 2), (1, 1, 1)])
def test_defocus_of_any_size_is_the_slow_blur(shape):
    light, weights = rng.random((*shape, 3), np.float32), np.array([0.02, 0.08, 0.2, 0.4, 0.2, 0.08, 0.02])
    blurred = blurred_by(shape[2], light)
    np.testing.assert_allclose(blurred, correlate1d(correlate1d(light, weights, 1, mode="nearest"), weights, 2, mode="nearest"), atol=1e-6)


def blurred_by(columns, light):
    space = Workspace("cpu")
    blurred = space.new(light.shape[:3], wp.vec3)
    pieces = (*light.shape[:2], -(-light.shape[2] // columns))
    space.launch(sensor_kernels.blur, pieces, space.give(light, np.float32, wp.vec3), wp.vec4(0.4, 0.2, 0.08, 0.02), blurred, columns)
    return blurred.numpy()


def test_short_pieces_of_a_row_give_the_same_bits(monkeypatch):
    """A GPU works by pixels, a CPU by rows."""
    np.testing.assert_array_equal(blurred_by(1, LIGHT), blurred_by(56, LIGHT))
    np.testing.assert_array_equal(blurred_by(5, LIGHT), blurred_by(56, LIGHT))
    sensor = replace(NOISY, defocus_px=0.8, sharpening=0.5, jpeg_quality=70)
    by_rows = develop(LIGHT, sensor)
    monkeypatch.setattr(Workspace, "launch_rows", lambda space, kernel, shape, *arguments: space.launch(kernel, shape, *arguments, 1))
    np.testing.assert_array_equal(Developer().develop(LIGHT, sensor, seed=1, sequence=2), by_rows)


def test_sharpening_overshoots_at_edges_and_leaves_plains_alone():
    step = flat(0.1, frames=1, side=64)
    step[:, :, 32:] = 0.4
    plain, sharp = develop(step, CLEAN).astype(int), develop(step, replace(CLEAN, sharpening=0.55)).astype(int)
    assert (sharp[:, :, 31] < plain[:, :, 31] - 5).all() and (sharp[:, :, 32] > plain[:, :, 32] + 5).all()
    np.testing.assert_allclose(sharp[:, :, :20], plain[:, :, :20], atol=1)


def through_pillow(rgb, quality):
    """What is read back from JPEGs, the slow twin."""
    read = []
    for frame in rgb:
        stream = io.BytesIO()
        Image.fromarray(frame).save(stream, "JPEG", quality=quality, subsampling="4:2:0")
        read.append(np.asarray(Image.open(stream)))
    return np.stack(read)


def light_of(rgb):
    return linear_from_srgb(rgb / 255.0).astype(np.float32)


@pytest.mark.parametrize("shape", [(1, 1), (2, 3), (4, 5), (5, 4), (7, 6), (16, 16), (17, 33), (40, 150), (9, 130)])
def test_jpeg_leaves_what_pillow_reads_back(shape):
    """To the bit, whatever the size: the hardest pictures are noise."""
    noise = rng.integers(0, 256, (2, *shape, 3), np.uint8)
    smooth = correlate1d(correlate1d(noise.astype(float), np.ones(5) / 5, 1), np.ones(5) / 5, 2).astype(np.uint8)
    for rgb in (noise, smooth):
        plain = develop(light_of(rgb), CLEAN)
        for quality in (1, 10, 50, 75, 93, 100):
            np.testing.assert_array_equal(develop(light_of(rgb), replace(CLEAN, jpeg_quality=quality)), through_pillow(plain, quality))


def test_jpeg_is_worse_the_lower_its_quality():
    smooth = correlate1d(correlate1d(LIGHT, np.ones(5) / 5, 1), np.ones(5) / 5, 2)
    plain = develop(smooth, CLEAN)
    errors = [np.abs(develop(smooth, replace(CLEAN, jpeg_quality=quality)).astype(int) - plain).mean() for quality in (95, 80, 60, 30)]
    assert 0 < errors[0] < errors[1] < errors[2] < errors[3]


def test_light_on_the_device_is_developed_where_it_is():
    sensor = replace(NOISY, defocus_px=0.7, sharpening=0.5, jpeg_quality=70)
    for camera in (sensor, NO_SENSOR):
        np.testing.assert_array_equal(develop(wp.array(LIGHT, dtype=wp.vec3, device="cpu"), camera), develop(LIGHT, camera))


def test_the_spectrum_by_products_gives_the_same_pictures(monkeypatch):
    """As on CUDA: within a level, and that for one pixel in a thousand."""
    sensor = replace(NOISY, defocus_px=0.8, sharpening=0.5, tilt=-0.2, bend=0.03)
    by_transforms = develop(LIGHT, sensor).astype(int)
    monkeypatch.setattr(Developer, "_change", Developer._change_by_products)
    differences = np.abs(develop(LIGHT, sensor) - by_transforms)
    assert differences.max() <= 1 and differences.mean() < 1e-3


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
    assert (qualities > 0).mean() == pytest.approx(0.25, abs=0.07) and qualities[qualities > 0].min() >= 50 and qualities.max() <= 95


def test_noisy_cameras_sharpen_less():
    sensors = draw(SensorConfig())
    few = values(sensors, "electrons") < 2500
    assert values(sensors, "sharpening")[few].mean() < 0.65 * values(sensors, "sharpening")[~few].mean()
    assert values(sensors, "sharpening").max() == pytest.approx(0.75, abs=0.05)


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
