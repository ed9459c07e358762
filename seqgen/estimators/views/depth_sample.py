"""From clips to what estimators of depth are given: a cube about the hand in each frame, as a depth picture or as points, with its labels.

    clip ──> Cubes: centre given, found or refined ──> square of the picture ──> crop, turned, mirrored for left hands ──> depth or points, labels

Labels go along with the crop as in `sample`. A frame with an empty cube has no valid joint and is not `usable`. Knows no files.
"""

from dataclasses import replace
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Float32, UInt16

from seqgen.camera import CameraKind
from seqgen.dataset.clip import LabelledClip
from seqgen.errors import UserError
from seqgen.estimators.centre import refined, shipped_network
from seqgen.estimators.views.crop import crop_from_picture, scale_and_turn
from seqgen.estimators.views.cube import FEWEST_POINTS, CubeConfig, Cubes, centre_of_mass, cloud, cube_squares, depth_crop, draw_points
from seqgen.estimators.views.sample import Sample, flip_of_crop, labels_of

Array = np.ndarray

NOWHERE_M = np.array([0, 0, 0.5])  # the cube of a clip in which nothing has been found yet


class Shown(NamedTuple):
    """What a network sees of frames, arrays as in a `View`; with the map to the crop, mirrored for left hands, and the camera's turn in it."""

    arrays: dict[str, Array]
    crop_from_picture: Float[Array, "frames 3 3"]
    turn: Float[Array, "frames 2 2"]


def make_depth_sample(
    clip: LabelledClip,
    input: CubeConfig,
    *,
    cubes: Cubes | None = None,
    turn_rad: float = 0.0,
    rng: np.random.Generator | None = None,
    hand: str | None = None,
) -> Sample:
    """The clip as a depth network sees it; of a left hand, the mirror image.

    `cubes`: where to look, before any mirroring; None is what `input` says. `turn_rad`: of the picture about the cube's centre, clockwise as one sees it.
    `rng` draws the points; None: the same generator anew for each frame, so that a frame's points depend on nothing but the frame.
    `hand`: as in `sample.make_sample`. UserError for a clip without depth or without a camera.
    """
    depth, intrinsics = _needed(clip)
    cubes = find_cubes(clip, input) if cubes is None else cubes
    shown = show(depth, intrinsics, clip.camera_kind, cubes, input, left=clip.side == "left", turn_rad=turn_rad, rng=rng)
    labels = labels_of(clip, shown.crop_from_picture, shown.turn, input.joints, hand=hand)
    labels["joints_valid"] = labels["joints_valid"] & shown.arrays["usable"][:, None]
    return Sample(key=clip.key, side=clip.side, **shown.arrays, **labels)


def show(
    depth_tenth_mm: UInt16[Array, "frames height width"],
    intrinsics: Float[Array, "frames 3 3"],
    kind: CameraKind,
    cubes: Cubes,
    input: CubeConfig,
    *,
    left: bool = False,
    turn_rad: float = 0.0,
    rng: np.random.Generator | None = None,
) -> Shown:
    """The cubes of depth pictures as the network sees them, of left hands in the mirror."""
    crop = crop_from_picture(cube_squares(cubes, intrinsics, kind), input.size, turn_rad=turn_rad)
    seen = flip_of_crop(input.size) @ crop if left else crop
    _, turn = scale_and_turn(seen)
    if input.kind == "points":
        points, usable = _points(depth_tenth_mm, intrinsics, kind, cubes, turn, input, rng)
        shown = {"points": points}
    else:
        crops = depth_crop(depth_tenth_mm, seen, cubes, input.size)
        usable = (np.abs(crops) < 1).sum((1, 2)) >= FEWEST_POINTS
        shown = {"depth": crops}
    centre = np.concatenate([np.einsum("tij,tj->ti", turn, cubes.centre_m[:, :2]), cubes.centre_m[:, 2:]], 1)
    place = {"centre_m": centre.astype(np.float32), "cube_m": cubes.edge_m.astype(np.float32), "usable": usable}
    return Shown({**shown, **place}, seen, turn)


