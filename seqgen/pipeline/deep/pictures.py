"""Pictures of a stored clip against the same pictures drawn again: all but its colours.

    a pixel that shows                    what is stored there
    what was drawn again                  is what is drawn
    that, at an edge which is seen        may be what is drawn beside it, in a tiny share of such pixels: rounding moves edges
    a thing that cannot be drawn again    is nearer than all that is drawn
    the photo                             has no depth; its optical flow is that of one even motion

Tolerances say what rounding can do. Vertices that differ in their last bits (1e-6 m half a metre away) move depth by a hundredth of a count, so counts differ
by one where they differ at all, and in few pixels; edges move by a thousandth of a pixel. OpenGL rounds vertices to 1/256 px, where our renderer has
1/4096: edges, and depth on slopes, move by that.
"""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, UInt, UInt16

from seqgen.dataset.conventions import part_names
from seqgen.dataset.sequence import HandSequence, depth_counts, is_hand, mask_bytes, normal_bytes
from seqgen.pipeline.deep.photo_motion import photo_motion_error
from seqgen.pipeline.deep.values import PIXEL, Places, contradiction, disagreement, others, place
from seqgen.render.renderer import Frames
from seqgen.skeleton import PART_BACKGROUND, PART_OCCLUDER

Array = np.ndarray
FEW = 3  # pixels of a clip that may be on the other side of an edge, however few edges there are
LEVEL = 1.0  # of a depth count or a normal's byte: rounded the other way
MEAN_COUNTS, LEAST_PIXELS = 0.25, 20  # off on the mean over a part of a frame, and how many pixels make one: rounding turns over one count in ten at most
ROUND_COUNTS = 100  # how much deeper than beside it a surface may be at its outline: a finger's radius
GAP_COUNTS = 20  # where depth differs by more from neighbour to neighbour's neighbour, another surface may begin
PHOTO_PX = 0.02  # its maps are stored in float32, whose last bit is 2e-4 px in a large photo
NEIGHBOURS = [(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)]


@dataclass(frozen=True)
class Slack:
    """What a renderer's rounding can do: share of the pixels at edges that differ; depth counts on slopes; levels of normals, pixels of optical flow; share of
    the pixels that show another surface, seen through a gap or standing out by less than a pixel, where no pixel beside them shows it."""

    edges: float
    counts: float
    levels: float
    flow_px: float
    slivers: float


SLACKS = {"warp": Slack(0.002, LEVEL, LEVEL, 2e-3, 0.0), "pyrender": Slack(0.02, 20.0, 3.0, 0.05, 1e-3)}


@dataclass(frozen=True)
class Again:
    """The pictures drawn again, as they would be stored, and what of the clip cannot be held against them."""

    frames: Frames
    depth: UInt16[Array, "frames height width"]
    unknown: Bool[Array, "frames height width"] | None  # shows a thing that was not drawn
    slack: Slack


def as_in_mirror(frames: Frames) -> Frames:
    """The pictures of the mirrored scene; colours are left as they are."""
    flipped = {name: getattr(frames, name)[:, :, ::-1] for name in ("depth_m", "parts", "normals", "flow_px", "amodal") if getattr(frames, name) is not None}
    for name, sign in (("normals", np.float32([-1, 1, 1])), ("flow_px", np.float32([-1, 1]))):
        if name in flipped:
            flipped[name] = flipped[name] * sign
    return replace(frames, **{name: np.ascontiguousarray(pictures) for name, pictures in flipped.items()})


def picture_contradictions(clip: HandSequence, frames: Frames, renderer: str, *, whole: bool) -> list[str]:
    """A line for each way in which the pictures of a clip are not `frames`, drawn again with what the clip has beside depth and parts.

    `renderer` drew the clip; unless `whole` something in its way was not drawn again.
    """
    unknown = None if whole else clip.parts == PART_OCCLUDER
    again = Again(frames, depth_counts(frames.depth_m), unknown, SLACKS[renderer])
    different = (clip.parts != frames.parts) | (clip.depth_tenth_mm != again.depth)
    if unknown is not None:
        different &= ~unknown
    at = np.nonzero(different)
    off = _counts_off(clip, again, at)
    beside = _beside_edge(at, (frames.parts, again.depth, unknown), clip.parts[at], clip.depth_tenth_mm[at], again)
    moved = beside & ((clip.parts[at] != frames.parts[at]) | (off > LEVEL))
    lines = _parts_off(clip, again, at, ~moved) + _depth_off(clip, off, at, ~moved)
    lines += _too_many("parts and depth", at, moved, frames.parts, again.slack)
    different[...] = False
    different[tuple(index[moved] for index in at)] = True
    return lines + _unknown_off(clip, again) + _masks_off(clip, again) + _normals_off(clip, again, different) + _flow_off(clip, again, different)


