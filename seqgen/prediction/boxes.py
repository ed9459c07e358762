"""Where to look for the hand in each frame of a stream: in a box that is given, found, or followed from the frame before.

    a frame with a box of its own (labels, a file)      given       that box
    every `look_every` frames, and after a miss         found       what the localiser finds; where it overlaps the followed box by half: followed, their mean
    else                                                followed    the box about the joints predicted in the frame before
    the localiser finds nothing                         lost        the last box, `lost_after` frames long
    no box, or none any more                            picture     the largest square in the middle of the picture

Following costs nothing and moves smoothly. But an estimator says nothing of whether there is a hand at all, and one that always says hands are a little too
large would make the next box larger, and so on: so the localiser has to confirm it now and then, and from frame to frame a box changes by little.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float32

from seqgen.benchmarks.pinhole import box_around_joints
from seqgen.errors import UserError
from seqgen.prediction.frames import Frame
from seqgen.prediction.localise import Box, Localiser

Array = np.ndarray
BoxFrom = Literal["given", "found", "followed", "lost", "picture"]

STILL_THE_SAME = 0.5  # least overlap (intersection over union) of a found box with the followed one
MOST_GROWTH = 1.05  # of a followed box in a frame: at 30 frames a second a hand that comes four times as near in a second
MOST_SHIFT = 0.5  # of its middle, as a share of its longer edge
MOST_PX = 1e6  # of a coordinate in a file of boxes
LEAST_SIDE_PX = 4.0  # a smaller box about predicted joints is no hand


@dataclass(frozen=True)
class Following:
    """How a hand is kept in view, in frames."""

    look_every: int = 5
    lost_after: int = 5


@dataclass(frozen=True)
class Track:
    """The box of a frame, where it is from, for how many frames nobody has looked, and how many times in a row nothing was found."""

    box_px: Box | None = None
    box_from: BoxFrom = "picture"
    unconfirmed: int = 0
    missed: int = 0

    @property
    def is_found(self) -> bool:
        """Whether there is a box that was not lost."""
        return self.box_from in ("given", "found", "followed")


def next_track(track: Track, frame: Frame, find_hand: Localiser | None, following: Following) -> Track:
    """Where to look in a frame that follows `track`, whose box is already that about the joints predicted last."""
    if frame.box_px is not None:
        return Track(frame.box_px, "given")
    if find_hand is None or (track.is_found and track.unconfirmed + 1 < following.look_every):
        return Track() if track.box_px is None else replace(track, box_from="followed", unconfirmed=track.unconfirmed + 1)
    found = find_hand(frame.rgb)
    if found is not None:
        same = track.is_found and track.box_px is not None and overlap(found, track.box_px) >= STILL_THE_SAME
        return Track((found + track.box_px) / 2, "followed") if same else Track(found, "found")
    missed = track.missed + 1
    return Track(track.box_px, "lost", missed=missed) if track.box_px is not None and missed <= following.lost_after else Track(missed=missed)


def follow_joints(track: Track, joints_px: Float32[Array, "joints 2"], joints_m: Float32[Array, "joints 3"], size: tuple[int, int]) -> Track:
    """`track` with the box about joints predicted in it. Joints that make no hand or lie outside the picture (width, height) are not followed."""
    if not track.is_found or track.box_px is None:
        return track
    box = box_around_joints(joints_px[None], joints_m[None])[0]
    inside = np.clip(box, -0.5, np.tile(size, 2) - 0.5)
    if (box[2:] - box[:2]).max() < LEAST_SIDE_PX or (inside[2:] <= inside[:2]).any():
        return Track(missed=track.missed)
    return replace(track, box_px=_limited(box, track.box_px))


def _limited(box: Box, before: Box) -> Box:
    """`box`, its size and place no farther from those of the frame before than a hand's can be."""
    edge, edge_before = (float((one[2:] - one[:2]).max()) for one in (box, before))
    middle, middle_before = ((one[:2] + one[2:]) / 2 for one in (box, before))
    half = (box[2:] - box[:2]) / 2 * (np.clip(edge, edge_before / MOST_GROWTH, edge_before * MOST_GROWTH) / max(edge, 1e-6))
    middle = middle_before + np.clip(middle - middle_before, -MOST_SHIFT * edge_before, MOST_SHIFT * edge_before)
    return np.concatenate([middle - half, middle + half]).astype(np.float32)


def overlap(first: Box, second: Box) -> float:
    """Intersection over union."""
    sides = np.minimum(first[2:], second[2:]) - np.maximum(first[:2], second[:2])
    shared = float(np.prod(np.maximum(sides, 0)))
    return shared / max(float(np.prod(first[2:] - first[:2]) + np.prod(second[2:] - second[:2])) - shared, 1e-9)


def read_boxes(path: Path) -> dict[str, Box]:
    """A JSON file {frame's name: [x0, y0, x1, y1]}, pixels of the picture. UserErrors name what is wrong."""
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: cannot be read as a file of boxes ({getattr(error, 'strerror', None) or error}); expected JSON: {{name: [x0, y0, x1, y1]}}") from None
    if not isinstance(content, dict):
        raise UserError(f"{path}: is not a table of boxes; expected JSON: {{name: [x0, y0, x1, y1]}}")
    return {name: _checked_box(path, name, values) for name, values in content.items()}


def _checked_box(path: Path, name: str, values: object) -> Box:
    numbers = isinstance(values, list) and len(values) == 4 and all(type(value) in (int, float) and abs(value) < MOST_PX for value in values)
    box = np.array(values if numbers else [0] * 4, np.float32)
    if not (box[2:] > box[:2]).all():
        raise UserError(f"{path}: the box of {name} is {values}; expected four numbers x0, y0, x1, y1 with x0 < x1 and y0 < y1")
    return box


def with_boxes(frames: Iterable[Frame], boxes: Mapping[str, Box]) -> Iterator[Frame]:
    """The frames with the boxes of a file, and no others."""
    for frame in frames:
        yield replace(frame, box_px=boxes.get(frame.name))


def check_names(boxes: Iterable[str], names: Iterable[str], *, where: Path, listed: str = "predictions.json") -> None:
    """A UserError when boxes are named that are not among the frames' names, which are `listed` there."""
    unknown = sorted(set(boxes) - set(names))
    if unknown:
        more = f" and {len(unknown) - 1} more" if unknown[1:] else ""
        raise UserError(f"{where}: has a box for {unknown[0]}{more}, which the input does not have; names are those in {listed}")
