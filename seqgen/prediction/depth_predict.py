"""Predictions of networks of depth on a live stream: one frame is taken, its cube found, looked at and answered before the next one is asked for.

    centre of the cube     given      by labels, or a file
                           followed   the centre of mass near the joints of the frame before
                           found      the centre of mass of what is nearest to the camera, of a data set also of what is nearest in the labelled box
                           refined    found, or the joints' middle of the frame before, then moved to the joints' middle (`estimators.centre`), for networks that
                                      were taught with cubes about it; of point clouds, which have no picture, the centre of mass stays

A frame that cannot be used is answered with what is wrong with it, and the stream goes on. Left hands are shown to the estimator in a mirror, and what it says
is mirrored back. Does not know: files, where frames come from.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, Float32

from seqgen.errors import UserError
from seqgen.estimators.centre import refined, shipped_network
from seqgen.estimators.checkpoint import LoadedEstimator
from seqgen.estimators.estimator import device_of
from seqgen.estimators.views.crop import to_picture
from seqgen.estimators.views.cube import FEWEST_POINTS, CubeConfig, Cubes, draw_points, mass_of_points, nearest_slab, picture_points, points_inside
from seqgen.estimators.views.depth_sample import show
from seqgen.estimators.views.sample import about_z
from seqgen.estimators.views.view import View, to_device
from seqgen.joint_targets import JointSetName
from seqgen.prediction.depth_frames import DepthFrame

Array = np.ndarray
CentreFrom = Literal["given", "followed", "found", "followed, refined", "found, refined"]

FROM_LABELS: dict[str, CentreFrom] = {"joints": "given", "mass": "found", "refined": "found, refined"}  # of data sets, by input.centre: `find_cubes`
REFINED: dict[str, CentreFrom] = {"found": "found, refined", "followed": "followed, refined"}
PASSES = {"found": 5, "followed": 2}  # of refinement: what is nearest may be the elbow, and the network goes half a cube a pass; joints may be wrong (docs/benchmarks/centre.md)
WIDEST_M, NARROWEST_M = 1.5, 0.02  # of what is nearest, from edge to edge; a hand with its arm is between


@dataclass(frozen=True)
class DepthPrediction:
    """What is said of the hand in a frame, camera frame: `root_m` in space, joints from the root in metres, and in pixels of the picture where there is one.

    Or the problem that kept the frame from being used; then there is nothing else.
    """

    frame: DepthFrame
    side: str
    problem: str | None = None
    centre_m: Float[Array, "3"] | None = None
    centre_from: CentreFrom | None = None
    joints_px: Float32[Array, "joints 2"] | None = None
    joints_m: Float32[Array, "joints 3"] | None = None
    root_m: Float32[Array, "3"] | None = None
    joint_set: JointSetName = "canonical"

    def as_json(self) -> dict[str, Any]:
        """Plain values, rounded to a hundredth of a pixel and of a millimetre."""
        if self.problem is not None:
            return {"skipped": self.problem, "side": self.side}
        rounded = {name: (getattr(self, name), decimals) for name, decimals in (("joints_px", 2), ("joints_m", 5), ("root_m", 5), ("centre_m", 5))}
        numbers = {name: None if values is None else values.astype(float).round(decimals).tolist() for name, (values, decimals) in rounded.items()}
        return {**numbers, "centre_from": self.centre_from, "side": self.side}


def predict_depth_stream(
    loaded: LoadedEstimator, frames: Iterable[DepthFrame], *, side: str = "right", centres: Mapping[str, Float[Array, "3"]] | None = None
) -> Iterator[DepthPrediction]:
    """A prediction for each frame, as it comes. `side`: of frames that do not say it. `centres`: where the user says that the hand is, by frames' names.

    UserError for clouds to a network of depth pictures, and for a prediction that is not finite.
    """
    input, device = loaded.input, device_of(loaded.estimator)
    assert isinstance(input, CubeConfig)
    edge_m = input.cube_mm / 1e3
    before: tuple[str, str] | None = None
    last_m, state = None, None
    for frame in frames:
        own_side = frame.side or side
        if (frame.clip, own_side) != before:
            before, last_m, state = (frame.clip, own_side), None, None
        if frame.points_m is not None and input.kind != "points":
            raise UserError(f"frame {frame.name}: is a point cloud, but the network {loaded.estimator.name} sees depth pictures; give a folder of them")
        centre, centre_from, problem = find_centre(frame, input, left=own_side == "left", last_m=last_m, given_m=(centres or {}).get(frame.name))
        if problem is None:
            view, crop = _view_of(frame, centre, edge_m, input, left=own_side == "left")
            problem = None if bool(view.usable.all()) else f"there are fewer than {FEWEST_POINTS} points in the cube of {input.cube_mm:g} mm about its centre"
        if problem is not None:
            last_m = None
            yield DepthPrediction(frame, own_side, problem=problem)
            continue
        with torch.no_grad():
            said, state = loaded.estimator.step(to_device(view, device), state)
        arrays = {name: getattr(said, name)[0, 0].float().cpu().numpy() for name in ("joints_px", "joints_m", "root_m")}
        if not all(np.isfinite(arrays[name]).all() for name in ("joints_m", "root_m")):
            raise UserError(f"frame {frame.name}: the checkpoint's joints are not finite; take another checkpoint")
        mirror = np.array([-1 if own_side == "left" else 1, 1, 1], np.float32)
        joints_px = None if crop is None else to_picture(arrays["joints_px"][None], crop)[0].astype(np.float32)
        joints_m, root_m = arrays["joints_m"] * mirror, arrays["root_m"] * mirror
        last_m = (joints_m + root_m).mean(0).astype(float)
        yield DepthPrediction(frame, own_side, centre_m=centre, centre_from=centre_from, joints_px=joints_px, joints_m=joints_m, root_m=root_m, joint_set=input.joints)


def find_centre(
    frame: DepthFrame, input: CubeConfig, *, left: bool, last_m: Float[Array, "3"] | None = None, given_m: Float[Array, "3"] | None = None
) -> tuple[Float[Array, "3"] | None, CentreFrom | None, str | None]:
    """The cube's centre and where it is from; or what is wrong with the frame. `left`: of a left hand; `last_m`: the mean of the joints of the frame before;
    `given_m`: where the user says that the hand is, which goes before what the frame's source made of its labels."""
    if frame.problem is not None:
        return None, None, frame.problem
    known_m = frame.centre_m if given_m is None else given_m
    if known_m is not None:
        before_camera = known_m[2] > 0 or frame.camera_kind != "perspective"
        return (known_m, FROM_LABELS[input.centre] if given_m is None else "given", None) if before_camera else (None, None, "its centre is not before the camera")
    refining, edge_m = frame.depth_tenth_mm is not None and input.centre != "mass", input.cube_mm / 1e3
    start_m, start_from, problem = _find_start(frame, edge_m, last_m, refining=refining)
    if problem is not None or not refining:
        return start_m, start_from, problem
    cube = Cubes(start_m[None], np.array([edge_m]))
    depth, intrinsics = frame.depth_tenth_mm[None], frame.intrinsics[None]
    moved = refined(cube, depth, intrinsics, frame.camera_kind, left=left, network=shipped_network(), passes=PASSES[start_from])
    return moved.centre_m[0], REFINED[start_from], None