def _counts_off(clip: HandSequence, again: Again, at: Places) -> Float[Array, "pixels"]:
    return np.abs(clip.depth_tenth_mm[at].astype(float) - again.depth[at])


def _parts_off(clip: HandSequence, again: Again, at: Places, known: Bool[Array, "pixels"]) -> list[str]:
    names = part_names()
    bad = (clip.parts[at] != again.frames.parts[at]) & known
    if not bad.any():
        return []
    first = int(bad.argmax())
    stored, drawn = (f"{names.get(int(parts[at][first]), 'no part')} ({parts[at][first]})" for parts in (clip.parts, again.frames.parts))
    return [f"parts, {place((first,), PIXEL, at)}: {stored}, where {drawn} is drawn again{others(bad)}"]


def _depth_off(clip: HandSequence, off: Float[Array, "pixels"], at: Places, known: Bool[Array, "pixels"]) -> list[str]:
    """Single pixels; else parts that are off by a little throughout."""
    said = "what is drawn again"
    lines = contradiction("depth", np.where(known, off, 0.0), LEVEL, PIXEL, said, scale=0.1, unit="mm", at=at)
    if lines or not len(off):
        return lines
    part_of_frame = at[0] * 256 + clip.parts[at]
    sums = np.bincount(part_of_frame, np.where(known, off, 0.0), minlength=256 * len(clip.parts))
    counts = np.bincount((clip.parts + 256 * np.arange(len(clip.parts))[:, None, None]).ravel(), minlength=len(sums))
    means = np.where(counts >= LEAST_PIXELS, sums / np.maximum(counts, 1), 0.0).reshape(-1, 256)
    return contradiction("depth", means, MEAN_COUNTS, ("frame", "part"), said + ", on the mean over the part", scale=0.1, unit="mm")


def _unknown_off(clip: HandSequence, again: Again) -> list[str]:
    """What hides a thing is there, and before it."""
    if again.unknown is None:
        return []
    behind = (clip.depth_tenth_mm == 0) | ((again.depth > 0) & (clip.depth_tenth_mm.astype(int) > again.depth.astype(int) + LEVEL))
    return disagreement("depth", again.unknown & behind, PIXEL, clip.depth_tenth_mm, "of something in the way (0.1 mm), which is not before what it hides")


def _masks_off(clip: HandSequence, again: Again) -> list[str]:
    lines = []
    if clip.mask_visible is not None:
        lines += disagreement("mask_visible", clip.mask_visible != mask_bytes(is_hand(clip.parts)), PIXEL, clip.mask_visible, "parts say otherwise")
    if clip.mask_amodal is not None and again.frames.amodal is not None:
        expected = mask_bytes(again.frames.amodal)
        bad = clip.mask_amodal != expected
        at, flat = np.nonzero(bad), np.zeros_like(again.depth)
        beside = _beside_edge(at, (expected, flat, None), clip.mask_amodal[at], flat[at], again)
        bad[tuple(index[beside] for index in at)] = False
        lines += disagreement("mask_amodal", bad, PIXEL, clip.mask_amodal, "the hand's mesh says otherwise")
        lines += _too_many("mask_amodal", at, beside, expected, again.slack)
    return lines


def _normals_off(clip: HandSequence, again: Again, moved: Bool[Array, "frames height width"]) -> list[str]:
    """Normals of what is drawn; those of what is not have at least unit length."""
    if clip.normals is None or again.frames.normals is None:
        return []
    drawn = normal_bytes(again.frames.normals)
    different = (clip.normals[..., 0] != drawn[..., 0]) | (clip.normals[..., 1] != drawn[..., 1]) | (clip.normals[..., 2] != drawn[..., 2])
    at = np.nonzero(different & ~moved if again.unknown is None else different & ~moved & ~again.unknown)
    off = np.abs(clip.normals[at].astype(float) - drawn[at]).max(-1, initial=0.0)
    off = _without_slivers(off, again.slack.levels, again)
    lines = contradiction("normals", off, again.slack.levels, PIXEL, "what is drawn again", unit="levels", at=at)
    if again.unknown is None:
        return lines
    at = np.nonzero(again.unknown)
    lengths = np.linalg.norm(clip.normals[at] / 127.5 - 1, axis=-1)  # each byte is half a level off at most
    return lines + contradiction("normals", np.abs(lengths - 1), np.sqrt(3) * 0.5 / 127.5 + 1e-6, PIXEL, "unit length", at=at)


