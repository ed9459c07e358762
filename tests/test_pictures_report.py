"""docs/diversity.py and docs/spectrum.py measure what they say: known directions, even spheres, noise of known slope."""

import sys
from pathlib import Path

import numpy as np
import pytest

from seqgen.geometry import random_rotation

sys.path.insert(0, str(Path(__file__).parent.parent / "docs"))
import diversity
import page
import spectrum

FLAT_HAND = np.zeros((1, 21, 3))  # right hand seen by a camera at the origin of its own frame: fingers up (-y), thumb to the left, back towards the camera
FLAT_HAND[0, 9], FLAT_HAND[0, 5], FLAT_HAND[0, 17] = (0, -0.09, 0), (-0.03, -0.09, 0), (0.03, -0.08, 0)


def test_a_camera_before_the_back_of_the_hand_is_seen_there():
    seen = diversity.camera_direction(FLAT_HAND + np.array([0, 0.045, 0.5]))  # the palm's middle on the optical axis
    assert np.allclose(seen, [[0, 0, 1]], atol=1e-9)
    assert np.allclose(diversity.palm_angle_deg(seen), 180)


@pytest.mark.parametrize("place, axis", [((0.5, 0.045, 0), -1), ((-0.5, 0.045, 0), 1)])
def test_a_hand_to_the_right_shows_its_thumb(place, axis):
    assert np.allclose(diversity.camera_direction(FLAT_HAND + np.array(place)), [[axis, 0, 0]], atol=1e-9)  # thumb's side is -x


def test_a_turned_hand_and_camera_see_the_same():
    rotation = random_rotation(np.random.default_rng(0))
    hand = FLAT_HAND + np.array([0.1, 0.2, 0.7])
    assert np.allclose(diversity.camera_direction(hand @ rotation.T), diversity.camera_direction(hand), atol=1e-9)


def test_cells_have_equal_areas_outside_the_cone():
    directions = np.random.default_rng(1).standard_normal((400_000, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    cells = diversity.cell_counts(directions)
    outside = (1 - diversity.CONE) / 2  # share of the sphere
    assert cells.sum() == pytest.approx(outside * len(directions), rel=0.01)
    assert np.abs(cells / cells.mean() - 1).max() < 4 / np.sqrt(cells.mean())


def test_tones_fall_in_their_classes():
    assert diversity.tone_shares(np.array([60.0, 50.0, 30.0, 20.0, 0.0, -40.0])) == pytest.approx(np.full(6, 1 / 6))
    assert diversity.tone_shares(np.array([56.0, 54.0]))[:2] == pytest.approx([0.5, 0.5])


@pytest.mark.parametrize("alpha", [0.8, 1.2, 1.6])
def test_the_slope_of_noise_is_the_one_it_was_made_with(alpha):
    rng = np.random.default_rng(2)
    frequency = np.hypot(np.fft.fftfreq(448)[:, None], np.fft.rfftfreq(448))  # cut out of larger noise, so that its edges do not meet
    frequency[0, 0] = 1
    noise = np.fft.irfft2(np.fft.rfft2(rng.standard_normal((448, 448))) * frequency**-alpha)[:224, :224]
    levels = np.clip(np.rint(128 + 30 * noise / noise.std()), 0, 255).astype(np.uint8)
    assert spectrum.slope(spectrum.log_amplitude(np.repeat(levels[..., None], 3, 2))) == pytest.approx(alpha, abs=0.1)


def test_tables_go_between_their_marks(tmp_path, monkeypatch):
    monkeypatch.setattr(page, "PAGE", tmp_path / "page.md")
    page.PAGE.write_text("before\n<!-- a -->\nold\n<!-- /a -->\nafter\n<!-- b -->\n<!-- /b -->\n")
    page.fill("a", page.table(("x", "long name"), [("1", "2")]))
    page.fill("b", "new")
    assert page.PAGE.read_text() == "before\n<!-- a -->\n| x | long name |\n| - | --------- |\n| 1 | 2         |\n<!-- /a -->\nafter\n<!-- b -->\nnew\n<!-- /b -->\n"
