"""Clips of walks: as fast, smooth and near the bank as asked, moving all along, and a pure function of the random numbers."""

from collections.abc import Iterator
from dataclasses import fields
from itertools import pairwise

import numpy as np
import pytest
from banks import bank_of, built_in_bank, graph_of, line_bank, random_curls, rows_of, thinned_to_islands, with_near_twins
from scipy.spatial.distance import cdist
from scipy.special import ndtri
from threadpoolctl import threadpool_limits

import seqgen.poses.flow as flow_module
from seqgen.poses.curve import smooth_curve
from seqgen.poses.flow import LEAST_SHRINKAGE, MOST_DEVIATIONS, PACE, FlowConfig, draw_flow, draw_speed, draw_whole_walk
from seqgen.poses.graph import load_graph
from seqgen.poses.motion import MotionReport, in_pause, jerk_over_speed, power_share_above, report_motion, steps_mm, way_covered
from seqgen.poses.search import pose_search
from seqgen.poses.timing import AT_REST, travel
from seqgen.skeleton import PALM_M

STEP_MM = 1.2
EVEN = FlowConfig(median_step_mm=STEP_MM, spread=0.0)
FULL_MM = 2 * PACE * STEP_MM  # the fastest step there may be: a short way that is eased all along has twice the mean speed
BANKS = {"built-in": built_in_bank, "surface": lambda: bank_of(random_curls(800)), "line": line_bank, "islands": thinned_to_islands}


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """As in a run; and threads that wait for each other make small products slow."""
    with threadpool_limits(1):
        yield


@pytest.fixture(scope="module", params=BANKS)
def bank(request):
    return BANKS[request.param]()


@pytest.fixture(scope="module")
def graph(bank):
    return graph_of(bank)


@pytest.fixture(scope="module")
def large():
    """Of so many rows that clips hardly share any."""
    bank = built_in_bank(20_500)
    assert len(bank) >= 20_000
    return bank, graph_of(bank)


def draw(bank, graph, seed, config=EVEN, *, frames=40, stride=1, fps=30.0):
    return draw_flow(bank, graph, config, frames=frames, stride=stride, fps=fps, rng=np.random.default_rng(seed))


def draw_whole(bank, graph, seed, config=EVEN, *, fps=30.0):
    return draw_whole_walk(bank, graph, config, fps=fps, rng=np.random.default_rng(seed))


def report(flows, **options) -> MotionReport:
    return report_motion([flow.joints_m for flow in flows], flows[0].fps, paused=[flow.paused for flow in flows], **options)


def assert_same(some, other):
    for field in fields(some):
        np.testing.assert_array_equal(getattr(some, field.name), getattr(other, field.name), err_msg=field.name)


@pytest.mark.parametrize("seed", range(4))
def test_a_flow_is_a_hand_in_the_hand_frame(bank, graph, seed):
    flow = draw(bank, graph, seed)
    assert flow.joints_m.shape == (40, 21, 3) and np.isfinite(flow.joints_m).all()
    np.testing.assert_allclose(flow.joints_m[:, 0], 0, atol=2e-6)
    np.testing.assert_allclose(flow.joints_m[:, 9], np.tile([0, PALM_M, 0], (40, 1)), atol=2e-6)
    assert (flow.kind, flow.fps, flow.start != flow.end) == ("walk", 30.0, True)
    assert (flow.source.dtype, flow.paused.dtype, flow.source.shape, flow.paused.shape) == (np.int64, bool, (40,), (40,))
    assert 0 <= min(flow.start, flow.end, *flow.source) <= max(flow.start, flow.end, *flow.source) < len(bank)
    assert flow.step_m() == pytest.approx(steps_mm(flow.joints_m).mean() / 1e3)


def test_a_flow_is_a_pure_function_of_the_rng(bank, graph):
    first, again, other = (draw(bank, graph, seed) for seed in (5, 5, 6))
    assert_same(first, again)
    assert np.abs(first.joints_m - other.joints_m).max() > 1e-3
    assert_same(draw_whole(bank, graph, 5), draw_whole(bank, graph, 5))


def test_a_graph_from_the_cache_gives_the_same_flows(bank, graph, tmp_path):
    load_graph(bank, tmp_path, where="test")
    kept = load_graph(bank, tmp_path, where="test")
    assert not kept.neighbours.flags.writeable and not kept.members.flags.writeable
    for seed in range(3):
        assert_same(draw(bank, graph, seed), draw(bank, kept, seed))


