"""When samples are taken, where things are then, and what an open shutter does to pictures and leaves of labels."""

from dataclasses import replace

import numpy as np
import pytest
from scenes import blob_scene, make_background, make_camera, make_light, make_scene, quad, renderer_or_skip

from seqgen.render.moments import moment_times, moment_weights, neighbouring_frames
from seqgen.render.renderer import Renderer
from seqgen.scene.scene import Material, Scene
from seqgen.srgb import LINEAR_OF_LEVEL, linear_from_srgb

Array = np.ndarray


@pytest.fixture(params=["warp", "pyrender"])
def renderer(request) -> Renderer:
    return renderer_or_skip(request.param)


def moving_card(left: Array, *, samples: int = 3, shutter: float = 0.5, width: float = 20.0, **told) -> Scene:
    """A white card, as high as the picture and more, whose left edge is at pixel `left[t]` in frame t."""
    camera = make_camera("weak_perspective", focal=1.0, centre=(0.0, 0.0), frames=len(left))
    vertices, faces = quad((0, width), (-9, 99), 1.0)
    return make_scene(vertices + np.asarray(left)[:, None, None] * [1.0, 0, 0], faces, camera, samples=samples, shutter=shutter, **told)


# ---- when, and where then ----


@pytest.mark.parametrize("samples", [2, 3])
def test_moments_share_out_the_open_shutter(samples):
    """Each sample gets the middle of an equal share of the time; rows of samples have the same mean time, for 3 x 3 columns too."""
    first, *times = moment_times(samples, 0.6)
    assert first == 0
    np.testing.assert_allclose(np.sort(times), 0.6 * ((np.arange(samples**2) + 0.5) / samples**2 - 0.5), atol=1e-12)
    grid = np.reshape(times, (samples, samples))
    np.testing.assert_allclose(grid.mean(1), 0, atol=1e-12)
    assert np.abs(grid.mean(0)).max() < (1e-12 if samples == 3 else 0.6 / 7)


def test_without_an_open_shutter_there_is_one_moment():
    for samples, shutter in ((1, 0.0), (2, 0.0), (3, 0.0), (1, 0.9)):
        np.testing.assert_array_equal(moment_times(samples, shutter), [0])


@pytest.mark.parametrize(("frames", "powers"), [(1, 0), (2, 1), (3, 2), (7, 2)])
def test_what_moves_on_a_parabola_stays_on_it(frames, powers):
    """At both ends too; in two frames a line, in one nothing."""
    scene = moving_card(np.zeros(frames), shutter=0.8)
    times, weights, near = moment_times(3, 0.8), moment_weights(scene), neighbouring_frames(frames)
    assert weights.shape == (10, frames, 3)
    np.testing.assert_allclose(weights.sum(-1), 1)
    for power in range(powers + 1):
        at_frames = (np.arange(frames) - 1.3) ** power
        expected = (np.arange(frames) + times[:, None] - 1.3) ** power
        np.testing.assert_allclose((weights * at_frames[near]).sum(-1), expected, atol=1e-12)


def test_a_frames_own_moment_is_the_frame_itself():
    for frames in (1, 2, 3, 6):
        weights, near = moment_weights(moving_card(np.zeros(frames)))[0], neighbouring_frames(frames)
        np.testing.assert_array_equal((weights * near).sum(-1), np.arange(frames))
        np.testing.assert_array_equal(weights.max(-1), 1)


# ---- what it does to pictures ----


@pytest.mark.parametrize("samples", [2, 3])
@pytest.mark.parametrize("speed", [2.0, -5.3, 11.0])
def test_edges_are_the_box_filter_of_the_shutter(renderer, samples, speed):
    """Coverage of each pixel as time and place average it, to what so many samples can tell."""
    shutter, left = 0.7, 22.4 + speed * np.arange(-1, 2)
    drawn = renderer.render(moving_card(left, samples=samples, shutter=shutter)).radiance[1, 20, :, 0]
    time, place = (np.arange(200) + 0.5) / 200 - 0.5, (np.arange(100) + 0.5) / 100 - 0.5
    edge = left[1] + speed * shutter * time[:, None, None]
    at = np.arange(64.0)[:, None] + place
    expected = ((at >= edge) & (at <= edge + 20)).mean((0, 2))
    assert np.abs(drawn - expected).max() <= 1 / samples**2
    assert np.abs(drawn.sum() - 20) < 0.5 and ((drawn > 0.01) & (drawn < 0.99)).sum() >= abs(speed * shutter)


