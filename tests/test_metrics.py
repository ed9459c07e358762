"""Metrics against slow twins, closed forms and laws, and against the scores of published predictions; the bootstrap against what it promises."""

import json
import os
from math import dist, isnan
from pathlib import Path

import numpy as np
import pytest
from jaxtyping import Float
from scipy.spatial.transform import Rotation

from seqgen.evaluation.bootstrap import bootstrap_mean
from seqgen.evaluation.metrics import (
    Thresholds,
    acceleration_errors,
    auc,
    auc_scores,
    bone_scaled,
    error_per_joint,
    jitter,
    joint_errors,
    mean_error,
    mean_per_frame,
    median_error,
    pck,
    procrustes_aligned,
    root_relative,
    scale_aligned,
    success_by_mean,
    success_by_worst,
    worst_per_frame,
)

RANGES = (Thresholds(20, 50), Thresholds(0, 50), Thresholds(0, 30, 0.5))


def random_case(seed: int, *, frames: int = 40, joints: int = 7, axes: int = 3) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Predictions, truth, and a mask with a frame that has no joint, one that has two and a joint that is never there; what is not valid is NaN."""
    rng = np.random.default_rng(seed)
    true = rng.normal(0, 40, (frames, joints, axes))
    predicted = true + rng.normal(0, 15, true.shape)
    valid = rng.random((frames, joints)) < 0.8
    valid[3], valid[4], valid[:, 5] = False, np.arange(joints) < 2, False
    true[~valid] = np.nan
    return predicted, true, valid


def similarity(points: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Every frame under a similarity of its own."""
    rotations = Rotation.random(len(points), rng=rng).as_matrix()
    return rng.uniform(0.2, 5, (len(points), 1, 1)) * np.einsum("nij,nkj->nki", rotations, points) + rng.normal(0, 300, (len(points), 1, 3))


