"""The built-in pose bank: right hands that move between named shapes, made from joint angles. No recorded or licensed data.

    subject (bones, range of motion, habits) ─> key poses (shapes as that subject does them) ─> movements (minimum jerk, by way of a pose) ─> rows

Metres in the hand frame of `seqgen.skeleton`, 95 mm from wrist to middle MCP. Rows lie along the movements by arc length, not by time, so that none is spent on
a hand at rest; rows whose digits run into one another are left out.
"""

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from jaxtyping import Bool, Float, Float32, Int, Int32

from seqgen.geometry import minimum_jerk
from seqgen.poses.hand_shapes import (
    DIP_FLEXION,
    FINGER_OF_ANGLE,
    MCP_FLEXION,
    PIP_FLEXION,
    SHAPES,
    HandBones,
    forward_kinematics,
    framed_bases,
    limits_rad,
    nominal_bones,
    shape_angles_rad,
    shape_rad,
    within_limits,
)
from seqgen.skeleton import FINGER_BONES, MCPS, TIPS

Array = np.ndarray

MIXED_SHARE = 0.25  # key poses that take some fingers from another shape
FREEDOM = np.array([0.8] * 5 + [1.0, 0.4, 1.0, 0.4] * 4)  # how far each angle strays from its shape: little sideways, where fingers hold one another
MINIMUM_GAP_M = 0.008  # between the middle lines of two digits' bones
PALM_DEPTH_M = 0.009  # nothing of the digits comes nearer to the palm plane inside the palm
CONTACT_M = 0.025  # a thumb tip nearer than this to a joint of a finger touches it
CONTACT_GAP_M = 0.012  # the flesh between a thumb tip and what it touches
PATH_SAMPLES = 25


@dataclass(frozen=True)
class SynthesisedPoses:
    """Rows in the order of `subject`, then `movement`; neighbours inside a movement are some millimetres apart. `dropped_share` of the rows made hit themselves."""

    joints_m: Float32[Array, "rows 21 3"]
    angles_rad: Float32[Array, "rows 21"]
    subject: Int32[Array, "rows"]
    movement: Int32[Array, "rows"]
    dropped_share: float


@dataclass(frozen=True)
class Subject:
    """One hand and its habits. `enslaving`: how much each finger's flexion follows each; `dip_slope`: how the DIP follows a PIP that departs from its shape."""

    bones: HandBones
    limits_rad: Float[Array, "2 21"]
    habit_rad: Float[Array, "21"]
    noise_rad: float
    enslaving: Float[Array, "4 4"]
    dip_slope: float
    spacing_m: float


def draw_subject(rng: np.random.Generator) -> Subject:
    """A subject: ranges of motion up to 15 % smaller than the limits, habitual angles off by 3 degrees, repetitions by 2-5 degrees."""
    return Subject(
        bones=_draw_bones(rng),
        limits_rad=limits_rad() * rng.uniform(0.85, 1.0, (2, 21)),
        habit_rad=np.radians(rng.normal(0.0, 3.0, 21)),
        noise_rad=float(np.radians(rng.uniform(2.0, 5.0))),
        enslaving=_enslaving(rng.uniform(0.02, 0.1)),
        dip_slope=float(rng.uniform(0.5, 0.8)),
        spacing_m=float(rng.uniform(0.0025, 0.0035)),
    )


def _draw_bones(rng: np.random.Generator) -> HandBones:
    """Bones of a subject: all digits 6 % longer or shorter, each one and each bone 2 % more; bases off by 1-3 mm, zero directions by 2-3 degrees."""
    nominal = nominal_bones()
    longer = np.clip(rng.normal(1.0, 0.06), 0.88, 1.15) * rng.normal(1.0, 0.02, (5, 1)) * rng.normal(1.0, 0.02, (5, 3))
    return HandBones(
        bases_m=framed_bases(nominal.bases_m * rng.normal(1.0, 0.03, (5, 1)) + rng.normal(0.0, 0.0008, (5, 3))),
        bones_m=nominal.bones_m * longer,
        finger_roll_rad=nominal.finger_roll_rad + np.radians(rng.normal(0.0, 2.0, 4)),
        thumb_rest_rad=nominal.thumb_rest_rad + np.radians(rng.normal(0.0, 3.0, 3)),
    )