def test_accelerating_card_is_blurred_around_its_mean_place(renderer):
    """At the first and last frame the parabola is that of the nearest three."""
    frames = np.arange(4)
    scene = moving_card(4 + 3 * frames + 2.5 * frames**2, shutter=0.9)
    drawn, times = renderer.render(scene).radiance[:, 20, :, 0], moment_times(3, 0.9)[1:, None] + frames
    centroids = (drawn * np.arange(64)).sum(1) / drawn.sum(1)
    np.testing.assert_allclose(centroids, (4 + 3 * times + 2.5 * times**2).mean(0) + 10, atol=0.15)


@pytest.mark.parametrize("kind", ["perspective", "weak_perspective"])
def test_labels_are_those_of_the_frames_own_moment(renderer, kind):
    still, moving = (renderer.render(blob_scene(0, kind, size=(80, 64), shutter=shutter), frozenset({"flow", "normals", "amodal"})) for shutter in (0.0, 0.8))
    for name in ("depth_m", "parts", "normals", "flow_px", "amodal"):
        np.testing.assert_array_equal(getattr(moving, name), getattr(still, name), name)
    assert np.abs(moving.radiance - still.radiance).max() > 0.1


def test_one_sample_a_pixel_is_never_blurred(renderer):
    scene = blob_scene(0, samples=1, shutter=0.8)
    np.testing.assert_array_equal(renderer.render(scene).radiance, renderer.render(replace(scene, shutter=0.0)).radiance)


@pytest.mark.parametrize("samples", [2, 3])
def test_what_stands_still_is_not_blurred(renderer, samples):
    told = {"background": make_background(3, photo=np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)), "samples": samples, "colours": 0.5}
    drawn = [renderer.render(moving_card(np.full(3, 20.2), shutter=shutter, **told)).radiance for shutter in (0.0, 0.7)]
    np.testing.assert_allclose(drawn[0], drawn[1], atol=1e-6)


def test_textures_are_blurred_as_they_move(renderer):
    """A texture on a card that moves 8 pixels a frame: each sample sees it where the card is at the sample's moment."""
    levels = np.random.default_rng(0).integers(0, 256, 200, dtype=np.uint8)
    material = Material(np.tile(levels[None, :, None], (1, 1, 3)), np.full((1, 200), 255, np.uint8), np.zeros((1, 200), np.float32), 0.0)
    _, faces = quad((0, 1), (0, 1), 1)
    told = {"materials": (material,), "uv": np.array([[0, 0], [1, 0], [1, 0], [0, 0]], np.float32)[faces]}
    drawn = renderer.render(moving_card(-70.5 + 8.0 * np.arange(3), width=200, samples=2, shutter=1.0, **told)).radiance
    for t in range(3):
        places = [np.arange(64) + 70 - 8 * t + place - moved for place, moved in ((-0.25, -3), (0.25, 3), (-0.25, 1), (0.25, -1))]
        expected = np.mean([np.interp(place, np.arange(200), LINEAR_OF_LEVEL[levels]) for place in places], 0)
        np.testing.assert_allclose(drawn[t, 20, :, 0], expected, atol=1e-3)


def test_photo_is_the_mean_over_its_moments(renderer):
    """A photo that glides 8 pixels a frame is seen at 3 and 1 pixels to either side."""
    photo = np.random.default_rng(0).integers(0, 256, (48, 100, 3), dtype=np.uint8)
    scene = moving_card(np.full(3, 200.0), samples=2, shutter=1.0, background=make_background(3, photo=photo, shift=(5, 0), speed=(8, 0)))
    drawn = renderer.render(scene).radiance
    levels = np.mean([photo[:, 13 + aside : 77 + aside].astype(float) for aside in (-3, -1, 1, 3)], 0)
    np.testing.assert_allclose(drawn[1], linear_from_srgb(levels / 255), atol=4e-4)
    assert np.ptp(drawn[0]) > 0.1


def test_lights_keep_the_frames_moment(renderer):
    """The blurred card is lit all over as it is at the frame, also where it is only at other moments."""
    light = make_light(3, ambient=0.2, directions=[[0, 0, -1]], colour=0.3)
    light.colours[0], light.colours[2] = 0.0, 0.6
    drawn = renderer.render(moving_card(20 + 6.0 * np.arange(3), shutter=0.9, light=light)).radiance
    for t, level in enumerate((0.2, 0.5, 0.8)):
        np.testing.assert_allclose(drawn[t, 20].max(), level, atol=1e-6)
