"""Where a network of depth looks: a cube about the hand in each frame, and what of a depth picture is in it.

    Cubes        centre_m (T,3) camera frame, edge_m (T,)
    its square   the face of the cube at the centre's depth, as the camera sees it
    depth crop   the square brought to the network's size by the nearest pixel, for means of depths are depths of nothing:
                 (z - centre's z) over half the edge, 1 where nothing is and behind the cube, -1 before it
    cloud        all pixels' points that lie in the cube, (p - centre) over the edge

The centre is given (the mean of the labelled joints), or found: the centre of mass of what is nearest to the camera, as Oberweger and Lepetit
(DeepPrior++, ICCV Workshops 2017) take it; `estimators.centre` refines it. Knows nothing of labels and networks; numpy only.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, Float32, UInt16
from pydantic import Field

from seqgen.camera import CameraKind
from seqgen.config import Section
from seqgen.dataset.sequence import DEPTH_UNIT_M
from seqgen.joint_targets import JointSetName

Array = np.ndarray

FEWEST_POINTS = 16  # in a cube: fewer are no hand
NEAREST_SHARE = 0.01  # of the pixels with a depth that may be nearer than the hand: noise
ROUNDS = 5  # of moving the cube to the mean of what is in it; three suffice where only the hand is near


class CubeConfig(Section):
    kind: Literal["depth", "points"] = "depth"
    """what the network is shown of the cube: a depth picture, or points"""
    size: int = Field(128, ge=16, le=1024)
    """side of the depth picture, pixels"""
    num_points: int = Field(1024, ge=16, le=65536)
    """how many points"""
    replacement: bool = False
    """draw points with replacement, as HandR2N2's published code does: of 1,024 some 650 differ"""
    cube_mm: float = Field(250.0, ge=50, le=1000)
    """edge of the cube about the hand"""
    centre: Literal["joints", "mass", "refined"] = "joints"
    """where its middle is: the mean of the labelled joints, the centre of mass of what is nearest, or that moved to the joints by a taught network"""
    depth: Literal["clean", "sensor"] = "clean"
    """which depth of our data sets: as it truly is, or as their depth camera saw it"""
    joints: JointSetName = "canonical"
    """the joints that are taught: 21, 21 in MSRA's order, 14 as NYU's, 16 as ICVL's"""


@dataclass(frozen=True)
class Cubes:
    """A cube a frame, drawn above."""

    centre_m: Float[Array, "frames 3"]
    edge_m: Float[Array, "frames"]


def cube_squares(cubes: Cubes, intrinsics: Float[Array, "frames 3 3"], kind: CameraKind) -> Float[Array, "frames 3"]:
    """Centre x, y and side in pixels of the squares. Of cameras with two focal lengths their geometric mean counts: a square stays a square."""
    near = cubes.centre_m[:, :2] / cubes.centre_m[:, 2:] if kind == "perspective" else cubes.centre_m[:, :2]
    centre = np.einsum("tij,tj->ti", intrinsics[:, :2, :2], near) + intrinsics[:, :2, 2]
    focal = np.sqrt(np.abs(np.linalg.det(intrinsics[:, :2, :2])))
    side = cubes.edge_m * (focal / cubes.centre_m[:, 2] if kind == "perspective" else focal)
    return np.concatenate([centre, side[:, None]], 1)


def depth_crop(
    depth_tenth_mm: UInt16[Array, "frames height width"], crop_from_picture: Float[Array, "frames 3 3"], cubes: Cubes, size: int
) -> Float32[Array, "frames size size"]:
    """The depth pictures of the squares, drawn above."""
    height, width = depth_tenth_mm.shape[1:]
    grid = np.stack([*np.meshgrid(np.arange(size), np.arange(size)), np.ones((size, size))], -1).reshape(-1, 3)
    place = np.floor(np.einsum("tij,nj->tni", np.linalg.inv(crop_from_picture)[:, :2], grid) + 0.5).astype(int)
    inside = ((place >= 0) & (place < (width, height))).all(-1)
    x, y = np.where(inside[..., None], place, 0).transpose(2, 0, 1)
    there = np.where(inside, depth_tenth_mm[np.arange(len(x))[:, None], y, x], 0)
    d = (there * DEPTH_UNIT_M - cubes.centre_m[:, 2:]) / (cubes.edge_m[:, None] / 2)
    return np.where(there > 0, np.clip(d, -1, 1), 1).astype(np.float32).reshape(-1, size, size)


def cloud(
    depth_tenth_mm: UInt16[Array, "height width"],
    intrinsics: Float[Array, "3 3"],
    kind: CameraKind,
    centre_m: Float[Array, "3"],
    edge_m: float,
    turn: Float[Array, "2 2"] | None = None,
) -> Float32[Array, "points 3"]:
    """Points of one frame that lie in the cube, row by row. `turn`: of the camera about its axis, a reflection too; `centre_m` is before it, the cube's faces after."""
    rows, columns = _square_pixels(depth_tenth_mm.shape, intrinsics, kind, centre_m, edge_m)
    region = depth_tenth_mm[rows, columns]
    y, x = np.nonzero(region)
    points = unprojected(np.stack([x + columns.start, y + rows.start], 1), region[y, x] * DEPTH_UNIT_M, intrinsics, kind)
    normalised = (points - centre_m) / edge_m
    if turn is not None:
        normalised = np.concatenate([normalised[:, :2] @ turn.T, normalised[:, 2:]], 1)
    return normalised[(np.abs(normalised) <= 0.5).all(1)].astype(np.float32)