@pytest.mark.parametrize("axes", [2, 3])
def test_all_of_it_against_a_slow_twin(axes: int):
    predicted, true, valid = random_case(0, axes=axes)
    errors = joint_errors(predicted, true)
    frames = [[dist(predicted[f, j], true[f, j]) for j in range(7) if valid[f, j]] for f in range(40)]
    alone = sorted(error for frame in frames for error in frame)
    some = [frame for frame in frames if frame]
    thresholds = np.array([0.0, 10.0, 25.0, 90.0])
    assert mean_error(errors, valid) == pytest.approx(sum(alone) / len(alone))
    assert median_error(errors, valid) == pytest.approx((alone[(len(alone) - 1) // 2] + alone[len(alone) // 2]) / 2)
    assert pck(errors, valid, thresholds) == pytest.approx([sum(error <= t for error in alone) / len(alone) for t in thresholds])
    assert success_by_mean(errors, valid, thresholds) == pytest.approx([sum(sum(frame) / len(frame) < t for frame in some) / len(some) for t in thresholds])
    assert success_by_worst(errors, valid, thresholds) == pytest.approx([sum(max(frame) < t for frame in some) / len(some) for t in thresholds])
    assert mean_per_frame(errors, valid)[:2] == pytest.approx([sum(frame) / len(frame) for frame in frames[:2]])
    for joint, error in enumerate(error_per_joint(errors, valid)):
        own = [dist(predicted[f, joint], true[f, joint]) for f in range(40) if valid[f, joint]]
        assert isnan(error) if not own else error == pytest.approx(sum(own) / len(own))


def test_frames_without_labels_have_no_error_and_nothing_at_all_is_nan():
    predicted, true, valid = random_case(1)
    errors = joint_errors(predicted, true)
    assert np.flatnonzero(np.isnan(mean_per_frame(errors, valid))).tolist() == np.flatnonzero(np.isnan(worst_per_frame(errors, valid))).tolist() == [3]
    nothing, thresholds = np.zeros_like(valid), np.array([10.0, 20.0])
    values = [mean_error(errors, nothing), median_error(errors, nothing), auc(errors, nothing, RANGES[0]), *error_per_joint(errors, nothing)]
    curves = [curve(errors, nothing, thresholds) for curve in (pck, success_by_mean, success_by_worst)]
    assert np.isnan(values).all() and np.isnan(curves).all()
    _, alignable = procrustes_aligned(predicted, true, nothing)
    assert not alignable.any()


def test_pck_counts_the_threshold_itself_and_success_does_not():
    errors, valid = np.array([[10.0, 30.0]]), np.ones((1, 2), bool)
    assert pck(errors, valid, np.array([9.9, 10.0, 30.0])).tolist() == [0, 0.5, 1]
    assert success_by_mean(errors, valid, np.array([20.0, 20.1])).tolist() == success_by_worst(errors, valid, np.array([30.0, 30.1])).tolist() == [0, 1]


@pytest.mark.parametrize("thresholds", RANGES)
def test_auc_is_the_normalised_trapezoid_of_pck(thresholds: Thresholds):
    predicted, true, valid = random_case(2)
    errors, values = joint_errors(predicted, true), thresholds.values()
    curve = pck(errors, valid, values)
    area = sum((curve[k] + curve[k + 1]) / 2 * (values[k + 1] - values[k]) for k in range(len(values) - 1))
    assert auc(errors, valid, thresholds) == pytest.approx(area / (thresholds.high - thresholds.low))
    assert auc_scores(errors, thresholds)[valid].mean() == auc(errors, valid, thresholds)


@pytest.mark.parametrize(("thresholds", "area"), [(Thresholds(20, 50), 0.7), (Thresholds(0, 50), 0.5), (Thresholds(0, 25), 0.25), (Thresholds(50, 80), 1.0)])
def test_auc_of_errors_spread_evenly_from_0_to_50(thresholds: Thresholds, area: float):
    errors = np.linspace(0, 50, 50_001)[1:].reshape(100, 500)  # a curve that is straight, PCK(t) = t / 50: the trapezoid rule is exact
    assert auc(errors, np.ones(errors.shape, bool), thresholds) == pytest.approx(area, abs=1e-9)


@pytest.mark.parametrize("thresholds", RANGES)
def test_auc_of_none_and_of_huge_errors(thresholds: Thresholds):
    valid = np.ones((5, 21), bool)
    assert auc(np.zeros((5, 21)), valid, thresholds) == 1
    assert auc(np.full((5, 21), thresholds.high + 1e-6), valid, thresholds) == 0


def test_thresholds_hold_both_ends():
    assert Thresholds(20, 50).values().tolist() == list(range(20, 51))
    assert Thresholds(0, 1, 0.25).values().tolist() == [0, 0.25, 0.5, 0.75, 1]


def test_root_relative_knows_no_place():
    predicted, _, _ = random_case(3)
    moved = predicted + np.random.default_rng(0).normal(0, 500, (40, 1, 3))
    assert root_relative(moved) == pytest.approx(root_relative(predicted), abs=1e-9) and not root_relative(moved)[:, 0].any()
    assert not root_relative(moved, root=4)[:, 4].any()


def test_scale_aligned_is_least_squares_and_knows_no_size():
    predicted, true, valid = random_case(4)
    predicted, true = root_relative(predicted), root_relative(np.nan_to_num(true))
    aligned = scale_aligned(predicted, np.where(valid[..., None], true, np.nan), valid)
    sizes = np.random.default_rng(1).uniform(0.01, 9, (40, 1, 1))
    assert scale_aligned(predicted * sizes, true, valid)[valid] == pytest.approx(aligned[valid])
    squares = {factor: (joint_errors(aligned * factor, true) ** 2 * valid).sum(1) for factor in (0.99, 1.0, 1.01)}
    some = valid.sum(1) > 1
    assert (squares[1.0] < squares[0.99])[some].all() and (squares[1.0] < squares[1.01])[some].all()
    assert scale_aligned(true * 0.3, true, valid)[valid] == pytest.approx(true[valid])
    assert not scale_aligned(-true, true, valid)[some].any()  # no hand turned inside out
    assert not scale_aligned(np.zeros_like(true), true, valid).any()


def test_bone_scaled_has_the_true_bone():
    rng = np.random.default_rng(5)
    predicted, true = root_relative(rng.normal(size=(6, 21, 3))), root_relative(rng.normal(size=(6, 21, 3)))
    for bone in ((9, 10), (0, 4)):
        scaled = bone_scaled(predicted * rng.uniform(0.1, 3, (6, 1, 1)), true, bone)
        assert np.linalg.norm(scaled[:, bone[1]] - scaled[:, bone[0]], axis=-1) == pytest.approx(np.linalg.norm(true[:, bone[1]] - true[:, bone[0]], axis=-1))
        assert joint_errors(np.cross(scaled, predicted), np.zeros_like(scaled)) == pytest.approx(np.zeros((6, 21)), abs=1e-12)  # longer or shorter, not turned
    assert not bone_scaled(np.zeros_like(true), true).any()


def test_procrustes_undoes_a_similarity():
    _, true, valid = random_case(6)
    aligned, alignable = procrustes_aligned(similarity(np.nan_to_num(true), np.random.default_rng(2)), true, valid)
    assert alignable.tolist() == [count >= 3 for count in valid.sum(1)] and not alignable[[3, 4]].any()
    counting = valid & alignable[:, None]
    assert joint_errors(aligned, true)[counting] == pytest.approx(np.zeros(counting.sum()), abs=1e-9)


def test_procrustes_does_not_change_with_a_similarity_of_the_prediction():
    predicted, true, valid = random_case(7)
    plain, alignable = procrustes_aligned(predicted, true, valid)
    moved, _ = procrustes_aligned(similarity(predicted, np.random.default_rng(3)), true, valid)
    assert moved[alignable] == pytest.approx(plain[alignable], abs=1e-8)
    better = mean_error(joint_errors(plain, true) ** 2, valid & alignable[:, None])
    assert better < mean_error(joint_errors(predicted, true) ** 2, valid & alignable[:, None])


def test_procrustes_against_scipy_and_a_reflection_is_no_rotation():
    rng = np.random.default_rng(8)
    predicted, true = rng.normal(size=(2, 9, 21, 3))
    aligned, _ = procrustes_aligned(predicted, true, np.ones((9, 21), bool))
    for frame in range(9):
        a, b = true[frame] - true[frame].mean(0), predicted[frame] - predicted[frame].mean(0)
        turn = Rotation.align_vectors(a, b)[0].as_matrix()
        scale = (a * (b @ turn.T)).sum() / (b**2).sum()
        assert aligned[frame] == pytest.approx(scale * b @ turn.T + true[frame].mean(0), abs=1e-6)
    mirrored, _ = procrustes_aligned(true * [-1, 1, 1], true, np.ones((9, 21), bool))
    assert (joint_errors(mirrored, true).mean(1) > 0.1).all()


@pytest.mark.parametrize("place", [0.0, 0.7])
def test_procrustes_of_a_point_is_the_mean(place: float):
    true = np.random.default_rng(9).normal(size=(2, 21, 3))
    aligned, _ = procrustes_aligned(np.full((2, 21, 3), place), true, np.ones((2, 21), bool))
    assert aligned == pytest.approx(np.repeat(true.mean(1, keepdims=True), 21, 1))


def test_acceleration_and_jitter_against_a_slow_twin():
    predicted, true, valid = random_case(10)
    clip = np.repeat([4, 1, 2, 7], [17, 2, 3, 18])
    errors, whole = acceleration_errors(predicted, true, valid, clip)
    jerks, jerks_whole = jitter(predicted, valid, clip)
    assert errors.shape == (38, 7) and jerks.shape == (37, 7) and whole.any() and jerks_whole.any()
    for joint in range(7):
        for f in range(38):
            assert whole[f, joint] == (valid[f : f + 3, joint].all() and clip[f] == clip[f + 2])
            if whole[f, joint]:
                own, wanted = (track[f, joint] - 2 * track[f + 1, joint] + track[f + 2, joint] for track in (predicted, true))
                assert errors[f, joint] == pytest.approx(dist(own, wanted))
        for f in range(37):
            assert jerks_whole[f, joint] == (valid[f : f + 4, joint].all() and clip[f] == clip[f + 3])
            a, b, c, d = predicted[f : f + 4, joint]
            assert jerks[f, joint] == pytest.approx(np.linalg.norm(d - 3 * c + 3 * b - a))


def test_acceleration_and_jitter_of_known_motions():
    time, direction = np.arange(12.0), np.array([2.0, -1.0, 2.0]) / 3
    valid, clip = np.ones((12, 1), bool), np.zeros(12, int)
    parabola, cubic = (power[:, None, None] * direction for power in (0.5 * 3.0 * time**2, time**3 / 6 * 5.0))
    standing = np.ones((12, 1, 3))
    assert acceleration_errors(parabola, standing, valid, clip)[0] == pytest.approx(np.full((10, 1), 3.0))
    assert acceleration_errors(parabola + 7 * time[:, None, None], parabola, valid, clip)[0] == pytest.approx(np.zeros((10, 1)), abs=1e-9)
    assert jitter(cubic, valid, clip)[0] == pytest.approx(np.full((9, 1), 5.0)) and jitter(parabola, valid, clip)[0] == pytest.approx(np.zeros((9, 1)), abs=1e-9)


@pytest.mark.parametrize("frames", [0, 1, 2])
def test_clips_too_short_for_a_derivative_have_none(frames: int):
    joints, valid, clip = np.zeros((frames, 21, 3)), np.ones((frames, 21), bool), np.zeros(frames, int)
    for errors, whole in (acceleration_errors(joints, joints, valid, clip), jitter(joints, valid, clip)):
        assert errors.shape == whole.shape == (0, 21)
    stills = np.arange(5)
    assert not acceleration_errors(np.zeros((5, 21, 3)), np.zeros((5, 21, 3)), np.ones((5, 21), bool), stills)[1].any()


def test_bootstrap_of_constants_and_of_nothing():
    clips = [np.full(n, 2.5) for n in (3, 0, 1, 8)]
    assert bootstrap_mean(clips, np.random.default_rng(0)) == (2.5, 2.5, 2.5)
    assert np.isnan(bootstrap_mean([np.empty(0)], np.random.default_rng(0))).all()


def test_bootstrap_draws_clips_not_values():
    rng = np.random.default_rng(1)
    means = rng.normal(size=30)
    as_clips = bootstrap_mean([np.full(50, mean) for mean in means], np.random.default_rng(2))
    as_values = bootstrap_mean([np.array([mean]) for mean in means], np.random.default_rng(2))
    assert as_clips == pytest.approx(as_values) and as_clips.high - as_clips.low > 1.5 * 2 / np.sqrt(30)


def test_bootstrap_weighs_clips_by_their_values():
    clips = [np.array([1.0]), np.array([4.0, 4.0])]
    assert bootstrap_mean(clips, np.random.default_rng(3)) == (3.0, 1.0, 4.0)
    assert bootstrap_mean(clips, np.random.default_rng(3), coverage=0.3) == (3.0, 3.0, 3.0)  # half of all draws have one of each
    narrow = bootstrap_mean([np.arange(20.0)[n : n + 1] for n in range(20)], np.random.default_rng(4), coverage=0.5)
    wide = bootstrap_mean([np.arange(20.0)[n : n + 1] for n in range(20)], np.random.default_rng(4), coverage=0.99)
    assert wide.low < narrow.low < narrow.mean == 9.5 < narrow.high < wide.high


def test_bootstrap_holds_the_true_mean_as_often_as_it_says():
    rng, trials, inside = np.random.default_rng(5), 300, 0
    for _ in range(trials):
        clips = [rng.normal(7.0 + effect, 1.0, size) for effect, size in zip(rng.normal(0, 2.0, 40), rng.integers(2, 9, 40), strict=True)]
        interval = bootstrap_mean(clips, rng, resamples=200)
        inside += interval.low < 7.0 < interval.high
    assert 0.90 <= inside / trials <= 0.985  # 0.95, less the percentile interval's known shortfall at 40 clips; a spread of 0.013


REFERENCE = Path(os.environ.get("SEQGEN_REFERENCE_DATA", "nowhere")) / "labels"
PUBLISHED = (("nyu", "srn"), ("nyu", "v2v"), ("nyu", "handpointnet"), ("icvl", "srn"), ("icvl", "v2v"))


def read_depth_labels_mm(path: Path, camera: dict[str, float]) -> Float[np.ndarray, "frames joints 3"]:
    """Joints in millimetres of a file with u, v and depth of all joints, a frame a line."""
    rows = np.loadtxt(path, ndmin=2)
    u, v, depth = np.moveaxis(rows.reshape(len(rows), -1, 3), -1, 0)
    return np.stack([(u - camera["ux"]) * depth / camera["fx"], (v - camera["uy"]) * depth / camera["fy"], depth], -1)


@pytest.mark.skipif(not (REFERENCE / "expected.json").is_file(), reason="SEQGEN_REFERENCE_DATA names no folder with labels/expected.json")
@pytest.mark.parametrize(("benchmark", "method"), PUBLISHED)
def test_scores_of_published_predictions(benchmark: str, method: str):
    known = json.loads((REFERENCE / "expected.json").read_text())
    scores, camera = known["expected"][benchmark][method], known["intrinsics"][benchmark]
    errors = joint_errors(*(read_depth_labels_mm(REFERENCE / benchmark / f"{name}_uvd.txt", camera) for name in (method, "groundtruth")))
    valid, thresholds = np.ones(errors.shape, bool), np.array([10.0, 20.0, 30.0, 40.0])
    assert errors.shape == (scores["n_frames"], scores["n_joints"])
    assert mean_error(errors, valid) == pytest.approx(scores["mean_joint_error_mm"], rel=1e-12)
    assert median_error(errors, valid) == pytest.approx(scores["median_joint_error_mm"], rel=1e-12)
    assert success_by_mean(errors, valid, thresholds).tolist() == [scores[f"frac_frames_mean_lt_{t:.0f}"] for t in thresholds]
    assert success_by_worst(errors, valid, thresholds).tolist() == [scores[f"frac_frames_max_lt_{t:.0f}"] for t in thresholds]
    assert pck(errors, valid, thresholds[:2]).tolist() == [scores[f"frac_joints_lt_{t:.0f}"] for t in thresholds[:2]]


def test_one_clip_has_no_interval() -> None:
    mean, low, high = bootstrap_mean([np.array([1.0, 2.0, 6.0])], np.random.default_rng(0))
    assert mean == 3 and np.isnan([low, high]).all()
