"""Depth sensors against what is published of them: noise, steps, shadows, edges, grazing surfaces, flying pixels."""

from functools import cache

import numpy as np
import pytest
import warp as wp

from seqgen.camera import Camera
from seqgen.errors import UserError
from seqgen.render.depth_sensor import DEVICES, WALL_M, DepthSensor, axial_noise_m

FOCAL, SIDE = 430.0, 224
CENTRE = (SIDE - 1) / 2
TRIANGULATING = ("kinect_v1", "sr300", "d435")
KINDS = (*TRIANGULATING, "kinect_v2")
Y, X = np.mgrid[:SIDE, :SIDE].astype(float)


@cache
def shared_sensor():
    return DepthSensor()


def camera(frames):
    matrix = np.array([[FOCAL, 0, CENTRE], [0, FOCAL, CENTRE], [0, 0, 1.0]])
    return Camera("perspective", np.repeat(matrix[None], frames, 0), (SIDE, SIDE))


def measure(depth_m, kind, *, frames=6, seed=3, sequence=4, sensor=None):
    """Readings in metres of the same depth in every frame."""
    clean = np.repeat(np.asarray(depth_m, np.float32)[None], frames, 0)
    return (sensor or shared_sensor()).measure(clean, camera(frames), kind, seed=seed, sequence=sequence) / 1e4


def plane(z):
    return np.full((SIDE, SIDE), z)


def slope(degrees, z=0.6):
    """A plane that falls away to the right by so much against the picture's, `z` from the camera in the middle."""
    return z / (1 - np.tan(np.radians(degrees)) * (X - CENTRE) / FOCAL)


def square(near, far):
    """A near square of 80 pixels before something far, 0 for nothing."""
    depth = plane(far)
    depth[72:152, 72:152] = near
    return depth


# --- axial noise and steps ---


@pytest.mark.parametrize("kind", KINDS)
def test_a_plane_in_range_is_read_everywhere(kind):
    assert measure(plane(0.7), kind).all()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("z", [0.6, 1.1])
def test_a_plane_is_read_without_bias_and_with_the_published_noise(kind, z):
    surface = slope(3, z)  # so that depths lie anywhere between two steps
    error = (measure(surface, kind) - surface)[:, 4:-4, 90:134]
    sigma = axial_noise_m(DEVICES[kind], FOCAL) @ np.array([1, z, z**2])
    assert error.mean() == pytest.approx(0, abs=sigma / 20)
    assert error.std() == pytest.approx(sigma, rel=0.04)


@pytest.mark.parametrize("kind", ["sr300", "kinect_v2"])
def test_depth_on_the_device_is_measured_where_it_is(kind):
    clean = np.repeat(square(0.6, 0.9)[None], 3, 0).astype(np.float32)
    there = shared_sensor().measure(wp.array(clean, dtype=wp.float32, device="cpu"), camera(3), kind, seed=3, sequence=4)
    np.testing.assert_array_equal(there, shared_sensor().measure(clean, camera(3), kind, seed=3, sequence=4))


def test_published_figures():
    assert axial_noise_m(DEVICES["kinect_v1"], FOCAL) @ np.array([1, 1.4, 1.4**2]) == pytest.approx(0.0012 + 0.0019)  # Nguyen et al., a metre from 0.4
    assert axial_noise_m(DEVICES["kinect_v2"], FOCAL) @ np.array([1, 2, 4]) == pytest.approx(0.0015 - 0.001 + 0.0012)  # Fankhauser et al.
    assert axial_noise_m(DEVICES["d435"], FOCAL)[2] == pytest.approx(0.08 / (0.05 * FOCAL))  # Intel: 0.08 px


@pytest.mark.parametrize(("kind", "steps"), [("kinect_v1", 8), ("d435", 32)])
def test_readings_are_whole_steps_of_disparity(kind, steps):
    reading = measure(slope(40), kind)[:, :, 20:-20]
    bf = DEVICES[kind].baseline_m * FOCAL * steps
    levels = np.round(bf / np.arange(1, 4000), 4)
    assert np.isin(np.round(reading[reading > 0], 4), levels).all()


@pytest.mark.parametrize(("kind", "step_tenth_mm"), [("kinect_v2", 10), ("sr300", 1.25)])
def test_readings_are_whole_steps_of_depth(kind, step_tenth_mm):
    units = np.round(1e4 * measure(slope(40), kind)[:, :, 20:-20])
    np.testing.assert_array_equal(units, np.floor(np.round(units / step_tenth_mm) * step_tenth_mm + 0.5))


def test_windows_share_noise_with_their_neighbours_and_time_of_flight_does_not():
    for kind, expected in (("d435", 2 / 3), ("kinect_v2", 0.0)):
        noise = measure(plane(1.0), kind)[:, 4:-4, 4:-4] - 1.0
        assert (noise[:, :, 1:] * noise[:, :, :-1]).mean() / noise.var() == pytest.approx(expected, abs=0.03)
        assert (noise[:, :, 3:] * noise[:, :, :-3]).mean() / noise.var() == pytest.approx(0, abs=0.03)
        assert (noise[1:] * noise[:-1]).mean() / noise.var() == pytest.approx(0, abs=0.03)


@pytest.mark.parametrize(("kind", "power"), [("kinect_v1", -0.5), ("kinect_v2", 1.5)])
def test_noise_grows_with_the_angle_as_published(kind, power):
    surface, angle = slope(66), np.radians(66)
    residual = (measure(surface, kind, frames=40) - surface)[:, 8:-8, 108:116]  # near the axis, where rays stand as the axis does
    z = 0.6
    expected = axial_noise_m(DEVICES[kind], FOCAL) @ np.array([1, z, z**2]) + 1e-4 * z**power * (angle / (np.pi / 2 - angle)) ** 2
    assert residual.std() == pytest.approx(expected, rel=0.08)


