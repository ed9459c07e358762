"""Walks: smooth, timed as asked, near the bank, and a pure function of the random numbers."""

import numpy as np
import pytest
from banks import bank_of, built_in_bank, graph_of, random_curls
from scipy.spatial.distance import cdist

import seqgen.poses.flow as flow_module
from seqgen.poses.flow import FlowConfig, draw_flow, draw_walk
from seqgen.skeleton import PALM_M

STEP_MM = 1.2
EVEN = FlowConfig(median_step_mm=STEP_MM, spread=0.0)


@pytest.fixture(scope="module", params=["built-in", "surface"])
def bank(request):
    return built_in_bank() if request.param == "built-in" else bank_of(random_curls(800))


@pytest.fixture(scope="module")
def graph(bank):
    return graph_of(bank)


def draw(bank, graph, seed, config=EVEN, *, frames=40, stride=1, fps=30.0):
    return draw_flow(bank, graph, config, frames=frames, stride=stride, fps=fps, rng=np.random.default_rng(seed))


def steps_mm(flow):
    """Mean joint displacement from frame to frame."""
    return 1e3 * np.linalg.norm(np.diff(flow.joints_m, axis=0), axis=-1).mean(1)


@pytest.mark.parametrize("seed", range(4))
def test_a_flow_is_a_hand_in_the_hand_frame(bank, graph, seed):
    flow = draw(bank, graph, seed)
    assert flow.joints_m.shape == (40, 21, 3) and np.isfinite(flow.joints_m).all()
    np.testing.assert_allclose(flow.joints_m[:, 0], 0, atol=2e-6)
    np.testing.assert_allclose(flow.joints_m[:, 9], np.tile([0, PALM_M, 0], (40, 1)), atol=2e-6)
    assert flow.kind == "walk" and flow.start != flow.end and 0 <= min(flow.start, flow.end) <= max(flow.start, flow.end) < len(bank)
    assert flow.step_m() == pytest.approx(steps_mm(flow).mean() / 1e3)


def test_a_flow_is_a_pure_function_of_the_rng(bank, graph):
    first, again, other = (draw(bank, graph, seed) for seed in (5, 5, 6))
    np.testing.assert_array_equal(first.joints_m, again.joints_m)
    np.testing.assert_array_equal(first.source, again.source)
    assert np.abs(first.joints_m - other.joints_m).max() > 1e-3


@pytest.mark.parametrize("frames", [1, 2])
def test_short_clips(bank, graph, frames):
    flow = draw(bank, graph, 0, frames=frames)
    assert flow.joints_m.shape == (frames, 21, 3) and flow.source.shape == (frames,)
    assert frames == 2 or flow.step_m() == 0


@pytest.mark.parametrize("stride", [2, 5])
def test_a_stride_leaves_frames_out_of_the_same_motion(bank, graph, stride):
    every, some = draw(bank, graph, 1, frames=9 * stride + 1), draw(bank, graph, 1, frames=10, stride=stride)
    np.testing.assert_array_equal(some.joints_m, every.joints_m[::stride])
    np.testing.assert_array_equal(some.source, every.source[::stride])
    assert (every.fps, some.fps) == (30.0, 30.0 / stride)


def test_more_frames_a_second_see_the_same_motion_in_smaller_steps(bank, graph):
    slow, fast = draw(bank, graph, 2, frames=20), draw(bank, graph, 2, frames=39, fps=60.0)
    np.testing.assert_allclose(fast.joints_m[::2], slow.joints_m, atol=1e-9)


def test_a_faster_flow_is_the_same_motion_in_larger_steps(bank, graph):
    slow, fast = draw(bank, graph, 3, frames=39), draw(bank, graph, 3, FlowConfig(median_step_mm=2 * STEP_MM, spread=0.0), frames=20)
    np.testing.assert_allclose(fast.joints_m, slow.joints_m[::2], atol=1e-9)


@pytest.mark.parametrize("seed", range(4))
def test_no_step_is_longer_than_the_peak_of_minimum_jerk(bank, graph, seed):
    """A leg's mean speed is the one asked for; its peak is 15/8 of that."""
    assert steps_mm(draw(bank, graph, seed, frames=100)).max() < 1.01 * 15 / 8 * STEP_MM


