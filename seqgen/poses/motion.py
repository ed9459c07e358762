"""How a hand moves, in numbers: the same ones for generated flows, predictions and real recordings.

Joints are (frames, 21, 3) in metres. Speeds compare across hands and cameras when the hand stands still and has one size: `normalised` puts a recording in the
hand frame with a 95 mm palm (generated flows are there already). Everything is stated at 30 frames a second, by converting derivatives, never by resampling:
a first difference counts fps/30 times, a ratio of third to first differences (fps/30)^2 times.

    step            mean over joints of the displacement from frame to frame, mm per 1/30 s; those in drawn pauses are left out
    frozen          a step under 0.05 mm outside drawn pauses
    jerk/speed      mean length of third differences over mean length of first ones, over all joints and frames (as in prototypes/walk.py)
    power > 10 Hz   share of the velocity's power (first differences, Hann windows of at most 64 frames, half overlapping)
    bank distance   root mean square over joints to the nearest pose of a bank, in mean neighbour spacings of that bank
    coverage        share of the bank's poses within 3 mm (same distance) of some frame

Real hands (DESIGN.md 6.2, low-passed at 8 Hz because trackers add noise): step median 1.2, mean 1.8, 95th percentile 5.6 mm; jerk/speed 0.6, raw 1.7. The
621 frames of `real_track` by these functions: 0.84, 1.77, 5.57 mm; 0.85, raw 2.18.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from math import isnan, nan

import numpy as np
from jaxtyping import Bool, Float
from scipy.signal import butter, sosfiltfilt, welch

from seqgen.poses.search import PoseSearch
from seqgen.skeleton import hand_frame

Array = np.ndarray
Clip = Float[Array, "_ 21 3"]
FPS = 30.0
FROZEN_MM = 0.05
FAST_HZ = 10.0
WINDOW_FRAMES = 64
SHORTEST_WINDOW = 8  # velocities; fewer cannot tell 10 Hz from a leak
COVERED_M = 0.003
SAME_POSE_M = 1e-5
LOW_PASS_HZ = 8.0
SHORTEST_FILTERED = 16  # frames


@dataclass(frozen=True)
class MotionReport:
    """Numbers over all clips together; nan where a number has no meaning (no bank, no two ends, too few frames, too low a rate)."""

    num_clips: int
    num_frames: int
    fps: float
    paused_share: float  # of steps
    frozen_share: float  # of the steps outside pauses
    step_mean_mm: float
    step_median_mm: float
    step_p95_mm: float
    jerk_over_speed: float
    power_above_10hz: float
    way_covered: float  # mean over whole flows, 1 is all of it
    distinct_share: float  # different poses in a clip over its frames, mean over clips
    bank_spacing_mm: float
    bank_distance_mean: float
    bank_distance_p99: float
    coverage: float

    def as_dict(self) -> dict[str, int | float | None]:
        """For JSON: nan becomes None."""
        return {name: None if isnan(value) else value for name, value in asdict(self).items()}

    def lines(self) -> list[str]:
        """One line a number, for people."""
        return [f"{field.name:18s} {written(getattr(self, field.name), field.name)}" for field in fields(self)]


def written(value: float | int, name: str) -> str:
    """A number of a report as text: shares in percent, a dash where there is none."""
    if isnan(value):
        return "-"
    if name.startswith("num_"):
        return f"{value:,}"
    return f"{100 * value:.1f} %" if name.endswith("_share") or name in ("power_above_10hz", "way_covered", "coverage") else f"{value:.2f}"


def report_motion(
    clips: Sequence[Clip],
    fps: float,
    *,
    paused: Sequence[Bool[Array, "_"]] | None = None,
    way_covered: float = nan,
    bank: PoseSearch | None = None,
    bank_spacing_m: float = nan,
) -> MotionReport:
    """The numbers of some clips at `fps`. `paused` marks frames of drawn pauses; `bank` is what distances and coverage are measured against."""
    paused = [np.zeros(len(clip), bool) for clip in clips] if paused is None else paused
    steps = _joined([steps_mm(clip, fps) for clip in clips])
    resting = _joined([in_pause(marks) for marks in paused]).astype(bool)
    moving = steps[~resting]
    distances = _joined([bank.nearest(clip)[1] for clip in clips]) / bank_spacing_m if bank else np.empty(0)
    return MotionReport(
        num_clips=len(clips),
        num_frames=sum(map(len, clips)),
        fps=float(fps),
        paused_share=_mean(resting),
        frozen_share=_mean(moving < FROZEN_MM),
        step_mean_mm=_mean(moving),
        step_median_mm=_quantile(moving, 0.5),
        step_p95_mm=_quantile(moving, 0.95),
        jerk_over_speed=jerk_over_speed(clips, fps),
        power_above_10hz=power_share_above(clips, fps),
        way_covered=float(way_covered),
        distinct_share=_mean(np.array([num_distinct(clip) / len(clip) for clip in clips])),
        bank_spacing_mm=1e3 * bank_spacing_m,
        bank_distance_mean=_mean(distances),
        bank_distance_p99=_quantile(distances, 0.99),
        coverage=coverage(bank, clips) if bank else nan,
    )


def normalised(joints: Float[Array, "frames 21 3"]) -> list[Clip]:
    """A recording (right hands, any unit and frame) in the hand frame with a 95 mm palm: articulation without the arm's motion. It is cut where frames hold no
    hand; a hand seen in a single frame is left out."""
    frame = hand_frame(joints)
    holds_hand = np.isfinite(frame.axes).all((1, 2)) & np.isfinite(joints).all((1, 2))
    runs = np.split(np.arange(len(joints)), np.flatnonzero(np.diff(holds_hand)) + 1)
    with np.errstate(invalid="ignore", divide="ignore"):
        hands = frame.normalise(joints)
    return [hands[run] for run in runs if len(run) > 1 and holds_hand[run[0]]]


def low_passed(clips: Sequence[Clip], fps: float, cutoff_hz: float = LOW_PASS_HZ) -> list[Clip]:
    """Clips without what is faster than `cutoff_hz`: Butterworth of second order, there and back (no delay; half the amplitude is left at the cutoff).
    Clips under 16 frames are left out. A recording too slow to hold such frequencies is returned as it is."""
    if fps <= 2 * cutoff_hz:
        return list(clips)
    sections = butter(2, cutoff_hz, fs=fps, output="sos")
    return [sosfiltfilt(sections, clip, axis=0) for clip in clips if len(clip) >= SHORTEST_FILTERED]


def steps_mm(joints_m: Float[Array, "frames 21 3"], fps: float = FPS) -> Float[Array, "steps"]:
    """Mean joint displacement of every step, mm per 1/30 s."""
    return 1e3 * np.linalg.norm(np.diff(joints_m, axis=0), axis=-1).mean(-1) * (fps / FPS)


def in_pause(paused: Bool[Array, "frames"]) -> Bool[Array, "steps"]:
    """Steps that a drawn pause has a part in: either of their frames is in it."""
    return paused[1:] | paused[:-1]


def jerk_over_speed(clips: Sequence[Clip], fps: float = FPS) -> float:
    """Mean jerk over mean speed at 30 frames a second; nan for hands that never move."""
    speed = _mean(_joined([np.linalg.norm(np.diff(clip, axis=0), axis=-1).ravel() for clip in clips]))
    jerk = _mean(_joined([np.linalg.norm(np.diff(clip, 3, axis=0), axis=-1).ravel() for clip in clips]))
    return jerk / speed * (fps / FPS) ** 2 if speed > 0 else nan


def power_share_above(clips: Sequence[Clip], fps: float = FPS, hz: float = FAST_HZ) -> float:
    """Share of the velocity's power above `hz`, each clip counting by its length; nan where the frame rate holds no such frequencies, or nothing moves."""
    if fps <= 2 * hz:
        return nan
    fast, total = 0.0, 0.0
    for clip in clips:
        velocity = np.diff(clip, axis=0).reshape(-1, 63)
        if len(velocity) >= SHORTEST_WINDOW:
            frequency_hz, power = welch(velocity, fps, nperseg=min(WINDOW_FRAMES, len(velocity)), detrend=False, scaling="spectrum", axis=0)
            power = power.sum(1) * len(velocity)
            fast, total = fast + power[frequency_hz > hz + 1e-9].sum(), total + power.sum()
    return float(fast / total) if total > 0 else nan


