"""Predictions of networks of depth on a live stream: one frame is taken, its cube found, looked at and answered before the next one is asked for.

    centre of the cube     given      by labels, or a file
                           followed   the centre of mass near the joints of the frame before
                           found      the centre of mass of what is nearest to the camera

A frame that cannot be used is answered with what is wrong with it, and the stream goes on. Left hands are shown to the estimator in a mirror, and what it says
is mirrored back. Does not know: files, where frames come from.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, Float32

from seqgen.errors import UserError
from seqgen.estimators.checkpoint import LoadedEstimator
from seqgen.estimators.estimator import device_of
from seqgen.estimators.views.crop import to_picture
from seqgen.estimators.views.cube import FEWEST_POINTS, CubeConfig, Cubes, draw_points, mass_of_points, nearest_slab, picture_points
from seqgen.estimators.views.depth_sample import show
from seqgen.estimators.views.sample import about_z
from seqgen.estimators.views.view import View, to_device
from seqgen.joint_targets import JointSetName
from seqgen.prediction.depth_frames import DepthFrame

Array = np.ndarray
CentreFrom = Literal["given", "followed", "found"]

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


def predict_depth_stream(loaded: LoadedEstimator, frames: Iterable[DepthFrame], *, side: str = "right") -> Iterator[DepthPrediction]:
    """A prediction for each frame, as it comes. `side`: of frames that do not say it. UserError for clouds to a network of depth pictures, and for a prediction
    that is not finite."""
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
        centre, centre_from, problem = find_centre(frame, edge_m, last_m)
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


def find_centre(frame: DepthFrame, edge_m: float, last_m: Float[Array, "3"] | None) -> tuple[Float[Array, "3"] | None, CentreFrom | None, str | None]:
    """The cube's centre and where it is from; or what is wrong with the frame. `last_m`: the mean of the joints of the frame before."""
    if frame.problem is not None:
        return None, None, frame.problem
    if frame.centre_m is not None:
        return (frame.centre_m, "given", None) if frame.centre_m[2] > 0 or frame.camera_kind != "perspective" else (None, None, "its centre is not before the camera")
    points = frame.points_m.astype(float) if frame.points_m is not None else picture_points(frame.depth_tenth_mm, frame.intrinsics, frame.camera_kind)
    if len(points) < FEWEST_POINTS:
        return None, None, f"only {len(points)} of its pixels have a depth" if frame.points_m is None else f"it has only {len(points)} points"
    followed = None if last_m is None else mass_of_points(points, edge_m, last_m)
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