def _flow_off(clip: HandSequence, again: Again, moved: Bool[Array, "frames height width"]) -> list[str]:
    """Optical flow of what is drawn, and of the photo behind it."""
    flow, drawn = clip.flow_px, again.frames.flow_px
    if flow is None or drawn is None:
        return []
    photo = (clip.parts == PART_BACKGROUND) & ~moved
    photo[-1] = False  # nothing moves any more
    different = (flow[..., 0] != drawn[..., 0]) | (flow[..., 1] != drawn[..., 1])
    at = np.nonzero(different & ~photo & ~moved if again.unknown is None else different & ~photo & ~moved & ~again.unknown)
    off = np.abs(flow[at] - drawn[at]).max(-1, initial=0.0).astype(float)
    off = _without_slivers(off, again.slack.flow_px, again)
    lines = contradiction("flow", off, again.slack.flow_px, PIXEL, "how what is drawn again moves", unit="px", at=at)
    return lines + contradiction("flow", photo_motion_error(flow[:-1], photo[:-1]), PHOTO_PX, ("frame",), "the even motion of a photo", unit="px")


def _without_slivers(off: Float[Array, "pixels"], tolerance: float, again: Again) -> Float[Array, "pixels"]:
    """Nothing is off where no more pixels are than may show another surface."""
    few = again.slack.slivers * np.count_nonzero(again.depth)
    return np.zeros_like(off) if 0 < np.count_nonzero(off > tolerance) <= few else off


def _beside_edge(at: Places, drawn: tuple[Array, Array, Array | None], part: UInt[Array, "pixels"], depth: UInt[Array, "pixels"], again: Again) -> Bool[Array, "pixels"]:
    """Which pixels at an edge of what is `drawn` (parts, depth, unknown) have a part that is drawn beside them, about as deep as there, or see nothing through a
    gap between two surfaces."""
    parts, depths, unknown = drawn
    frame, row, column = at
    near = [(frame, (row + dy).clip(0, parts.shape[1] - 1), (column + dx).clip(0, parts.shape[2] - 1)) for dy, dx in NEIGHBOURS]
    parts_near, depth_near, relief = (np.stack([picture[place] for place in near]).astype(int) for picture in (parts, depths, again.depth))
    same, own = parts_near == part, part == parts[at]
    low, high = np.where(same, depth_near, 1 << 20).min(0), np.where(same, depth_near, -1).max(0)
    reach = np.where(own, again.slack.counts, ROUND_COUNTS)
    as_deep = same.any(0) & (depth.astype(int) >= low - reach) & (depth.astype(int) <= high + reach)
    gap = (((part == PART_BACKGROUND) & (depth == 0)) | (again.slack.slivers > 0)) & (np.ptp(relief, axis=0) > GAP_COUNTS)
    edge = ~own | (high - low > GAP_COUNTS)
    if unknown is not None:
        edge |= np.stack([unknown[place] for place in near]).any(0)
    return (as_deep & edge) | gap


def _too_many(what: str, at: Places, moved: Bool[Array, "pixels"], drawn: Array, slack: Slack) -> list[str]:
    """A line when more pixels are on the other side of an edge than rounding can move."""
    found = np.count_nonzero(moved)
    if found <= FEW:
        return []
    edges = np.count_nonzero(drawn[:, 1:] != drawn[:, :-1]) + np.count_nonzero(drawn[:, :, 1:] != drawn[:, :, :-1])
    allowed = max(FEW, slack.edges * edges)
    worst = np.bincount(at[0][moved]).argmax()
    return [f"{what}, frame {worst}: {found} pixels of the clip are beyond an edge drawn again, where rounding moves {allowed:.0f}"] if found > allowed else []