def way_covered(joints_m: Float[Array, "frames 21 3"], start_m: Float[Array, "21 3"], end_m: Float[Array, "21 3"]) -> float:
    """How far a flow that was to go from one pose to another has come: 1 - (distance left) / (distance at first), mean over joints; negative when it went away."""
    left, whole = (np.linalg.norm(pose - end_m, axis=-1).mean() for pose in (joints_m[-1], start_m))
    return float(1.0 - left / whole) if whole > 0 else nan


def num_distinct(joints_m: Float[Array, "frames 21 3"]) -> int:
    """Poses that differ, by a hundredth of a millimetre somewhere."""
    return len(np.unique(np.round(joints_m.reshape(len(joints_m), -1) / SAME_POSE_M), axis=0))


def coverage(bank: PoseSearch, clips: Sequence[Clip]) -> float:
    """Share of the bank's poses within 3 mm of some frame."""
    return _mean(bank.rows_within(COVERED_M, np.concatenate(clips))) if clips else 0.0


def _joined(parts: list[Array]) -> Array:
    return np.concatenate(parts) if parts else np.empty(0)


def _mean(values: Array) -> float:
    return float(values.mean()) if len(values) else nan


def _quantile(values: Array, share: float) -> float:
    return float(np.quantile(values, share)) if len(values) else nan
