"""Reports of evaluations whose numbers are known: as JSON, tables, curves and arrays."""

import json
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from evaluations import INPUT, NearlyRight, Shelf, make_clip, without_joints
from scipy.spatial.transform import Rotation

from seqgen.evaluation.curves import PANEL_HEIGHT, PANEL_WIDTH, Chart, draw_charts
from seqgen.evaluation.evaluate import CROP_PX, Evaluation, evaluate
from seqgen.evaluation.report import write_report
from seqgen.evaluation.summary import per_frame, summarise
from seqgen.skeleton import JOINT_NAMES

ABOUT = {"checkpoint": "run|1", "step": 40}
FRAMES, CLIPS = 12, 5


@pytest.fixture(scope="module")
def truth() -> Evaluation:
    """An evaluation without any error: five clips of twelve frames, the second of a left hand."""
    return evaluate(NearlyRight(), INPUT, Shelf([make_clip(n, frames=FRAMES, side="left" if n == 1 else "right") for n in range(CLIPS)]))


def off_by(evaluation: Evaluation, off_mm: np.ndarray) -> Evaluation:
    """The evaluation with predictions moved by (frames, 21, 3) millimetres."""
    return replace(evaluation, predicted_m=(evaluation.true_m + 1e-3 * off_mm).astype(np.float32))


def clip_wise(evaluation: Evaluation) -> tuple[Evaluation, np.ndarray]:
    """All joints but the wrist off by as many millimetres as the clip's number, plus 5.5 for the thumb's tip; and the errors."""
    errors = np.repeat(evaluation.clip[:, None].astype(float), 21, 1)
    errors[:, 4] += 5.5
    errors[:, 0] = 0
    return off_by(evaluation, errors[..., None] * [0.6, 0.0, -0.8]), errors


def test_the_truth_is_perfect(truth: Evaluation):
    summary = summarise(truth, about=ABOUT)
    for name in ("mean_joint_error_mm", "median_joint_error_mm", "root_scale_mm", "root_bone_scale_mm", "pa_mpjpe_mm"):
        assert summary[name] == pytest.approx(0, abs=1e-4), name
    assert all(area == 1 for areas in summary["auc"].values() for label, area in areas.items() if label.startswith("20"))
    assert set(summary["success_mean"].values()) == set(summary["success_max"].values()) == {1.0}
    assert summary["per_joint_mm"] == dict.fromkeys(JOINT_NAMES, 0.0) and summary["px"]["picture_mean"] == 0
    assert summary["acceleration"]["error_mm_per_frame2"] == 0 and summary["interval_95"]["mean_joint_error_mm"] == [0, 0]
    assert summary["jitter"]["predicted_m_per_s3"] == summary["jitter"]["true_m_per_s3"] > 0


def test_numbers_of_known_errors(truth: Evaluation):
    evaluation, errors = clip_wise(truth)
    summary = summarise(evaluation, about=ABOUT)
    assert summary["mean_joint_error_mm"] == pytest.approx(errors.mean(), rel=1e-4)
    assert list(summary["per_joint_mm"].values()) == pytest.approx([0.0, 2, 2, 2, 7.5] + [2.0] * 16, rel=1e-4)
    assert summary["success_max"]["7"] == pytest.approx(2 / 5) and summary["success_max"]["8"] == pytest.approx(3 / 5) and summary["success_max"]["10"] == 1
    means = [(number * 20 + 5.5) / 21 for number in range(CLIPS)]
    for threshold in (1, 2, 3, 4):
        assert summary["success_mean"][f"{threshold}"] == pytest.approx(sum(mean < threshold for mean in means) / CLIPS)
    assert summary["auc"]["root_relative"]["20-50 mm"] == 1 and summary["pck"]["root_relative"]["50"] == 1
    low, high = summary["interval_95"]["mean_joint_error_mm"]
    assert means[0] <= low < errors.mean() < high <= means[4]
    assert summary["counts"] == {
        "clips": 5,
        "left_hands": 1,
        "frames": 60,
        "joints": 1260,
        "frames_without_joints": 0,
        "frames_not_usable": 0,
        "frames_without_root": 0,
        "frames_too_few_to_align": 0,
    }