@pytest.mark.parametrize("frames", [1, 2, 3])
def test_short_clips(bank, graph, frames):
    flow = draw(bank, graph, 0, frames=frames)
    assert flow.joints_m.shape == (frames, 21, 3) and flow.source.shape == flow.paused.shape == (frames,)
    assert frames > 1 or flow.step_m() == 0


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("frames", "stride"), [(10, 2), (11, 2), (5, 7)])
def test_a_stride_leaves_frames_out_of_the_same_motion(bank, graph, seed, frames, stride):
    """The same numbers drawn, and the same last moment: so much of the way is worked out, and no more."""
    every, some = draw(bank, graph, seed, frames=(frames - 1) * stride + 1), draw(bank, graph, seed, frames=frames, stride=stride)
    np.testing.assert_array_equal(some.joints_m, every.joints_m[::stride])
    np.testing.assert_array_equal(some.source, every.source[::stride])
    np.testing.assert_array_equal(some.paused, every.paused[::stride])
    assert (every.fps, some.fps) == (30.0, 30.0 / stride)
    assert frames % 2 == 0 or (every.start, every.end) == (some.start, some.end)  # of the middle, which for even numbers is another frame


@pytest.mark.parametrize("seed", range(3))
def test_more_frames_a_second_see_the_same_motion_in_smaller_steps(bank, graph, seed):
    slow, fast = draw(bank, graph, seed, frames=21), draw(bank, graph, seed, frames=41, fps=60.0)
    np.testing.assert_allclose(fast.joints_m[::2], slow.joints_m, atol=1e-12)
    np.testing.assert_array_equal(fast.source[::2], slow.source)
    assert (fast.fps, fast.start, fast.end) == (60.0, slow.start, slow.end)
    strided = draw(bank, graph, seed, frames=21, fps=60.0, stride=2)
    np.testing.assert_array_equal(strided.joints_m, fast.joints_m[::2])
    assert strided.fps == 30.0


def test_speeds_are_lognormal():
    """In closed form from the first number drawn; those more than MOST_DEVIATIONS from the median are drawn again."""
    config, speeds, normal = FlowConfig(median_step_mm=0.7, spread=0.8), [], []
    for seed in range(1000):
        speeds.append(draw_speed(config, np.random.default_rng(seed)))
        normal.append(np.random.default_rng(seed).standard_normal())
    deviations = np.log(np.array(speeds) / (PACE * 0.7e-3 * 30)) / 0.8
    usual = np.abs(normal) <= MOST_DEVIATIONS
    np.testing.assert_allclose(deviations[usual], np.array(normal)[usual], atol=1e-9)
    assert np.abs(deviations).max() <= MOST_DEVIATIONS + 1e-9 and 5 < (~usual).sum() and len(set(deviations[~usual])) == (~usual).sum()
    assert len({draw_speed(EVEN, np.random.default_rng(seed)) for seed in range(9)}) == 1


@pytest.mark.parametrize("seed", range(6))
def test_no_step_is_longer_than_the_time_law_allows(bank, graph, seed):
    """A way that is eased all along has twice the mean speed in its middle; a step is no longer than the way it cuts short. Hermite bends add little."""
    assert steps_mm(draw(bank, graph, seed, frames=150).joints_m).max() < 1.05 * FULL_MM


@pytest.mark.parametrize("seed", range(6))
def test_without_eases_and_rests_the_speed_is_constant(bank, graph, seed):
    """Every step is as long as asked but those that cut a corner, or belong to a way that is too short for its speed; within a cell of the grid a Hermite bend
    is gone through a little unevenly."""
    flow = draw(bank, graph, seed, FlowConfig(median_step_mm=0.6, spread=0.0, rest=0.0, ease_s=0.0), frames=150)
    steps = steps_mm(flow.joints_m)
    assert np.median(steps) == pytest.approx(PACE * 0.6, rel=0.005) and np.quantile(steps, 0.98) < 1.05 * PACE * 0.6 and steps.max() < 1.15 * PACE * 0.6
    assert not flow.paused.any()


@pytest.mark.parametrize("seed", range(6))
def test_paused_is_slow(bank, graph, seed):
    """Between two paused frames of one rest the hand goes no faster than AT_REST of full speed."""
    flow = draw(bank, graph, seed, FlowConfig(median_step_mm=STEP_MM, spread=0.0, rest=1.0), frames=200)
    both = flow.paused[1:] & flow.paused[:-1]
    assert 0.05 < flow.paused.mean() < 0.95 and steps_mm(flow.joints_m)[both].max() < 1.02 * AT_REST * FULL_MM