def _enslaving(strength: float) -> Float[Array, "4 4"]:
    """The index moves alone; middle, ring and pinky take a share of their neighbours' flexion, the ring the most (Zatsiorsky, Li and Latash 2000)."""
    share = strength * np.array([[0.0, 0.0, 0.0, 0.0], [0.3, 0.0, 0.7, 0.0], [0.0, 1.0, 0.0, 1.0], [0.0, 0.0, 1.0, 0.0]])
    return np.diag(1.0 - share.sum(1)) + share


def _key_poses(num_keys: int, subject: Subject, rng: np.random.Generator) -> Float[Array, "keys 21"]:
    """Shapes in random order as the subject does them this time: no shape twice in a row, some mixed of two, each with its own vigour and noise."""
    shapes = shape_angles_rad()
    chosen = np.cumsum(rng.integers(1, len(shapes), num_keys)) % len(shapes)
    other = rng.integers(len(shapes), size=num_keys)
    mixed = (rng.random((num_keys, 1)) < MIXED_SHARE) & (rng.random((num_keys, 5)) < 0.5)
    meant = np.where(mixed[:, FINGER_OF_ANGLE], shapes[other], shapes[chosen])
    vigour = rng.normal(0.0, 0.05, (num_keys, 1))
    strays = FREEDOM * (vigour * meant + subject.habit_rad + rng.normal(0.0, subject.noise_rad, meant.shape))
    strays[:, DIP_FLEXION] += subject.dip_slope * strays[:, PIP_FLEXION]
    angles = meant + strays
    for flexion in (MCP_FLEXION, PIP_FLEXION, DIP_FLEXION):
        angles[:, flexion] = np.einsum("fg,kg->kf", subject.enslaving, angles[:, flexion])
    angles = within_limits(angles, subject.limits_rad)
    pure = ~mixed.any(1)
    angles[pure] = _with_contacts(angles[pure], chosen[pure], subject)
    return angles


def _with_contacts(angles_rad: Float[Array, "keys 21"], chosen: Int[Array, "keys"], subject: Subject) -> Float[Array, "keys 21"]:
    """Where the shape's thumb touches a finger, the subject's does too, whatever the bones and the noise: damped Gauss-Newton steps on the thumb's five angles."""
    touched, offset = _contacts()
    touches = (np.linalg.norm(offset[:, 1], axis=-1) < CONTACT_M)[chosen, None]
    weight, rows, angles = np.array([0.3, 1.0])[:, None], np.arange(len(chosen)), angles_rad.copy()  # the tip counts, the IP keeps the thumb's attitude
    for _ in range(3):
        joints = forward_kinematics(angles, subject.bones)
        missing = (joints[rows, None, touched[chosen]] + offset[chosen] - joints[:, 3:5]) * weight
        nudged = np.repeat(angles[:, None], 5, 1)
        nudged[:, range(5), range(5)] += 1e-4
        slopes = ((forward_kinematics(nudged, subject.bones) - joints[:, None])[:, :, 3:5] * weight / 1e-4).reshape(-1, 5, 6)
        normal = np.einsum("kai,kbi->kab", slopes, slopes) + 1e-5 * np.eye(5)
        wanted = np.einsum("kai,ki->ka", slopes, missing.reshape(-1, 6))
        angles[:, :5] += touches * np.linalg.solve(normal, wanted[..., None])[..., 0]
        angles = within_limits(angles, subject.limits_rad)
    return angles


def _contacts() -> tuple[Int[Array, "shapes"], Float[Array, "shapes 2 3"]]:
    """Of each shape the finger joint nearest to the thumb's tip, and where the thumb's IP and tip are from it."""
    joints = forward_kinematics(shape_angles_rad(), nominal_bones())
    gaps = np.linalg.norm(joints[:, 5:] - joints[:, 4:5], axis=-1)
    touched = 5 + gaps.argmin(1)
    offset = joints[:, 3:5] - joints[np.arange(len(joints)), touched][:, None]
    return touched, offset * np.maximum(1.0, CONTACT_GAP_M / gaps.min(1))[:, None, None]