def unprojected(pixels: Float[Array, "points 2"] | Array, z_m: Float[Array, "points"], intrinsics: Float[Array, "3 3"], kind: CameraKind) -> Float[Array, "points 3"]:
    """Points of the camera frame at pixels with depth."""
    near = (pixels - intrinsics[:2, 2]) @ np.linalg.inv(intrinsics[:2, :2]).T
    return np.concatenate([near * z_m[:, None] if kind == "perspective" else near, z_m[:, None]], 1)


def _square_pixels(shape: tuple[int, int], intrinsics: Array, kind: CameraKind, centre_m: Array, edge_m: float) -> tuple[slice, slice]:
    """Rows and columns of the picture that can show a part of the cube, turned any way about the camera's axis."""
    reach = edge_m / np.sqrt(2)
    corners = centre_m + np.array([(x, y, z) for x in (-reach, reach) for y in (-reach, reach) for z in (-edge_m / 2, edge_m / 2)])
    near = corners[:, :2] / np.maximum(corners[:, 2:], 1e-3) if kind == "perspective" else corners[:, :2]
    px = near @ intrinsics[:2, :2].T + intrinsics[:2, 2]
    spans = [slice(max(0, int(np.floor(low))), max(0, min(length, int(np.ceil(high)) + 1))) for low, high, length in zip(px.min(0), px.max(0), shape[::-1], strict=True)]
    return spans[1], spans[0]


def draw_points(points: Float32[Array, "points 3"], num: int, rng: np.random.Generator, *, replacement: bool = False) -> Float32[Array, "num 3"]:
    """So many of the points in random order; of fewer all, as often as they go, then some once more. ValueError of none."""
    if len(points) == 0:
        raise ValueError("there are no points to draw from")
    if replacement:
        return points[rng.integers(0, len(points), num)]
    whole, rest = divmod(num, len(points))
    return points[np.concatenate([np.tile(np.arange(len(points)), whole), rng.permutation(len(points))[:rest]]) if whole else rng.permutation(len(points))[:num]]


def centre_of_mass(
    depth_tenth_mm: UInt16[Array, "height width"],
    intrinsics: Float[Array, "3 3"],
    kind: CameraKind,
    edge_m: float,
    box_px: Float[Array, "4"] | None = None,
) -> Float[Array, "3"] | None:
    """`mass_of_points` of a depth picture, or of what a box (x0, y0, x1, y1) shows of it."""
    return mass_of_points(picture_points(depth_tenth_mm, intrinsics, kind, box_px), edge_m)


def picture_points(
    depth_tenth_mm: UInt16[Array, "height width"], intrinsics: Float[Array, "3 3"], kind: CameraKind, box_px: Float[Array, "4"] | None = None
) -> Float[Array, "points 3"]:
    """All points of a depth picture, or of what a box shows of it; metres, camera frame."""
    region, corner = depth_tenth_mm, np.zeros(2)
    if box_px is not None and (box_px[2:] > box_px[:2]).all():
        low, high = np.floor(np.maximum(box_px[:2], 0)).astype(int), np.ceil(np.maximum(box_px[2:], 0)).astype(int) + 1
        region, corner = depth_tenth_mm[low[1] : high[1], low[0] : high[0]], low
    y, x = np.nonzero(region)
    return unprojected(np.stack([x, y], 1) + corner, region[y, x] * DEPTH_UNIT_M, intrinsics, kind)


def nearest_slab(points_m: Float[Array, "points 3"], edge_m: float) -> Float[Array, "slab 3"]:
    """What lies within an edge's length behind the nearest points, but for the very nearest, which may be noise."""
    if len(points_m) == 0:
        return points_m
    nearest = np.quantile(points_m[:, 2], NEAREST_SHARE)
    return points_m[(points_m[:, 2] >= nearest) & (points_m[:, 2] <= nearest + edge_m)]


def mass_of_points(points_m: Float[Array, "points 3"], edge_m: float, start_m: Float[Array, "3"] | None = None) -> Float[Array, "3"] | None:
    """The mean of the points in a cube that is moved to it, beginning with the cube about `start_m`, or with `nearest_slab`. None where there is too little."""
    chosen = nearest_slab(points_m, edge_m) if start_m is None else points_inside(points_m, start_m, edge_m)
    for _ in range(ROUNDS):
        if len(chosen) < FEWEST_POINTS:
            return None
        chosen = points_inside(points_m, chosen.mean(0), edge_m)
    return chosen.mean(0) if len(chosen) >= FEWEST_POINTS else None


def points_inside(points_m: Float[Array, "points 3"], centre_m: Float[Array, "3"], edge_m: float) -> Float[Array, "inside 3"]:
    """Those in a cube."""
    return points_m[(np.abs(points_m - centre_m) <= edge_m / 2).all(1)]