def test_rests_are_drawn_as_asked(bank, graph):
    """Without rests the hand pauses where it turns only; resting everywhere at least twice as much; and resting for long it does little else."""
    shares = []
    for rest, rest_s in ((0.0, 0.3), (1.0, 0.3), (1.0, 30.0)):
        flows = [draw(bank, graph, seed, FlowConfig(median_step_mm=STEP_MM, spread=0.0, rest=rest, rest_s=rest_s), frames=90) for seed in range(12)]
        shares.append(np.mean([flow.paused.mean() for flow in flows]))
    assert shares[0] < 0.15 and 2 * shares[0] < shares[1] < 0.5 and shares[2] > 0.8


def test_a_long_rest_is_a_whole_clip():
    """Every frame the same, all of them paused."""
    bank = built_in_bank()
    graph = graph_of(bank)
    flows = [draw(bank, graph, seed, FlowConfig(rest=1.0, rest_s=60.0), frames=10) for seed in range(30)]
    still = [flow for flow in flows if flow.step_m() == 0]
    assert len(still) > 20 and all(flow.paused.all() for flow in still)
    np.testing.assert_allclose([from_bank_m(bank, flow.joints_m)[0] for flow in still], 0, atol=0.006)  # where legs meet, smoothed


def from_bank_m(bank, joints_m):
    return cdist(joints_m.reshape(len(joints_m), -1), rows_of(bank)).min(1) / np.sqrt(21)


@pytest.mark.parametrize(("step_mm", "least_mm"), [(3.0, 2.5), (12.0, 1.0)])
def test_a_long_fast_clip_moves_to_its_end(step_mm, least_mm):
    """Faster than nearly all hands, for 20 s, which is well over a metre: the last quarter like the first. Asked for what no hand does, the ways between
    turns are too short to get there, but the hand does not stand still either."""
    bank = built_in_bank()
    graph = graph_of(bank)
    for seed in range(4):
        flow = draw(bank, graph, seed, FlowConfig(median_step_mm=step_mm, spread=0.0, rest=0.0), frames=601)
        quarters = np.split(steps_mm(flow.joints_m), 4)
        assert all(least_mm < quarter.mean() < 2 * PACE * step_mm for quarter in quarters)
        assert (steps_mm(flow.joints_m)[~in_pause(flow.paused)] > 0.05).mean() > 0.995
        assert len(set(flow.source[-150:].tolist())) > 20


EXTREMES = {
    "fastest": {"median_step_mm": 15.0, "spread": 0.0},
    "slowest": {"median_step_mm": 1e-3, "spread": 0.0},
    "no eases": {"ease_s": 0.0},
    "nothing but eases": {"ease_s": 10.0},
    "always at rest": {"rest": 1.0, "rest_s": 60.0},
    "stops without rests": {"rest": 1.0, "rest_s": 0.0},
    "never at rest": {"rest": 0.0},
}


@pytest.mark.parametrize("name", EXTREMES)
@pytest.mark.parametrize(("frames", "stride", "fps"), [(1, 1, 30.0), (30, 1, 120.0), (10, 10, 10.0)])
def test_extremes(bank, graph, name, frames, stride, fps):
    flow = draw(bank, graph, 3, FlowConfig(**EXTREMES[name]), frames=frames, stride=stride, fps=fps)
    assert flow.joints_m.shape == (frames, 21, 3) and np.isfinite(flow.joints_m).all() and np.abs(flow.joints_m).max() < 0.3
    assert flow.fps == pytest.approx(fps / stride) and from_bank_m(bank, flow.joints_m).max() < 0.05
    whole = draw_whole(bank, graph, 3, FlowConfig(**EXTREMES[name] | ({"median_step_mm": 0.3} if name == "slowest" else {})), fps=fps)
    np.testing.assert_allclose(whole.joints_m[[0, -1]], bank.joints_m[[whole.start, whole.end]], atol=1e-6)


def test_the_moment_is_any_between_two_stops(monkeypatch):
    """A clip begins as likely at any time of the way and of the rest after it: quarters of 240 clips to four standard deviations."""
    bank, begun = built_in_bank(), []
    graph = graph_of(bank)
    monkeypatch.setattr(flow_module, "travel", lambda stretches, begun_s, times: begun.append((stretches[0], begun_s)) or travel(stretches, begun_s, times))
    for seed in range(240):
        draw(bank, graph, seed, FlowConfig(rest=1.0, rest_s=1.0), frames=1)
    shares = np.array([begun_s / stretch.total_s for stretch, begun_s in begun])
    in_rest = np.array([(begun_s - stretch.moving_s) / stretch.rest_s for stretch, begun_s in begun if begun_s > stretch.moving_s])
    assert shares.min() >= 0 and shares.max() <= 1 and 30 < len(in_rest) < 210
    for values in (shares, in_rest):
        quarters = np.histogram(values, 4, (0, 1))[0]
        assert np.abs(quarters - len(values) / 4).max() < 4 * np.sqrt(len(values) * 3 / 16)


