"""What the centre network is taught with: depth crops about centres of mass of seqgen's clips, and the way from there to the middle of the joints.

    frame ──> a cube's edge drawn ──> start: the centre of mass of the labelled box, of the whole picture, or of what is near the joints; or near the joints themselves
          ──> shifted, turned in the picture ──> crop

The starts are what evaluation begins with, what a prediction begins with, often an arm, and what they come to. From where the joints are out of reach a lesson is
a step towards them: along the arm. Does not know: training, files other than data sets.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32, Float64, UInt8

from seqgen.dataset import Dataset
from seqgen.dataset.clip import LabelledClip, PictureKind
from seqgen.dataset.clips import DatasetClips
from seqgen.estimators.centre import EDGE_M, centre_crops
from seqgen.estimators.views.cube import FEWEST_POINTS, CubeConfig, Cubes, mass_of_points, picture_points
from seqgen.estimators.views.depth_sample import find_cubes

Array = np.ndarray

SHIFT_M = 0.02  # most that the start moves along each axis
NEAR_M = 0.02  # standard deviation, along each axis, of a place near the joints
FARTHEST = 1.0  # half cubes along an axis: the longest step that is taught
NOTHING = 255  # level of pixels without a hand


@dataclass(frozen=True)
class Lessons:
    """Crops in steps of a 127th of half a cube, 1 mm (`as_levels`), and the offsets that the network should say, half cubes."""

    levels: UInt8[Array, "lessons 96 96"]
    offset: Float32[Array, "lessons 3"]


def gather_lessons(datasets: Iterable[Dataset], rng: np.random.Generator, *, looks: int) -> Lessons:
    """So many looks at every frame, at its clean depth and at its sensor's, if there is one."""
    found = [lesson for dataset in datasets for clip in depth_clips(dataset) for lesson in lessons_of_clip(clip, rng, looks)]
    levels, offset = zip(*found, strict=True)
    return Lessons(np.stack(levels), np.stack(offset).astype(np.float32))


def depth_kinds(dataset: Dataset) -> tuple[PictureKind, ...]:
    """The kinds of depth that a data set has."""
    return ("depth",) if all(row.depth_sensor == "none" for row in dataset.rows) else ("depth", "depth_sensor")


def depth_clips(dataset: Dataset) -> Iterator[LabelledClip]:
    """All clips, once with each kind of depth."""
    for kind in depth_kinds(dataset):
        source = DatasetClips(dataset, pictures=(kind,))
        yield from (source.read(position) for position in range(len(source)))


def as_levels(crops: Float32[Array, "crops 96 96"]) -> UInt8[Array, "crops 96 96"]:
    """Crops in 256 levels; those of nothing, and only those, have the last."""
    return np.where(crops < 1, np.minimum(np.rint((crops + 1) * 127.5), NOTHING - 1), NOTHING).astype(np.uint8)


def lessons_of_clip(clip: LabelledClip, rng: np.random.Generator, looks: int) -> Iterator[tuple[UInt8[Array, "96 96"], Float64[Array, "3"]]]:
    """Those looks at the clip's frames that a network can learn from."""
    middles = find_cubes(clip, CubeConfig(centre="joints")).centre_m
    for frame, middle_m in enumerate(middles):
        depth, intrinsics, left = clip.depth_tenth_mm[frame], clip.intrinsics[frame].astype(float), clip.side == "left"
        everything = picture_points(depth, intrinsics, clip.camera_kind)
        boxed = picture_points(depth, intrinsics, clip.camera_kind, clip.box_px[frame])
        for _ in range(looks):
            edge_m = rng.uniform(*EDGE_M)
            start_m = _start(everything, boxed, middle_m, edge_m, rng)
            if start_m is None:
                continue
            turn_rad = rng.uniform(-np.pi, np.pi)
            crops, turn = centre_crops(Cubes(start_m[None], np.array([edge_m])), depth[None], intrinsics[None], clip.camera_kind, left=left, turn_rad=turn_rad)
            if (crops < 1).sum() >= FEWEST_POINTS:
                offset = 2 * (middle_m - start_m) / edge_m
                offset *= min(1.0, FARTHEST / np.abs(offset).max())
                yield as_levels(crops)[0], np.concatenate([turn[0] @ offset[:2], offset[2:]])


def _start(
    everything: Float[Array, "points 3"], boxed: Float[Array, "boxed 3"], middle_m: Float[Array, "3"], edge_m: float, rng: np.random.Generator
) -> Float[Array, "3"] | None:
    """One of the starts, moved a little; None where there is no such centre of mass."""
    way, near_m, shift_m = rng.integers(4), middle_m + rng.normal(0, NEAR_M, 3), rng.uniform(-SHIFT_M, SHIFT_M, 3)
    if way == 0:
        return near_m
    mass_m = mass_of_points(boxed, edge_m) if way == 1 else mass_of_points(everything, edge_m, None if way == 2 else near_m)
    return None if mass_m is None else mass_m + shift_m
