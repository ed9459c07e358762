"""The pose bank: what hands can do, as read-only rows in one frame, each with the way back to its source.

    joints_m    hand frame (`seqgen.skeleton`), metres, 95 mm palm, float32, rounded to a micrometre; near-duplicates removed
    source_row  row of the source file each pose came from
    subject     who or which recording, -1 where the source does not say
    frame       wrist, axes and palm of each row in its source: `bank.in_source(rows)` gives back the joints as annotated
"""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from jaxtyping import Float, Float32, Int32, Int64
from pydantic import Field

from seqgen.config import Section
from seqgen.errors import UserError
from seqgen.files import arrays_digest
from seqgen.poses.first_contact import are_hands
from seqgen.skeleton import HandFrame, hand_frame
from seqgen.splits import SPLITS, SplitConfig, SplitName

Array = np.ndarray
DUPLICATE_M = 1e-4  # poses whose joints round to the same tenth of a millimetre are one pose
SPLIT_GAP_M = 0.001  # rows nearer than this (root mean square over joints) to the border of another split's cluster are left out
NUM_CLUSTERS = 64
PIECE_ROWS = 100_000


class PosesConfig(Section):
    bank: str = "built-in"
    """`built-in`, or an annotation file of joints in the format named by `format`"""
    format: Literal["hands17", "bighand", "npz", "seqhand-npy"] = "hands17"
    """format of `bank`: hands17 (text: name and 63 numbers a line, mm), bighand (its folder), npz (joints_m or joints_mm) or seqhand-npy"""
    side: Literal["right", "left"] = "right"
    """whose hands the file holds; left hands are mirrored to right ones"""
    rows: int = Field(100_000, ge=1000, le=5_000_000)
    """rows of the built-in bank"""


@dataclass(frozen=True)
class Annotations:
    """What a reader gives: joints of the canonical 21 in metres, in their source's camera frame, and what the source says of them."""

    name: str
    licence: str
    copies_allowed: bool
    joints_m: Float[Array, "rows 21 3"]
    subject: Int32[Array, "rows"]


@dataclass(frozen=True)
class PoseBank:
    """See the head of this file. `copies_allowed`: whether its rows may be stored in a data set."""

    name: str
    licence: str
    copies_allowed: bool
    joints_m: Float32[Array, "rows 21 3"]
    source_row: Int64[Array, "rows"]
    subject: Int32[Array, "rows"]
    frame: HandFrame
    digest: str

    def __len__(self) -> int:
        return len(self.joints_m)

    def in_source(self, rows: Array) -> Float[Array, "chosen 21 3"]:
        """The chosen rows as they stand in their source, metres."""
        frame = HandFrame(self.frame.wrist[rows], self.frame.axes[rows], self.frame.palm[rows])
        return frame.restore(self.joints_m[rows].astype(float))

    def subset(self, rows: Array) -> "PoseBank":
        """The bank of some rows only."""
        frame = HandFrame(*map(_read_only, (self.frame.wrist[rows], self.frame.axes[rows], self.frame.palm[rows])))
        joints = _read_only(self.joints_m[rows])
        chosen = {"source_row": _read_only(self.source_row[rows]), "subject": _read_only(self.subject[rows])}
        return replace(self, joints_m=joints, frame=frame, digest=arrays_digest(joints), **chosen)


def build_bank(annotations: Annotations) -> PoseBank:
    """The bank of annotated right hands: normalised, rounded; rows without a hand and near-duplicates removed (the first of each stays).

    Worked through in pieces: millions of rows in double precision, all at once, would be gigabytes.
    """
    pieces = [_normalised(annotations.joints_m[start : start + PIECE_ROWS], start) for start in range(0, len(annotations.joints_m), PIECE_ROWS)]
    rows, joints, wrist, axes, palm = (np.concatenate(parts) for parts in zip(*pieces, strict=True))
    del pieces
    distinct = distinct_rows(joints)
    distinct = slice(None) if len(distinct) == len(joints) else distinct  # no copy of what is whole
    frame = HandFrame(*(_read_only(values[distinct]) for values in (wrist, axes, palm)))
    joints, rows = _read_only(joints[distinct]), rows[distinct]
    subject = _read_only(annotations.subject[rows])
    return PoseBank(annotations.name, annotations.licence, annotations.copies_allowed, joints, _read_only(rows), subject, frame, arrays_digest(joints))


def _normalised(joints_m: Float[Array, "rows 21 3"], first: int) -> tuple[Array, ...]:
    """Of a piece of annotations that starts at row `first`: rows that hold a hand, their normalised joints, wrists, axes and palms, in single precision."""
    joints_m = joints_m.astype(float)
    frame = hand_frame(joints_m)
    hands = np.flatnonzero(are_hands(frame))
    frame = HandFrame(frame.wrist[hands], frame.axes[hands], frame.palm[hands])
    normalised = np.round(frame.normalise(joints_m[hands]) * 1e6) / 1e6
    return hands + first, *(values.astype(np.float32) for values in (normalised, frame.wrist, frame.axes, frame.palm))