def find_cubes(clip: LabelledClip, input: CubeConfig) -> Cubes:
    """The cubes that `input` asks for. A frame in which nothing is found gets the place of the one before, or half a metre before the camera."""
    edge_m = np.full(len(clip.joints_m), input.cube_mm / 1e3)
    if input.centre == "joints":
        return Cubes(_mean_joints(clip), edge_m)
    depth, intrinsics = _needed(clip)
    found, centre_m = _masses(depth, intrinsics.astype(float), clip, input.cube_mm / 1e3)
    if not found.any():
        return Cubes(np.tile(NOWHERE_M, (len(found), 1)), edge_m)
    cubes = Cubes(centre_m, edge_m[found])
    if input.centre == "refined":
        cubes = refined(cubes, depth[found], intrinsics[found], clip.camera_kind, left=clip.side == "left", network=shipped_network())
    before = np.cumsum(found) - 1  # the last one found, among those found; -1 before the first
    return Cubes(np.where(before[:, None] < 0, NOWHERE_M, cubes.centre_m[before]), edge_m)


def _masses(
    depth_tenth_mm: UInt16[Array, "frames height width"], intrinsics: Float[Array, "frames 3 3"], clip: LabelledClip, edge_m: float
) -> tuple[Bool[Array, "frames"], Float[Array, "found 3"]]:
    """Where there is a centre of mass in the labelled box, and those that there are."""
    frames = zip(depth_tenth_mm, intrinsics, clip.box_px, strict=True)
    masses = [centre_of_mass(picture, own, clip.camera_kind, edge_m, box_px) for picture, own, box_px in frames]
    centres = [mass for mass in masses if mass is not None]
    return np.array([mass is not None for mass in masses]), np.array(centres).reshape(-1, 3)


def _mean_joints(clip: LabelledClip) -> Float[Array, "frames 3"]:
    """The mean of each frame's valid joints; of a frame without any, that of the nearest frame that has some."""
    valid = clip.joints_valid[..., None]
    count = clip.joints_valid.sum(1)
    means = np.where(valid, clip.joints_m, 0).sum(1) / np.maximum(count, 1)[:, None]
    known = np.flatnonzero(count)
    if len(known) == 0:
        raise UserError(f"{clip.source}: clip {clip.key}: no joint has a label, so there is no centre to look at; give input.centre mass or refined")
    nearest = known[np.abs(np.arange(len(count))[:, None] - known).argmin(1)]
    return means[nearest].astype(float)


def _needed(clip: LabelledClip) -> tuple[Array, Float32[Array, "frames 3 3"]]:
    """What no depth network can do without."""
    if clip.depth_tenth_mm is None:
        raise UserError(f"{clip.source}: clip {clip.key} has no depth pictures; give a data set with depth to a network of depth")
    if clip.intrinsics is None:
        raise UserError(f"{clip.source}: clip {clip.key}: its camera is not known, so its depth has no place in space; give labels with intrinsics")
    return clip.depth_tenth_mm, clip.intrinsics


def _points(
    depth_tenth_mm: UInt16[Array, "frames height width"],
    intrinsics: Float[Array, "frames 3 3"],
    kind: CameraKind,
    cubes: Cubes,
    turn: Float[Array, "frames 2 2"],
    input: CubeConfig,
    rng: np.random.Generator | None,
) -> tuple[Float32[Array, "frames points 3"], Bool[Array, "frames"]]:
    """Points of every frame, and where there are enough; where there are not, all lie in the centre."""
    points = np.zeros((len(turn), input.num_points, 3), np.float32)
    usable = np.zeros(len(turn), bool)
    for frame, own_turn in enumerate(turn):
        all_points = cloud(depth_tenth_mm[frame], intrinsics[frame].astype(float), kind, cubes.centre_m[frame], float(cubes.edge_m[frame]), own_turn)
        usable[frame] = len(all_points) >= FEWEST_POINTS
        if usable[frame]:
            drawing = np.random.default_rng(0) if rng is None else rng
            points[frame] = draw_points(all_points, input.num_points, drawing, replacement=input.replacement)
    return points, usable


def shifted(cubes: Cubes, by_m: Float[Array, "3"], factor: float) -> Cubes:
    """The cubes moved, all in the same way, and made larger."""
    return replace(cubes, centre_m=cubes.centre_m + by_m, edge_m=cubes.edge_m * factor)