def test_what_each_alignment_forgives(truth: Evaluation):
    rng = np.random.default_rng(0)
    turn = Rotation.random(60, rng=rng).as_matrix()
    sizes = rng.uniform(0.5, 2, (60, 1, 1))
    moved = truth.true_m + rng.normal(0, 0.1, (60, 1, 3))
    forgiven = {
        "place": (moved, ("mean_joint_error_mm", "root_scale_mm", "root_bone_scale_mm", "pa_mpjpe_mm")),
        "size": (moved * sizes, ("root_scale_mm", "root_bone_scale_mm", "pa_mpjpe_mm")),
        "turn": (np.einsum("nij,nkj->nki", turn, moved * sizes), ("pa_mpjpe_mm",)),
    }
    for what, (predicted, by) in forgiven.items():
        summary = summarise(replace(truth, predicted_m=predicted.astype(np.float32)), about=ABOUT)
        for name in ("mean_joint_error_mm", "root_scale_mm", "root_bone_scale_mm", "pa_mpjpe_mm"):
            assert summary[name] == pytest.approx(0, abs=1e-3) if name in by else summary[name] > 5, (what, name)


def test_motion_in_frames_and_in_seconds(truth: Evaluation):
    shake = np.zeros((60, 21, 3))
    shake[:, 5:, 2] = 2.0 * (-1.0) ** truth.frame[:, None]  # second differences of 8 mm, in 16 of 21 joints
    summary = summarise(replace(off_by(truth, shake), fps=np.full(5, 50.0)), about=ABOUT)
    assert summary["acceleration"]["error_mm_per_frame2"] == pytest.approx(8 * 16 / 21, rel=1e-3)
    assert summary["acceleration"]["error_mm_per_s2"] == pytest.approx(8 * 16 / 21 * 50**2, rel=1e-3)
    jitter = summary["jitter"]
    assert jitter["predicted_mm_per_frame3"] > jitter["true_mm_per_frame3"] + 10
    assert jitter["predicted_m_per_s3"] == pytest.approx(1e-3 * jitter["predicted_mm_per_frame3"] * 50**3)
    rates = replace(off_by(truth, shake), fps=np.array([10.0, 10, 10, 10, 20]))
    assert summarise(rates, about=ABOUT)["acceleration"]["error_mm_per_s2"] == pytest.approx(8 * 16 / 21 * (4 * 10**2 + 20**2) / 5, rel=1e-3)


def test_stills_have_no_motion_and_missing_joints_no_error():
    clips = [without_joints(make_clip(n, frames=1), 0, [8, 10]) for n in range(3)]
    summary = summarise(evaluate(NearlyRight((0.003, 0.0, 0.0)), INPUT, Shelf(clips)), about=ABOUT)
    assert set(summary["acceleration"].values()) == set(summary["jitter"].values()) == {None}
    assert summary["root_bone_scale_mm"] is None and summary["root_scale_mm"] > 1  # the bone that gives the scale ends in joint 10
    assert summary["per_joint_mm"]["index_tip"] is None and summary["per_joint_mm"]["index_dip"] == pytest.approx(3, rel=1e-3)


def test_without_wrists_there_is_no_root_relative_error(tmp_path: Path):
    clips = [without_joints(without_joints(make_clip(n, frames=2), 0, [0]), 1, [0, *range(3, 21)]) for n in range(2)]
    summary = write_report(evaluate(NearlyRight(off_px=(1.0, 0.0)), INPUT, Shelf(clips)), tmp_path, about=ABOUT)
    assert summary["mean_joint_error_mm"] is None and set(summary["success_max"].values()) == {None}
    assert summary["pa_mpjpe_mm"] == pytest.approx(0, abs=1e-3) and summary["px"]["picture_mean"] == pytest.approx(0.5, rel=1e-3)
    assert summary["px"]["crop_mean"] == pytest.approx(CROP_PX / 48, rel=1e-3) and summary["auc"]["crop"]["0-20 px"] == pytest.approx(15.5 / 20)  # 4.67 px
    assert (summary["counts"]["frames_without_root"], summary["counts"]["frames_too_few_to_align"]) == (4, 2)
    assert json.loads((tmp_path / "report.json").read_text()) == summary and "**- mm**" in (tmp_path / "report.md").read_text()