@pytest.mark.parametrize("seed", range(4))
def test_a_way_worked_out_too_short_is_worked_out_longer(bank, graph, seed, monkeypatch):
    """As if smoothing made every way a twentieth of the raw one's length at first: the clip is the same motion but for where the grid lies."""
    usual = draw(bank, graph, seed, frames=100)
    parts = []
    monkeypatch.setattr(flow_module, "LEAST_SHRINKAGE", 20 * LEAST_SHRINKAGE)
    monkeypatch.setattr(flow_module, "smooth_curve", lambda *arguments: parts.append(arguments[4]) or smooth_curve(*arguments))
    again = draw(bank, graph, seed, frames=100)
    assert len(parts) > 1 and all(longer[1] > shorter[1] for shorter, longer in pairwise(parts))
    assert np.linalg.norm(again.joints_m - usual.joints_m, axis=-1).mean() < 0.002 and steps_mm(again.joints_m)[~in_pause(again.paused)].min() > 0.01


def test_sources_are_the_nearest_of_the_rows_near_the_walk(bank, graph, monkeypatch):
    """By brute force over the candidates of the curve; two may be as near but for rounding."""
    curves, rows = [], rows_of(bank)
    monkeypatch.setattr(flow_module, "smooth_curve", lambda *arguments: curves.append(smooth_curve(*arguments)) or curves[-1])
    for seed in range(6):
        flow = draw(bank, graph, seed)
        candidates = curves[-1].candidates
        assert set(flow.source) <= set(candidates.tolist())
        apart = cdist(flow.joints_m.reshape(40, -1), rows[candidates])
        np.testing.assert_allclose(np.linalg.norm(flow.joints_m.reshape(40, -1) - rows[flow.source], axis=1), apart.min(1), atol=1e-9)


def test_sources_are_hardly_ever_farther_than_the_nearest_row_of_all(bank, graph):
    flows = [draw(bank, graph, seed) for seed in range(10)]
    joints, source = (np.concatenate([getattr(flow, name) for flow in flows]) for name in ("joints_m", "source"))
    away = np.sqrt(((joints - bank.joints_m[source]) ** 2).sum((1, 2)) / 21)
    assert np.mean(away - from_bank_m(bank, joints) < 1e-9) > 0.95


def test_a_clip_is_on_the_leg_between_its_poses(bank, graph):
    """At its middle: the nearest row is one of that route or a neighbour of it, but where legs meet."""
    flows = [draw(bank, graph, seed, frames=11) for seed in range(60)]
    on_leg = [flow.source[5] in graph.around(graph.route(flow.start, flow.end)) for flow in flows]
    assert np.mean(on_leg) > 0.9


def test_a_flow_stays_in_one_group():
    bank = thinned_to_islands()
    graph = graph_of(bank)
    groups = [set(graph.members[start : graph.group_end[start]].tolist()) for start in np.unique(graph.group_start)]
    assert len(groups) == 2
    visited = [next(number for number, group in enumerate(groups) if flow.start in group) for flow in (draw(bank, graph, seed) for seed in range(20))]
    assert set(visited) == {0, 1}
    for seed, number in enumerate(visited):
        flow = draw(bank, graph, seed)
        assert {flow.start, flow.end} <= groups[number] and from_bank_m(bank, flow.joints_m).max() < 3 * graph.spacing_m
        to_others = cdist(flow.joints_m.reshape(40, -1), rows_of(bank)[sorted(groups[1 - number])]).min(1) / np.sqrt(21)
        assert to_others.min() > graph.spacing_m


@pytest.mark.parametrize("seed", range(8))
def test_a_whole_walk_goes_from_pose_to_pose(bank, graph, seed):
    """It covers the whole way: to a micrometre, and by the motion report's measure."""
    flow = draw_whole(bank, graph, seed, FlowConfig())
    start, end = bank.joints_m[[flow.start, flow.end]].astype(float)
    np.testing.assert_allclose(flow.joints_m[[0, -1]], [start, end], atol=1e-6)
    assert way_covered(flow.joints_m, start, end) == pytest.approx(1, abs=1e-6)
    assert (flow.source[0], flow.source[-1]) == (flow.start, flow.end) and flow.paused[[0, -1]].all()
    assert (flow.kind, flow.fps) == ("walk", 30.0) and (steps_mm(flow.joints_m)[:-1] > 0).all()


