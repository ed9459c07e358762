"""Where the hand stands in the picture: a camera and the wrist's way before it.

The hand is placed by its outline as it is turned, not by its wrist: at the first and the last frame the outline's middle and longer side are what was
drawn, and between them the wrist glides.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from seqgen.camera import Camera, intrinsics_from_fov
from seqgen.errors import UserError
from seqgen.scene.view.camera_models import CAMERA_MODELS, intrinsics_of
from seqgen.scene.view.framing import NEAREST_M, box_of, move_in, origin_for_box
from seqgen.scene.view.own_arm import REACH_M
from seqgen.scene.view.view import CameraConfig, View, eased

Array = np.ndarray
NOMINAL_DISTANCE_M = 0.5  # of the wrist in a weak-perspective camera, which cannot know it
FARTHEST_M = 6.0  # no wrist is drawn farther away: depth pictures hold 6.5 m
AT_EDGE = 0.3  # in a clip that may leave the picture, the outline's middle is at most this share of its longer side from an edge
WEAK_FOCAL_PX = 1e5  # any will do; with this one nothing is near


@dataclass(frozen=True)
class Placement:
    """A camera and where the wrist stands in its frame."""

    camera: Camera
    wrist_m: Float[Array, "frames 3"]


@dataclass(frozen=True)
class Composition:
    """What is drawn for a picture: the intrinsics, where the outline's middle is and how long its longer side, and the bounds of that; all px."""

    matrix: Float[Array, "3 3"]
    middle: Float[Array, "2"]
    extent: float
    bounds: tuple[float, float]

    def slopes(self, px: Float[Array, "*batch 2"]) -> Float[Array, "*batch 2"]:
        """Slopes of the rays to pixels."""
        return (px - self.matrix[:2, 2]) / np.diag(self.matrix)[:2]

    def picture(self, size: tuple[int, int]) -> tuple[Float[Array, "2"], Float[Array, "2"]]:
        """Slopes of the first and the last pixels' centres."""
        return self.slopes(np.zeros(2)), self.slopes(np.array(size) - 1.0)

    def origin(self, outlines: Float[Array, "frames 3 vertices"], middles: Float[Array, "frames 2"], extents: Float[Array, "frames"]) -> Float[Array, "frames 3"]:
        """Where outlines stand so that their boxes are as wanted."""
        return origin_for_box(outlines, self.slopes(middles), extents[:, None] / np.diag(self.matrix)[:2])


