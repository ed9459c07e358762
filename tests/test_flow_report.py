"""The kinds of flow beside one another, on a small bank and on a bank that is a recording."""

import json
import os
from dataclasses import replace
from math import nan
from pathlib import Path

import numpy as np
import pytest
from banks import annotate, before_camera, built_in_bank, curling_hands, graph_of, random_curls

from seqgen.poses.bank import build_bank
from seqgen.poses.flow_report import LABELS, is_recording, report_flows, table
from seqgen.poses.formats import read_annotations
from seqgen.poses.motion import MotionReport, normalised

PAPER = ("paper n=10", "paper n=30", "script n=10", "script n=30")


@pytest.fixture(scope="module")
def reports():
    bank = built_in_bank()
    return report_flows(bank, graph_of(bank), num_clips=25)


def test_every_kind_is_reported(reports):
    assert tuple(reports) == ("walk", *PAPER)
    for name, report in reports.items():
        assert report.num_clips == 25 and report.num_frames == 25 * (10 if name.endswith("=10") else 30) and report.fps == 30
    assert len({report.bank_spacing_mm for report in reports.values()}) == 1


def test_the_script_covers_what_its_formula_says_and_leaves_the_bank(reports):
    for name, n in (("script n=10", 10), ("script n=30", 30)):
        report = reports[name]
        assert report.way_covered == pytest.approx(1 - (1 - 1.2 / n) ** (n - 1)) and report.frozen_share == 0
        assert report.bank_distance_mean > 0.3 and report.power_above_10hz < 0.01


def test_as_printed_is_on_the_bank_and_frozen(reports):
    for name in PAPER[:2]:
        report = reports[name]
        assert report.bank_distance_p99 < 1e-6 and report.frozen_share > 0.5 and report.way_covered < 0.5


def test_a_whole_walk_arrives(reports):
    assert reports["walk"].way_covered == pytest.approx(1.0, abs=0.01) and reports["walk"].coverage > reports["paper n=30"].coverage


def test_a_report_is_a_pure_function_of_the_seed(reports):
    bank = built_in_bank()
    graph = graph_of(bank)
    again = report_flows(bank, graph, kinds=["paper"], num_clips=25)
    assert again == {name: reports[name] for name in PAPER[:2]}
    assert report_flows(bank, graph, kinds=["paper"], num_clips=25, seed=1)["paper n=10"] != again["paper n=10"]


def test_reports_as_json_and_as_a_table(reports):
    assert json.loads(json.dumps({name: report.as_dict() for name, report in reports.items()}, allow_nan=False))["walk"]["num_clips"] == 25
    head, *lines = table(reports).splitlines()
    assert head.split("  ")[-1].strip() == "script n=30" and len(lines) == len(LABELS) and len({len(line) for line in (head, *lines)}) == 1
    assert "68.4 %" in next(line for line in lines if line.startswith("way covered"))


def test_missing_numbers_are_dashes(reports):
    empty = replace(reports["walk"], jerk_over_speed=nan)
    assert next(line for line in table({"walk": empty}).splitlines() if line.startswith("jerk")).split()[-1] == "-"
    assert isinstance(empty, MotionReport) and empty.as_dict()["jerk_over_speed"] is None


def recorded() -> np.ndarray:
    """200 frames of a hand that opens and closes before a camera."""
    phase = np.linspace(0, 12, 200)
    return before_camera(curling_hands(0.7 + 0.5 * np.sin(phase), 0.7 + 0.5 * np.cos(1.3 * phase)))


def test_a_recording_is_told_from_a_heap_of_poses():
    assert is_recording(normalised(recorded()))
    assert not is_recording(normalised(random_curls(200))) and not is_recording([]) and not is_recording([random_curls(2)])
    assert not is_recording([np.repeat(random_curls(1), 9, axis=0)])


def test_a_recording_is_reported_raw_and_low_passed():
    bank = build_bank(annotate(recorded()))
    reports = report_flows(bank, graph_of(bank), kinds=("recording",), recording=recorded())
    assert tuple(reports) == ("recording", "low-passed")
    assert [report.num_frames for report in reports.values()] == [200, 200]
    assert reports["low-passed"].step_mean_mm == pytest.approx(reports["recording"].step_mean_mm, rel=0.02)
    assert report_flows(bank, graph_of(bank), kinds=("recording",), recording=random_curls(50)) == {}


def test_a_real_recording():
    data = os.environ.get("SEQGEN_REFERENCE_DATA")
    if not data or not (Path(data) / "real_track" / "Training_Annotation.txt").is_file():
        pytest.skip("SEQGEN_REFERENCE_DATA names no folder with real_track/Training_Annotation.txt")
    annotations, _ = read_annotations(Path(data) / "real_track" / "Training_Annotation.txt", "hands17")
    bank = build_bank(annotations)
    reports = report_flows(bank, graph_of(bank), num_clips=20, recording=annotations.joints_m)
    assert tuple(reports) == ("walk", *PAPER, "recording", "low-passed")
    assert reports["low-passed"].bank_distance_mean < 0.7 and reports["recording"].num_frames == 621