@pytest.mark.parametrize("seed", range(4))
def test_flows_are_smooth(bank, graph, seed):
    """Mean jerk over mean speed at 30 fps: 0.6 in real motion, over 3 where a walk snaps from pose to pose."""
    flow = draw(bank, graph, seed, frames=100)
    jerk_mm = 1e3 * np.linalg.norm(np.diff(flow.joints_m, 3, axis=0), axis=-1).mean()
    assert jerk_mm / steps_mm(flow).mean() < 0.8


TOO_FAST = pytest.mark.xfail(reason="windows shorter than a leg favour its fast middle: a third too fast at 10 frames", strict=True)


@pytest.mark.parametrize("frames", [100, pytest.param(10, marks=TOO_FAST)])
def test_the_median_clip_moves_as_fast_as_asked(frames):
    bank = built_in_bank()
    graph = graph_of(bank)
    speeds = [steps_mm(draw(bank, graph, seed, frames=frames)).mean() for seed in range(80)]
    assert np.median(speeds) == pytest.approx(STEP_MM, rel=0.15)


def test_speeds_spread_as_asked():
    """The logarithm of the speed is normal: with the same random numbers, clips differ by exp(spread * z)."""
    bank = built_in_bank()
    graph = graph_of(bank)
    speeds = np.array([steps_mm(draw(bank, graph, seed, FlowConfig(median_step_mm=0.4, spread=0.9), frames=60)).mean() for seed in range(80)])
    normal = np.array([np.random.default_rng(seed).standard_normal() for seed in range(80)])
    slope = np.polyfit(normal, np.log(speeds), 1)[0]
    assert slope == pytest.approx(0.9, abs=0.1)


@pytest.mark.xfail(reason="a walk ends after MAX_LEGS, about 2 m: what is left of a longer clip stands still", strict=True)
def test_a_long_fast_clip_moves_to_its_end():
    bank = built_in_bank()
    flow = draw(bank, graph_of(bank), 1, FlowConfig(median_step_mm=12.0, spread=0.0), frames=400)
    assert steps_mm(flow).min() > 0


def test_flows_stay_near_the_bank(bank, graph):
    """Root mean square over joints to the nearest of all rows, against the mean distance between neighbours."""
    rows = bank.joints_m.reshape(len(bank), -1).astype(float)
    flows = np.concatenate([draw(bank, graph, seed).joints_m.reshape(40, -1) for seed in range(15)])
    distance = cdist(flows, rows).min(1) / np.sqrt(21)
    assert distance.mean() < graph.spacing_m
    assert np.quantile(distance, 0.99) < max(2 * graph.spacing_m, 0.002)


@pytest.mark.parametrize("seed", range(3))
def test_sources_are_the_nearest_rows_that_the_walk_passed(bank, graph, seed, monkeypatch):
    walks = []
    monkeypatch.setattr(flow_module, "draw_walk", lambda *args, **options: walks.append(draw_walk(*args, **options)) or walks[-1])
    flow = draw(bank, graph, seed)
    [walk] = walks
    assert set(flow.source) <= set(walk.rows)
    rows = bank.joints_m.reshape(len(bank), -1).astype(float)
    to_passed = cdist(flow.joints_m.reshape(40, -1), rows[walk.rows])
    to_source = np.linalg.norm(flow.joints_m.reshape(40, -1) - rows[flow.source], axis=1)
    np.testing.assert_allclose(to_source, to_passed.min(1), atol=1e-5)


def test_a_walk_is_as_long_as_asked_and_comes_by_its_poses(bank, graph):
    walk = draw_walk(bank, graph, length_m=0.2, rng=np.random.default_rng(0))
    ends = np.array([0.0, *walk.leg_ends_m])
    assert ends[-1] >= 0.2 > ends[-2] and (np.diff(ends) > 0).all()
    assert len(walk.poses) == len(ends) and all(a != b for a, b in zip(walk.poses, walk.poses[1:], strict=False))
    off = np.linalg.norm(walk.curve(ends).reshape(-1, 21, 3) - bank.joints_m[walk.poses], axis=-1).mean(1)
    assert off.max() < 0.008  # corners are rounded by the smoothing, 4 mm along the way