@dataclass(frozen=True)
class _Movements:
    """From key pose to key pose by way of another. `onset` and `lead`: parts of the movement's time that a digit starts later and ends earlier."""

    start_rad: Float[Array, "movements 21"]
    via_rad: Float[Array, "movements 21"]
    end_rad: Float[Array, "movements 21"]
    onset: Float[Array, "movements 5"]
    lead: Float[Array, "movements 5"]

    def angles_at(self, which: Int[Array, "rows"], time: Float[Array, "rows"]) -> Float[Array, "rows 21"]:
        """Angles of movement `which` at `time` in [0, 1]: two minimum-jerk strokes, the second laid over the first (Flash and Henis 1991)."""
        onset, lead = self.onset[which], self.lead[which]
        digit_time = np.clip((time[:, None] - onset) / (1.0 - onset - lead), 0.0, 1.0)[:, FINGER_OF_ANGLE]
        first, second = minimum_jerk(digit_time / 0.7), minimum_jerk((digit_time - 0.3) / 0.7)
        return (1.0 - first) * self.start_rad[which] + (first - second) * self.via_rad[which] + second * self.end_rad[which]


def _movements(keys_rad: Float[Array, "keys 21"], rng: np.random.Generator) -> _Movements:
    """Movements through the key poses. The way leads past the relaxed hand, more or less; a thumb closes after the fingers and opens before them, so as to pass them."""
    start, end = keys_rad[:-1], keys_rad[1:]
    relaxing = np.repeat(rng.uniform(0.0, 0.6, (len(start), 1)), 21, 1)
    relaxing[:, :5] = np.sqrt(relaxing[:, :5])
    via = (1.0 - relaxing) * (start + end) / 2 + relaxing * shape_rad(SHAPES["relaxed"])
    onset, lead = rng.uniform(0.0, 0.15, (2, len(start), 5))
    closing = (end - start)[:, MCP_FLEXION + PIP_FLEXION].mean(1) > 0
    onset[:, 0] += 0.3 * closing
    lead[:, 0] += 0.3 * ~closing
    return _Movements(start, via, end, onset, lead)


def _even_times(movements: _Movements, subject: Subject, rng: np.random.Generator) -> tuple[Int[Array, "rows"], Float[Array, "rows"]]:
    """Movement and time of rows that lie the subject's spacing apart, give or take a fifth from movement to movement, in mean joint distance."""
    num = len(movements.start_rad)
    which, time = np.repeat(np.arange(num), PATH_SAMPLES), np.tile(np.linspace(0.0, 1.0, PATH_SAMPLES), num)
    joints = forward_kinematics(movements.angles_at(which, time), subject.bones).reshape(num, PATH_SAMPLES, 21, 3)
    steps = np.linalg.norm(np.diff(joints, axis=1), axis=-1).mean(-1)
    length = np.concatenate([np.zeros((num, 1)), np.cumsum(steps, 1)], 1)
    spacing = subject.spacing_m * rng.uniform(0.8, 1.2, num)
    count = np.floor(length[:, -1] / spacing).astype(int)
    which = np.repeat(np.arange(num), count)
    place = (np.arange(len(which)) - np.repeat(np.cumsum(count) - count, count) + rng.random(num)[which]) * spacing[which]
    # No movement is a metre long: movements laid end to end at 1 m, and in time at 2, are one increasing curve.
    curve = length + np.arange(num)[:, None], np.linspace(0.0, 1.0, PATH_SAMPLES) + 2.0 * np.arange(num)[:, None]
    return which, np.interp(place + which, curve[0].ravel(), curve[1].ravel()) - 2.0 * which