def place_hand(config: CameraConfig, view: View, outline_m: Float[Array, "frames vertices 3"], *, size: tuple[int, int], fps: float, rng: np.random.Generator) -> Placement:
    """A camera and wrist positions for `outline_m`: vertices about the wrist, already turned into the camera frame.

    In every frame all of the hand is inside the picture: where it would swing out it is moved in and, if need be, away. Only in a share of
    `camera.outside` clips it is not, and stands at an edge. Raises UserError for an outline that is not finite.
    """
    outlines = checked_outlines(config, outline_m)
    within_m = REACH_M[1] if view.viewpoint == "egocentric" else FARTHEST_M
    composition = draw_composition(config, outlines[len(outlines) // 2], size, rng, within_m=within_m)
    middles, extents, leaves = _draw_ends(config, composition, size, (len(outlines) - 1) / fps, rng)
    ends, picture = outlines[[0, -1]], None if leaves else composition.picture(size)
    wrist = composition.origin(ends, middles, extents)
    wrist = np.concatenate([move_in(wrist[[end]], ends[[end]], picture) for end in (0, 1)])
    wrist = move_in(_glide(wrist, eased(len(outlines))), outlines, picture)
    if config.kind == "perspective":  # bounds that nothing else can meet: the hand comes nearer along its rays until depth pictures hold it
        wrist = wrist * min(1.0, FARTHEST_M / wrist[:, 2].max())
    return Placement(*as_camera(config, wrist, composition.matrix, size))


def checked_outlines(config: CameraConfig, outline_m: Float[Array, "frames vertices 3"]) -> Float[Array, "frames 3 vertices"]:
    """The outline as the camera's kind sees it, for `framing`: weak perspective sees no depth."""
    seen = outline_m.transpose(0, 2, 1).astype(float, order="C")  # a copy in any case
    if not np.isfinite(seen).all():
        raise UserError("camera: the posed hand has vertices that are not finite; mend or remove the poses it was made from")
    if config.kind == "weak_perspective":
        seen[:, 2] = 0.0
    return seen


def draw_composition(config: CameraConfig, outline: Float[Array, "3 vertices"], size: tuple[int, int], rng: np.random.Generator, *, within_m: float = FARTHEST_M) -> Composition:
    """Intrinsics, and where and how large the outline stands in the picture.

    Its longer side is drawn evenly between the outline's bounds, and a free camera's field of view evenly too, wide enough for an outline of that size
    `within_m`. With `camera.model` the wrist's distance is drawn instead, evenly in its logarithm, from the model's range as far as the bounds allow.
    """
    side, last = min(size), np.array(size) - 1.0
    fov_share, share, off = rng.random(), rng.random(), np.clip(rng.standard_normal(2), -2, 2)
    middle = last / 2 + config.off_centre * side * off
    least, most = side * np.array(config.outline_bounds())
    wanted = least + share * (most - least)
    if config.kind == "weak_perspective":
        return Composition(np.array([[WEAK_FOCAL_PX, 0, last[0] / 2], [0, WEAK_FOCAL_PX, last[1] / 2], [0, 0, 1]]), middle, wanted, (least, most))
    near, far = CAMERA_MODELS[config.model].range_m if config.model != "free" else (NEAREST_M, within_m)
    slopes = _longer_slopes(outline, np.array([near, far, near * (far / near) ** share, FARTHEST_M]))
    matrix = _free_intrinsics(config, fov_share, wanted / slopes[1], size) if config.model == "free" else intrinsics_of(CAMERA_MODELS[config.model], size)
    nearest, farthest, drawn = np.maximum(np.clip(matrix[0, 0] * slopes[:3], least, most), matrix[0, 0] * slopes[3])
    extent = np.clip(wanted, farthest, nearest) if config.model == "free" else drawn
    return Composition(matrix, middle, float(extent), (float(farthest), float(nearest)))


def as_camera(config: CameraConfig, origins: Float[Array, "frames 3"], matrix: Float[Array, "3 3"], size: tuple[int, int]) -> tuple[Camera, Float[Array, "frames 3"]]:
    """The camera, and the origins' places in its frame; weak perspective shows their way by its scale and shift, and they stay on the axis."""
    intrinsics = np.repeat(matrix[None], len(origins), 0)
    if config.kind == "perspective":
        return Camera("perspective", intrinsics, size), origins
    scales = matrix[0, 0] / origins[:, 2]
    intrinsics[:, 0, 0] = intrinsics[:, 1, 1] = scales
    intrinsics[:, :2, 2] += scales[:, None] * origins[:, :2]
    return Camera("weak_perspective", intrinsics, size), np.repeat([[0.0, 0.0, NOMINAL_DISTANCE_M]], len(origins), 0)


def _free_intrinsics(config: CameraConfig, share: float, longest_px: float, size: tuple[int, int]) -> Float[Array, "3 3"]:
    """A pinhole with a field of view between the bounds, as far as they allow without a focal length over `longest_px`."""
    narrowest, widest = np.radians(config.fov_deg)
    narrowest = np.clip(2 * np.arctan(min(size) / 2 / longest_px), narrowest, widest)
    return intrinsics_from_fov(narrowest + share * (widest - narrowest), size)


def _longer_slopes(outline: Float[Array, "3 vertices"], distances: Float[Array, "distances"]) -> Float[Array, "distances"]:
    """Longer side, as a difference of slopes, of an outline whose origin is on the axis at some distances, or as near as NEAREST_M allows."""
    distances = np.maximum(distances, NEAREST_M - outline[2].min())
    low, high = box_of(np.broadcast_to(outline, (len(distances), *outline.shape)), distances[:, None] * [0.0, 0.0, 1.0])
    return (high - low).max(1)


def _draw_ends(config: CameraConfig, composition: Composition, size: tuple[int, int], seconds: float, rng: np.random.Generator) -> tuple[Array, Array, bool]:
    """Middles (2, 2) and longer sides (2,) of the outline's boxes at the first and the last frame, px, and whether the hand may leave the picture."""
    halves, last = np.array([-0.5, 0.5]), np.array(size) - 1.0
    extents = np.clip(composition.extent * np.exp(halves * config.approach * seconds * rng.standard_normal()), *composition.bounds)
    way = halves[:, None] * config.drift * min(size) * seconds * rng.standard_normal(2)
    at_edge, leaves = _draw_middle_at_edge(composition, last, rng), bool(rng.random() < config.outside)
    if leaves:
        return np.clip(at_edge + way, 0, last), extents, True
    margin = extents[:, None] / 4  # roughly inside already, so that moving in changes little
    return np.clip(composition.middle + way, margin, last - margin), extents, False


def _draw_middle_at_edge(composition: Composition, last: Float[Array, "2"], rng: np.random.Generator) -> Float[Array, "2"]:
    """The drawn middle moved to the left, right, upper or lower edge."""
    axis, far_side, distance = rng.integers(2), rng.integers(2), rng.uniform(0, AT_EDGE) * composition.extent
    middle = composition.middle.copy()
    middle[axis] = last[axis] - distance if far_side else distance
    return middle


def _glide(ends: Float[Array, "2 3"], way: Float[Array, "frames"]) -> Float[Array, "frames 3"]:
    """Evenly in the picture and in the logarithm of depth."""
    seen, depth = ends[:, :2] / ends[:, 2:], np.log(ends[:, 2])
    depths = np.exp(depth[0] + way * (depth[1] - depth[0]))[:, None]
    return np.concatenate([(seen[0] + way[:, None] * (seen[1] - seen[0])) * depths, depths], 1)