def distinct_rows(joints_m: Float32[Array, "rows 21 3"]) -> Int64[Array, "distinct"]:
    """Rows, in order, without those that equal an earlier one to a tenth of a millimetre."""
    multipliers = np.random.default_rng(0).integers(1, 2**62, 63)
    pieces = (joints_m[start : start + PIECE_ROWS].reshape(-1, 63) for start in range(0, len(joints_m), PIECE_ROWS))
    # The product wraps around: a 64-bit hash of each row.
    fingerprints = np.concatenate([(np.round(piece / DUPLICATE_M).astype(np.int64) * multipliers).sum(1) for piece in pieces])
    return np.sort(np.unique(fingerprints, return_index=True)[1])


def split_rows(bank: PoseBank, split: SplitConfig) -> dict[SplitName, Int64[Array, "rows"]]:
    """Disjoint rows for each split in use: whole subjects where the source knows enough of them, else clusters of poses with a gap between."""
    used = [name for name in SPLITS if split.counts()[name] > 0]
    if len(used) == 1:
        return {used[0]: np.arange(len(bank))}
    groups, apart = bank.subject, np.ones(len(bank), bool)
    if bank.subject.min() < 0 or len(np.unique(bank.subject)) < 2 * len(used):
        groups, centres = _clusters(bank.joints_m)
    if len(np.unique(groups)) < len(used):
        raise _too_few(bank, used[-1])
    shares = _deal_out(np.bincount(groups), {name: split.counts()[name] for name in used})
    if groups is not bank.subject:
        apart = _away_from_borders(bank.joints_m, groups, centres, shares)
    rows = {name: np.flatnonzero(np.isin(groups, shares[name]) & apart) for name in used}
    for name, chosen in rows.items():
        if len(chosen) < 2:
            raise _too_few(bank, name)
    return rows


def _too_few(bank: PoseBank, name: SplitName) -> UserError:
    return UserError(f"{bank.name}: {len(bank)} distinct poses are too few to keep a {name} split apart; set split.train, split.val, split.test so that one is positive")


def _deal_out(sizes: Array, counts: dict[SplitName, int]) -> dict[SplitName, list[int]]:
    """Groups to splits, largest group first, always to the split that lacks most of its share; each split gets at least one."""
    total, dealt = sum(counts.values()), {name: [] for name in counts}
    order = sorted(np.flatnonzero(sizes), key=lambda group: (-sizes[group], group))
    for place, group in enumerate(order):
        empty = [name for name in counts if not dealt[name]]
        candidates = empty if len(order) - place <= len(empty) else list(counts)
        lacking = {name: counts[name] / total - sizes[dealt[name]].sum() / sizes.sum() for name in candidates}
        dealt[max(lacking, key=lacking.__getitem__)].append(int(group))
    return dealt


def _clusters(joints_m: Float32[Array, "rows 21 3"]) -> tuple[Int64[Array, "rows"], Float[Array, "clusters 63"]]:
    """k-means (Lloyd, 20 rounds) on at most 20,000 rows, fixed start; the cluster of every row and the centres."""
    rows = joints_m.reshape(len(joints_m), -1)
    rng = np.random.default_rng(0)
    sample = rows[np.sort(rng.permutation(len(rows))[:20_000])].astype(float)
    centres = sample[rng.permutation(len(sample))[: min(NUM_CLUSTERS, max(4, len(rows) // 20))]]
    for _ in range(20):
        nearest = _squared_distances(sample, centres).argmin(1)
        filled = np.unique(nearest)
        centres = np.stack([sample[nearest == cluster].mean(0) for cluster in filled])
    groups = np.concatenate([_squared_distances(rows[start : start + PIECE_ROWS].astype(float), centres).argmin(1) for start in range(0, len(rows), PIECE_ROWS)])
    return groups, centres


def _away_from_borders(joints_m: Array, groups: Array, centres: Array, shares: dict[SplitName, list[int]]) -> Array:
    """Rows at least SPLIT_GAP_M from the bisecting plane to every cluster of another split, so two splits are twice that apart."""
    owner = np.zeros(len(centres), int)
    for number, chosen in enumerate(shares.values()):
        owner[chosen] = number
    rows = joints_m.reshape(len(joints_m), -1)
    apart = np.ones(len(rows), bool)
    for cluster in range(len(centres)):
        own, others = groups == cluster, centres[owner != owner[cluster]]
        squared = _squared_distances(rows[own].astype(float), np.concatenate([centres[cluster : cluster + 1], others]))
        to_plane = (squared[:, 1:] - squared[:, :1]) / (2 * np.linalg.norm(others - centres[cluster], axis=1))
        apart[own] = to_plane.min(1) >= SPLIT_GAP_M * np.sqrt(21)
    return apart


def _squared_distances(a: Array, b: Array) -> Array:
    return np.maximum((a**2).sum(1)[:, None] - 2 * a @ b.T + (b**2).sum(1)[None], 0)


def _read_only(array: Array) -> Array:
    array = np.ascontiguousarray(array)
    array.flags.writeable = False
    return array