def _find_start(
    frame: DepthFrame, edge_m: float, last_m: Float[Array, "3"] | None, *, refining: bool
) -> tuple[Float[Array, "3"] | None, CentreFrom | None, str | None]:
    """The centre of mass near `last_m`, else of what is nearest; as `find_centre`. `refining`: a network goes on from it, so near `last_m` it is that place itself,
    for the mass would be that of the arm too."""
    points = frame.points_m.astype(float) if frame.points_m is not None else picture_points(frame.depth_tenth_mm, frame.intrinsics, frame.camera_kind)
    if len(points) < FEWEST_POINTS:
        return None, None, f"only {len(points)} of its pixels have a depth" if frame.points_m is None else f"it has only {len(points)} points"
    if last_m is not None and len(points_inside(points, last_m, edge_m)) >= FEWEST_POINTS:
        followed = last_m if refining else mass_of_points(points, edge_m, last_m)
        if followed is not None:
            return followed, "followed", None
    slab = nearest_slab(points, edge_m)
    width_m = float(np.ptp(slab[:, :2], axis=0).max())
    if not NARROWEST_M <= width_m <= WIDEST_M:
        return None, None, f"what is nearest would be {width_m:.2g} m wide, no hand with its arm; look at --intrinsics and --depth-unit, or give its centre with --center"
    found = mass_of_points(points, edge_m)
    return (None, None, "nothing holds together near the camera") if found is None else (found, "found", None)


def _view_of(frame: DepthFrame, centre_m: Float[Array, "3"], edge_m: float, input: CubeConfig, *, left: bool) -> tuple[View, Float[Array, "1 3 3"] | None]:
    """What the estimator is shown, and the map from the picture to its crop, if there is a picture."""
    cubes = Cubes(centre_m[None].astype(float), np.array([edge_m]))
    if frame.points_m is not None:
        return _view_of_cloud(frame.points_m, cubes, input, left=left), None
    shown = show(frame.depth_tenth_mm[None], frame.intrinsics[None], frame.camera_kind, cubes, input, left=left)
    intrinsics = shown.crop_from_picture @ frame.intrinsics @ np.swapaxes(about_z(shown.turn), 1, 2)
    camera = {"crop_from_picture": shown.crop_from_picture, "intrinsics": intrinsics}
    arrays = {**shown.arrays, **{name: values.astype(np.float32) for name, values in camera.items()}}
    tensors = {name: torch.from_numpy(np.ascontiguousarray(values))[None] for name, values in arrays.items()}
    return View(**tensors, perspective=torch.tensor([frame.camera_kind == "perspective"])), shown.crop_from_picture


def _view_of_cloud(points_m: Float32[Array, "points 3"], cubes: Cubes, input: CubeConfig, *, left: bool) -> View:
    """Points of the cube, of left hands in the mirror. The camera is one of a focal length of one: nobody asks for its pixels."""
    mirror = np.array([-1 if left else 1, 1, 1])
    normalised = (points_m - cubes.centre_m) / cubes.edge_m * mirror
    inside = normalised[(np.abs(normalised) <= 0.5).all(1)].astype(np.float32)
    usable = len(inside) >= FEWEST_POINTS
    drawn = draw_points(inside, input.num_points, np.random.default_rng(0), replacement=input.replacement) if usable else np.zeros((input.num_points, 3), np.float32)
    place = {"centre_m": (cubes.centre_m * mirror).astype(np.float32), "cube_m": cubes.edge_m.astype(np.float32), "usable": np.array([usable])}
    tensors = {name: torch.from_numpy(values)[None] for name, values in place.items()}
    eye = torch.eye(3)[None, None]
    return View(points=torch.from_numpy(drawn)[None, None], **tensors, crop_from_picture=eye, intrinsics=eye, perspective=torch.tensor([True]))