# --- no reading ---


@pytest.mark.parametrize("kind", KINDS)
def test_range(kind):
    nearest, farthest = DEVICES[kind].range_m
    assert not measure(plane(0.97 * nearest), kind, frames=1).any()
    assert measure(plane(1.05 * nearest), kind, frames=1).all()
    assert not measure(plane(1.01 * farthest), kind, frames=1).any()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("turn", [False, True])
def test_grazing_surfaces_drop_out(kind, turn):
    for degrees, least, most in ((55, 0.999, 1.0), (78, 0.2, 0.85), (86.5, 0.0, 0.0)):
        surface = slope(degrees)
        surface = surface.T if turn else surface
        strip = (slice(None), slice(109, 115), slice(109, 115))
        assert least <= (measure(surface, kind, frames=40)[strip] > 0).mean() <= most


@pytest.mark.parametrize("kind", TRIANGULATING)
def test_near_things_shade_what_is_left_of_them(kind):
    reading = measure(square(0.5, 0.9), kind)[:, 80:144]
    width = DEVICES[kind].baseline_m * FOCAL * (1 / 0.5 - 1 / 0.9)
    read = (reading > 0).mean((0, 1))
    assert not read[int(np.ceil(72 - width)) + 4 : 72 - 3].any()
    assert (read[int(72 - width) - 12 : int(72 - width) - 4] > 0.95).all()
    assert (read[156:] > 0.95).all()  # nothing on the right


def test_time_of_flight_has_no_shadow():
    assert (measure(square(0.6, 0.9), "kinect_v2")[:, 80:144] > 0).mean((0, 1))[40:69].min() > 0.99


def test_edges_are_missing_as_often_as_the_device_says():
    reading = measure(square(0.6, 0.0), "kinect_v1", frames=60)[:, 80:144, 72:152]
    inside, edge = (reading[:, :, 8:-8] > 0).mean(), (reading[:, :, [0, -1]] > 0).mean()
    assert inside == 1.0
    assert 0.2 < edge < 0.65  # half of those that are read at the edge, and those that lateral noise takes off it


@pytest.mark.parametrize("kind", KINDS)
def test_where_nothing_is_there_is_no_reading_but_at_edges(kind):
    reading = measure(square(0.6, 0.0), kind, frames=30)
    outside = (reading > 0).any(0)
    outside[68:156, 68:156] = False
    assert not outside.any()
    at_edge = (reading[:, 80:144, 152] > 0).mean()
    assert 0.05 < at_edge < 0.75
    assert not measure(plane(0.0), kind).any()


def test_lateral_noise_moves_edges_by_what_was_measured():
    """Kinect v1: 0.8 px. Where a row's surface ends is spread by that and the pixels lost, whole blocks together."""
    reading = measure(square(0.6, 0.0), "kinect_v1", frames=100)[:, 80:144] > 0
    outward = np.array([reading[:, :, 152 + i].mean() for i in range(3)])
    strays = [0.266, 0.030, 0.001]  # P(0.8 n > 0.5), P(> 1.5), P(> 2.5), of which edge pixels are lost by half
    assert 0.4 * strays[0] < outward[0] < strays[0] + 0.02
    assert outward[1] < outward[0] / 4 and outward[2] < 0.01


# --- time of flight at edges ---


def test_flying_pixels_lie_between_the_surfaces():
    reading = measure(square(0.6, 1.2), "kinect_v2", frames=30)[:, 90:134, 68:76]
    flying = reading[(reading > 0.61) & (reading < 1.18)]
    assert 0.1 < flying.size / (2 * reading[:, :, 0].size) < 0.7  # of the two columns of pixels at the edge
    assert reading[reading > 0].min() > 0.59 and reading.max() < 1.21
    assert np.median(flying) < 0.9  # the nearer surface returns more light


def test_flying_pixels_of_a_hand_before_nothing_hang_before_the_wall():
    depths = []
    for sequence in range(12):
        reading = measure(square(0.6, 0.0), "kinect_v2", sequence=sequence)
        flying = reading[reading > 0.62]
        assert flying.size > 100 and flying.max() < 0.6 + WALL_M[1]
        depths.append(flying.max())
    assert np.ptp(depths) > 0.3  # each clip has a wall of its own


# --- bits ---


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_bits_alone_and_in_any_order(kind):
    depth = square(0.6, 0.9)
    first = measure(depth, kind)
    measure(plane(0.7), kind, frames=2)
    np.testing.assert_array_equal(measure(depth, kind, sensor=DepthSensor()), first)
    np.testing.assert_array_equal(measure(depth, kind, frames=1), first[:1])


@pytest.mark.parametrize("kind", KINDS)
def test_frames_seeds_and_sequences_have_noises_of_their_own(kind):
    clips = [measure(plane(0.8), kind, frames=2, seed=seed, sequence=sequence) for seed in (0, 1) for sequence in (0, 1)]
    assert len({frame.tobytes() for clip in clips for frame in clip}) == 8


def test_nothing_given_is_changed():
    clean = np.repeat(square(0.6, 0.0).astype(np.float32)[None], 2, 0)
    before = clean.copy()
    shared_sensor().measure(clean, camera(2), "sr300", seed=0, sequence=0)
    np.testing.assert_array_equal(clean, before)


def test_a_weak_perspective_camera_is_refused():
    weak = Camera("weak_perspective", camera(1).intrinsics, (SIDE, SIDE))
    with pytest.raises(UserError, match=r"sensor\.depth = sr300: .*perspective"):
        shared_sensor().measure(plane(0.5)[None].astype(np.float32), weak, "sr300", seed=0, sequence=0)