def clear_of_itself(joints_m: Float[Array, "rows 21 3"]) -> Bool[Array, "rows"]:
    """Whether bones of different digits keep MINIMUM_GAP_M between their middle lines and no finger goes into the palm."""
    pairs = np.array([(a, b) for a, b in combinations(FINGER_BONES, 2) if (a[0] - 1) // 4 != (b[0] - 1) // 4])  # (pairs, 2 bones, 2 ends)
    ends = joints_m[:, pairs]
    reach = np.linalg.norm(ends[..., 1, :] - ends[..., 0, :], axis=-1).sum(-1) / 2
    middles = ends.sum(3) / 2
    row, pair = np.nonzero(np.linalg.norm(middles[:, :, 1] - middles[:, :, 0], axis=-1) < reach + MINIMUM_GAP_M)  # the others are too far apart to meet
    first, second = np.moveaxis(ends[row, pair], 1, 0)
    hit = _in_palm(joints_m)
    hit[row[segment_distance(first, second) < MINIMUM_GAP_M]] = True
    return ~hit


def segment_distance(first: Float[Array, "rows 2 3"], second: Float[Array, "rows 2 3"]) -> Float[Array, "rows"]:
    """Least distance of two segments that have a length, each row given by its ends (Ericson 2005, section 5.1.9)."""
    along, other, between = first[:, 1] - first[:, 0], second[:, 1] - second[:, 0], first[:, 0] - second[:, 0]
    a, b, c, d, e = (np.einsum("ni,ni->n", p, q) for p, q in ((along, along), (along, other), (other, other), (along, between), (other, between)))
    parallel = np.maximum(a * c - b * b, 1e-12 * a * c)
    s = np.clip((b * e - c * d) / parallel, 0.0, 1.0)
    t = np.clip((b * s + e) / c, 0.0, 1.0)
    s = np.clip((b * t - d) / a, 0.0, 1.0)
    return np.linalg.norm(between + s[:, None] * along - t[:, None] * other, axis=-1)


def _in_palm(joints_m: Float[Array, "rows 21 3"]) -> Bool[Array, "rows"]:
    """Whether a tip or the joint before it lies between wrist and knuckles, and behind the palm's skin or nearly so."""
    x, y, z = np.moveaxis(joints_m[:, [*TIPS, *(tip - 1 for tip in TIPS)]], -1, 0)
    index, pinky = joints_m[:, None, MCPS[0]], joints_m[:, None, MCPS[3]]
    over_palm = (y > 0.0) & (y < pinky[..., 1]) & (x * index[..., 1] > index[..., 0] * y) & (x * pinky[..., 1] < pinky[..., 0] * y)
    return (over_palm & (z > -PALM_DEPTH_M)).any(1)


def _stretch(num_keys: int, subject: Subject, rng: np.random.Generator) -> SynthesisedPoses:
    """Clear rows along the movements through `num_keys` new key poses. A row that hits itself is left out, and ends its movement."""
    movements = _movements(_key_poses(num_keys, subject, rng), rng)
    which, time = _even_times(movements, subject, rng)
    angles = within_limits(movements.angles_at(which, time), subject.limits_rad)
    joints = forward_kinematics(angles, subject.bones)
    clear = clear_of_itself(joints)
    starts = np.diff(which, prepend=-1).astype(bool) | ~np.concatenate([[True], clear[:-1]])
    movement = np.cumsum(starts)[clear].astype(np.int32)
    return SynthesisedPoses(np.round(joints[clear], 6).astype(np.float32), angles[clear].astype(np.float32), np.zeros_like(movement), movement, float(1.0 - clear.mean()))


def _joined(parts: list[SynthesisedPoses], num_rows: int, subjects: list[int]) -> SynthesisedPoses:
    """The first `num_rows` rows of parts one after the other, each part of the subject given, movements numbered from 0."""
    joints, angles = (np.concatenate([getattr(part, name) for part in parts])[:num_rows] for name in ("joints_m", "angles_rad"))
    part_of_row = np.repeat(np.arange(len(parts)), [len(part.movement) for part in parts])[:num_rows]
    own = np.concatenate([part.movement for part in parts])[:num_rows]
    movement = np.unique(np.stack([part_of_row, own]), axis=1, return_inverse=True)[1]
    dropped = np.average([part.dropped_share for part in parts], weights=[len(part.movement) for part in parts])
    return SynthesisedPoses(joints, angles, np.array(subjects, np.int32)[part_of_row], movement.astype(np.int32), float(dropped))


def _subject_rows(num_rows: int, seed: int, subject: int) -> SynthesisedPoses:
    """All rows of a subject, from its own random stream."""
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(subject,)))
    drawn, parts, missing = draw_subject(rng), [], num_rows
    while missing > 0:
        parts.append(_stretch(8 + min(missing // 8, 400), drawn, rng))
        missing -= len(parts[-1].movement)
    return _joined(parts, num_rows, [subject] * len(parts))


def synthesise_poses(num_rows: int, *, seed: int, num_subjects: int = 24) -> SynthesisedPoses:
    """A bank of `num_rows` poses, nearly the same number from each subject. The same bits for the same numbers."""
    if not 1 <= num_subjects <= num_rows:
        raise ValueError(f"a bank of {num_rows} rows cannot hold {num_subjects} subjects: ask for at least one subject, and one row for each")
    shares = [num_rows // num_subjects + (subject < num_rows % num_subjects) for subject in range(num_subjects)]
    return _joined([_subject_rows(share, seed, subject) for subject, share in enumerate(shares)], num_rows, list(range(num_subjects)))
