"""How the kinds of flow move on a bank, beside one another and beside the bank's own recording when it is one.

    walk                  clips of it; the way covered is that of whole walks, from start to end pose
    paper n=10, n=30      Eq. 5-7 to the letter, flows of n frames
    script n=10, n=30     what the authors' script does in effect
    recording, low-passed the bank's rows in the order of their file, raw and without what is faster than 8 Hz

`seqgen bank report FILE` prints `table(report_flows(...))`; its `--json` writes `{name: report.as_dict()}`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from math import nan

import numpy as np
from jaxtyping import Float

from seqgen.poses.bank import PoseBank
from seqgen.poses.flow import FlowConfig, PoseFlow, draw_flow, draw_whole_walk
from seqgen.poses.graph import NeighbourGraph
from seqgen.poses.motion import FPS, MotionReport, low_passed, normalised, report_motion, steps_mm, way_covered, written
from seqgen.poses.paper import SCRIPT_ALPHA, PaperLaw, draw_paper_flow
from seqgen.poses.search import PoseSearch, pose_search

Array = np.ndarray
KINDS = ("walk", "paper", "paper-script", "recording")
PAPER_STEPS = (10, 30)
RECORDED_FRAMES = 200_000  # of a recording at most
RECORDED_STEP = 0.25  # consecutive rows of a recording are nearer than this part of the distance of any two
LABELS = {
    "num_clips": "clips",
    "num_frames": "frames",
    "paused_share": "steps in drawn pauses",
    "frozen_share": "frozen steps (< 0.05 mm)",
    "step_median_mm": "step, median, mm",
    "step_mean_mm": "step, mean, mm",
    "step_p95_mm": "step, 95th percentile, mm",
    "jerk_over_speed": "jerk over speed",
    "power_above_10hz": "power above 10 Hz",
    "way_covered": "way covered",
    "distinct_share": "distinct poses in a clip",
    "bank_distance_mean": "from the bank, mean, spacings",
    "bank_distance_p99": "from the bank, 99th pct.",
    "coverage": "bank within 3 mm of a frame",
}


def report_flows(
    bank: PoseBank,
    graph: NeighbourGraph,
    *,
    kinds: Sequence[str] = KINDS,
    num_clips: int = 200,
    frames: int = 30,
    fps: float = FPS,
    seed: int = 0,
    config: FlowConfig | None = None,
    alpha: float = SCRIPT_ALPHA,
    recording: Float[Array, "rows 21 3"] | None = None,
) -> dict[str, MotionReport]:
    """One report a kind. `frames` are those of a walk's clip; `recording` holds a file's joints in their order, any unit and frame, left out unless they are a
    recording. The same numbers for the same arguments."""
    search = pose_search(bank.joints_m)
    reports = {}
    if "walk" in kinds:
        config = config or FlowConfig()
        clips = [draw_flow(bank, graph, config, frames=frames, stride=1, fps=fps, rng=rng) for rng in _streams(seed, num_clips)]
        wholes = [draw_whole_walk(bank, graph, config, fps=fps, rng=rng) for rng in _streams(seed, num_clips)]
        reports["walk"] = _report(clips, wholes, bank, graph, search)
    for name, draw in _paper_draws(bank, kinds, alpha, fps, search):
        flows = [draw(rng) for rng in _streams(seed, num_clips)]
        reports[name] = _report(flows, flows, bank, graph, search)
    clips = normalised(recording[:RECORDED_FRAMES]) if "recording" in kinds and recording is not None else []
    if is_recording(clips):
        reports["recording"] = report_motion(clips, fps)
        reports["low-passed"] = report_motion(low_passed(clips, fps), fps, bank=search, bank_spacing_m=graph.spacing_m)
    return reports


def table(reports: Mapping[str, MotionReport]) -> str:
    """The reports as text, a column each."""
    rows = [["", *reports]] + [[label, *(written(getattr(report, name), name) for report in reports.values())] for name, label in LABELS.items()]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(f"{row[0]:{widths[0]}s}" + "".join(f"  {cell:>{width}s}" for cell, width in zip(row[1:], widths[1:], strict=True)) for row in rows)


def is_recording(clips: Sequence[Float[Array, "_ 21 3"]]) -> bool:
    """Whether poses follow one another: the median step is far smaller than the median distance of frames a third or half of the recording apart."""
    steps = np.concatenate([steps_mm(clip) for clip in clips]) if clips else np.empty(0)
    if len(steps) < 3:
        return False
    joints = np.concatenate(clips)
    apart = [np.linalg.norm(joints - np.roll(joints, len(joints) // part, axis=0), axis=-1).mean(-1) for part in (2, 3)]
    return bool(np.median(steps) < RECORDED_STEP * 1e3 * np.median(apart))


def _report(flows: list[PoseFlow], wholes: list[PoseFlow], bank: PoseBank, graph: NeighbourGraph, search: PoseSearch) -> MotionReport:
    covered = [way_covered(whole.joints_m, *bank.joints_m[[whole.start, whole.end]].astype(float)) for whole in wholes]
    return report_motion(
        [flow.joints_m for flow in flows],
        flows[0].fps if flows else FPS,
        paused=[flow.paused for flow in flows],
        way_covered=float(np.mean(covered)) if covered else nan,
        bank=search,
        bank_spacing_m=graph.spacing_m,
    )


def _paper_draws(bank: PoseBank, kinds: Sequence[str], alpha: float, fps: float, search: PoseSearch) -> Iterator[tuple[str, Callable[[np.random.Generator], PoseFlow]]]:
    for kind in ("paper", "paper-script"):
        for steps in PAPER_STEPS if kind in kinds else ():
            law = PaperLaw(kind, alpha, steps)
            yield f"{kind.removeprefix('paper-')} n={steps}", lambda rng, law=law: draw_paper_flow(bank, law, frames=law.steps, fps=fps, rng=rng, search=search)


def _streams(seed: int, num: int) -> Iterator[np.random.Generator]:
    """One stream a clip, the same for every kind."""
    return (np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(clip,))) for clip in range(num))