def test_the_contract_of_the_files(truth: Evaluation, tmp_path: Path):
    evaluation, errors = clip_wise(truth)
    summary = write_report(evaluation, tmp_path / "out", about=ABOUT)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["curves.svg", "per_frame.npz", "report.json", "report.md"]
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report == summary and report["data"] == ["shelf"] and report["about"] == ABOUT
    assert isinstance(report["mean_joint_error_mm"], float) and list(report["per_joint_mm"]) == list(JOINT_NAMES)
    for name in ("success_mean", "success_max"):
        assert [float(threshold) for threshold in report[name]] == list(range(1, 81)) and list(report[name].values()) == sorted(report[name].values())
    with np.load(tmp_path / "out" / "per_frame.npz", allow_pickle=False) as arrays:
        assert arrays["error_mm"] == pytest.approx(errors, abs=1e-3) and arrays["error_mm"].dtype == np.float32
        assert arrays["keys"][arrays["clip"]].tolist() == [f"clip {n}" for n in range(5) for _ in range(FRAMES)]
        assert set(arrays) == set(per_frame(evaluation))


def test_the_same_evaluation_gives_the_same_bytes(truth: Evaluation, tmp_path: Path):
    evaluation, _ = clip_wise(truth)
    for name in ("first", "second", "second"):  # the last in place of an older one
        write_report(evaluation, tmp_path / name, about=ABOUT)
    for path in (tmp_path / "first").iterdir():
        assert path.read_bytes() == (tmp_path / "second" / path.name).read_bytes(), path.name
    assert summarise(evaluation, about=ABOUT, seed=1)["interval_95"] != summarise(evaluation, about=ABOUT)["interval_95"]


def test_the_tables_are_whole(truth: Evaluation, tmp_path: Path):
    summary = write_report(clip_wise(truth)[0], tmp_path, about=ABOUT)
    text = (tmp_path / "report.md").read_text()
    assert f"| root_relative | {summary['mean_joint_error_mm']:.3f} |" in text and "| checkpoint | run\\|1 |" in text
    for table in text.split("\n\n"):
        if table.startswith("|"):
            assert len({line.replace("\\|", "").count("|") for line in table.splitlines()}) == 1, table


def lines_of(svg: str) -> list[list[tuple[float, float]]]:
    """The points of every curve of an SVG."""
    drawn = ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}polyline")
    return [[tuple(map(float, point.split(","))) for point in line.get("points").split()] for line in drawn]


def test_curves_are_where_their_numbers_are():
    x = np.array([0.0, 10.0, 20.0])
    curves = {"low & flat": (x, np.zeros(3)), "rising": (x, np.array([0.0, 0.5, 1.0])), "broken": (x, np.array([0.25, np.nan, 0.75]))}
    svg = draw_charts([Chart("a < b", "x", "y", 20.0, curves)])
    flat, rising, *broken = lines_of(svg)
    (left, bottom), (right, top) = flat[0], rising[-1]
    assert 0 < left < right < PANEL_WIDTH and 0 < top < bottom < PANEL_HEIGHT
    assert flat[-1] == (right, bottom) and rising[0] == (left, bottom) and rising[1] == pytest.approx(((left + right) / 2, (top + bottom) / 2), abs=0.1)
    assert [len(line) for line in broken] == [1, 1] and broken[0][0] == pytest.approx((left, bottom - (bottom - top) / 4), abs=0.1)
    texts = [text.text for text in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]
    assert {"a < b", "low & flat", "0 %", "100 %", "0", "5", "20"} <= set(texts)


def test_charts_stand_side_by_side(truth: Evaluation, tmp_path: Path):
    write_report(clip_wise(truth)[0], tmp_path, about=ABOUT)
    root = ElementTree.parse(tmp_path / "curves.svg").getroot()
    assert root.get("viewBox") == f"0 0 {2 * PANEL_WIDTH} {PANEL_HEIGHT}" and len(lines_of((tmp_path / "curves.svg").read_text())) == 5
    names = [each.get("id") for each in root.iter("{http://www.w3.org/2000/svg}clipPath")]
    assert len(names) == len(set(names)) == 2