def test_whole_walks_between_near_twins():
    """Twenty micrometres apart, which single precision cannot tell where it matters."""
    bank = with_near_twins(built_in_bank(), every=5, apart_m=2e-5)
    graph = graph_of(bank)
    for seed in range(60):
        flow = draw_whole(bank, graph, seed)
        np.testing.assert_allclose(flow.joints_m[[0, -1]], bank.joints_m[[flow.start, flow.end]], atol=1e-6)


@pytest.mark.parametrize("fps", [10.0, 120.0])
def test_a_whole_walk_at_another_rate_is_the_same_motion(bank, graph, fps):
    usual, other = draw_whole(bank, graph, 2), draw_whole(bank, graph, 2, fps=fps)
    assert (len(other.joints_m) - 1) / fps == pytest.approx((len(usual.joints_m) - 1) / 30, abs=1 / min(fps, 30))
    every, some = (other, usual) if fps > 30 else (usual, other)
    num = min(len(some.joints_m), (len(every.joints_m) - 1) // round(max(fps, 30) / min(fps, 30)) + 1) - 1
    np.testing.assert_allclose(every.joints_m[:: round(max(fps, 30) / min(fps, 30))][:num], some.joints_m[:num], atol=1e-9)


# How the issue wants clips to move, measured as seqgen measures real recordings.


def even_seeds(num):
    """Seeds whose first normal numbers, which the clips' speeds are made from, are spread as evenly as quantiles are: the numbers measured over clips then
    differ by some 2 % from draw to draw, not by the 7 % that the 95th percentile of so many lognormal speeds does."""
    normal = np.array([np.random.default_rng(seed).standard_normal() for seed in range(10 * num)])
    order = np.argsort(normal)
    return order[np.searchsorted(normal[order], ndtri((np.arange(num) + 0.5) / num)).clip(0, len(order) - 1)].tolist()


@pytest.fixture(scope="module")
def short_clips(large):
    return [draw(*large, seed, FlowConfig(), frames=10) for seed in even_seeds(1500)]


@pytest.fixture(scope="module")
def long_clips(large):
    return [draw(*large, seed, FlowConfig(), frames=60) for seed in even_seeds(200)]


def test_steps_are_spread_as_asked(short_clips):
    """Lognormal of median 1.2 mm and 0.92: mean 1.2 exp(0.92^2 / 2) = 1.83, 95th percentile 1.2 exp(1.645 * 0.92) = 5.45. Of steps outside of pauses, to 10 %."""
    found = report(short_clips)
    assert found.step_median_mm == pytest.approx(1.20, rel=0.1)
    assert found.step_mean_mm == pytest.approx(1.83, rel=0.1)
    assert found.step_p95_mm == pytest.approx(5.45, rel=0.1)


def test_steps_follow_what_is_asked_for(large):
    """Half as fast and half as spread: median 0.6, mean 0.67, 95th percentile 1.28 mm. Eases and short ways spread the steps of every clip, which the law is set
    against for the usual spread; where clips themselves are alike, that makes more of the fastest steps: a quarter."""
    config = FlowConfig(median_step_mm=0.6, spread=0.46)
    found = report([draw(*large, seed, config, frames=10) for seed in even_seeds(400)])
    assert found.step_median_mm == pytest.approx(0.6, rel=0.15) and found.step_mean_mm == pytest.approx(0.6 * np.exp(0.46**2 / 2), rel=0.15)
    assert found.step_p95_mm == pytest.approx(0.6 * np.exp(1.645 * 0.46), rel=0.25)


def test_hardly_a_step_is_frozen(short_clips):
    assert report(short_clips).frozen_share < 0.005


def test_hardly_a_step_is_frozen_on_banks_of_any_kind(bank, graph):
    """1,080 steps: half a per cent of them are 5.4."""
    assert report([draw(bank, graph, seed, FlowConfig(), frames=10) for seed in even_seeds(120)]).frozen_share < 0.005


def test_clips_are_as_smooth_as_hands(long_clips):
    """Jerk over speed is 0.6 in real motion, and above 10 Hz there is next to nothing."""
    joints = [flow.joints_m for flow in long_clips]
    assert 0.1 < jerk_over_speed(joints) < 0.9 and power_share_above(joints) < 0.02


def test_clips_stay_near_the_bank(long_clips, large):
    bank, graph = large
    found = report(long_clips[::2], bank=pose_search(bank.joints_m), bank_spacing_m=graph.spacing_m)
    assert found.bank_distance_mean < 0.7 and found.bank_distance_p99 < 2.2


def test_clips_hardly_repeat_a_pose(long_clips):
    moving = [flow for flow in long_clips if not flow.paused.any()]
    assert len(moving) > 20 and report(moving).distinct_share > 0.99
