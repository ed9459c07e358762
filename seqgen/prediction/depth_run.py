"""A whole input of depth predicted into a folder: what `seqgen predict` does with a network of depth.

    OUT/predictions.json    {frame's name: {joints_px, joints_m, root_m, centre_m, centre_from, side}, or {skipped: why, side}}, in order
    OUT/overlays/           skeletons over the depth, as `overlay` draws them; none of point clouds

joints_m are relative to the root, which is at root_m in the camera frame; joints_px are null for point clouds.
"""

import json
import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8

from seqgen.benchmarks import holds_data_set, open_clips
from seqgen.errors import UserError
from seqgen.estimators.checkpoint import LoadedEstimator
from seqgen.estimators.inference import for_inference
from seqgen.estimators.views.cube import Cubes, cube_squares
from seqgen.estimators.views.feed import pictures_of
from seqgen.files import write_json
from seqgen.prediction.depth_frames import ClipDepth, DepthFrame, DepthSource, open_depth
from seqgen.prediction.depth_predict import DepthPrediction, predict_depth_stream
from seqgen.prediction.frames import Frame
from seqgen.prediction.overlay import with_pictures, with_strips
from seqgen.prediction.predict import FramePrediction
from seqgen.prediction.run import OVERLAYS_NAME, PREDICTIONS_NAME, Report, check_output

log = logging.getLogger(__name__)
Array = np.ndarray

MILLIMETRE = 1e-3
MOST_M = 1e6  # of a coordinate in a file of centres
DARKEST, BRIGHTEST = 40, 255  # levels of grey of the cube's back and front


def predict_depth_into(
    loaded: LoadedEstimator,
    source: Path,
    out: Path,
    *,
    center: Path | None = None,
    side: str = "right",
    intrinsics: Float[Array, "3 3"] | None = None,
    unit_m: float | None = None,
    split: str | None = None,
    overlays: bool = True,
    report: Report | None = None,
    warn: Callable[[str], None] = log.warning,
) -> tuple[int, int]:
    """Predicts every frame of `source` and writes `out`; returns how many frames there were, and how many of them could not be used: `warn` is told each.

    `center`: a JSON file {name: [x, y, z]}, metres, of where the hand is; None finds it, of a data set as `input.centre` says. `intrinsics`, `unit_m`: of depth
    pictures, a millimetre a count where nothing is said. UserErrors for what cannot be read or written, and, once all is written, when no frame could be used.
    """
    frames = _open(loaded, Path(source), intrinsics=intrinsics, unit_m=unit_m, split=split)
    check_output(out)
    centres = {} if center is None else read_centres(center, frames.names)
    predictions = predict_depth_stream(replace(loaded, estimator=for_inference(loaded.estimator)), frames, side=side, centres=centres)
    if overlays:
        predictions = _with_overlays(predictions, frames, loaded.input.cube_mm / 1e3, out / OVERLAYS_NAME)
    table, problems = {}, {}
    for prediction in predictions:
        table[prediction.frame.name] = prediction.as_json()
        if prediction.problem is not None:
            problems[prediction.frame.name] = prediction.problem
            warn(f"{prediction.frame.name}: skipped: {prediction.problem}")
        if report is not None:
            report(len(table), len(frames.names))
    write_json(out / PREDICTIONS_NAME, table)
    if len(problems) == len(table):
        name, problem = next(iter(problems.items()))
        raise UserError(f"{source}: none of {len(table)} frames could be used; of {name}: {problem}")
    return len(table), len(problems)


def _open(loaded: LoadedEstimator, source: Path, *, intrinsics: Float[Array, "3 3"] | None, unit_m: float | None, split: str | None) -> DepthSource:
    """A data set's clips, or files."""
    if source.is_dir() and holds_data_set(source):
        if intrinsics is not None or unit_m is not None:
            raise UserError(f"{source}: --intrinsics and --depth-unit are for depth pictures; a data set knows its own")
        return ClipDepth(open_clips(source, split=split, pictures=pictures_of(loaded.input)), loaded.input)
    if split is not None:
        raise UserError(f"{source}: --split is for data sets; leave it out")
    return open_depth(source, intrinsics=intrinsics, unit_m=MILLIMETRE if unit_m is None else unit_m)


def read_centres(path: Path, names: Iterable[str]) -> dict[str, Float[Array, "3"]]:
    """A JSON file {frame's name: [x, y, z]}, metres, camera frame. UserErrors name what is wrong."""
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: cannot be read as a file of centres ({getattr(error, 'strerror', None) or error}); expected JSON: {{name: [x, y, z]}}") from None
    if not isinstance(content, dict):
        raise UserError(f"{path}: is not a table of centres; expected JSON: {{name: [x, y, z]}}")
    for name, values in content.items():
        numbers = isinstance(values, list) and len(values) == 3 and all(type(value) in (int, float) and abs(value) < MOST_M for value in values)
        if not numbers or not 0 < values[2] < 20:
            raise UserError(f"{path}: the centre of {name} is {values}; expected three numbers x, y, z in metres, z before the camera")
    unknown = sorted(set(content) - set(names))
    if unknown:
        raise UserError(f"{path}: has a centre for {unknown[0]}, which the input does not have")
    return {name: np.array(values, float) for name, values in content.items()}


def _with_overlays(predictions: Iterable[DepthPrediction], frames: DepthSource, edge_m: float, folder: Path) -> Iterator[DepthPrediction]:
    """The predictions, those of pictures drawn on their way. Drawing goes frame by frame, so each comes back as soon as it is drawn."""
    if isinstance(frames, ClipDepth):
        return _drawn(predictions, edge_m, lambda pictures: with_strips(pictures, folder))
    return _drawn(predictions, edge_m, lambda pictures: with_pictures(pictures, folder, frames.names))


def _drawn(
    predictions: Iterable[DepthPrediction], edge_m: float, draw: Callable[[Iterator[FramePrediction]], Iterator[FramePrediction]]
) -> Iterator[DepthPrediction]:
    """Passes on what `draw` has taken in: all that was asked for before it gave the next picture back."""
    waiting: list[DepthPrediction] = []

    def pictures() -> Iterator[FramePrediction]:
        for prediction in predictions:
            waiting.append(prediction)
            if prediction.joints_px is not None:
                yield as_picture(prediction, edge_m)

    for _ in draw(pictures()):
        yield from waiting
        waiting.clear()
    yield from waiting


def as_picture(prediction: DepthPrediction, edge_m: float) -> FramePrediction:
    """The prediction over its depth in grey, the cube's square as its box."""
    frame, centre = prediction.frame, prediction.centre_m[None]
    x, y, side = cube_squares(Cubes(centre, np.array([edge_m])), frame.intrinsics[None], frame.camera_kind)[0]
    box = np.array([x - side / 2, y - side / 2, x + side / 2, y + side / 2], np.float32)
    picture = Frame(frame.name, grey(frame, float(prediction.centre_m[2]), edge_m), clip=frame.clip)
    return FramePrediction(picture, prediction.side, box, "found", prediction.joints_px, prediction.joints_m, joint_set=prediction.joint_set)


def grey(frame: DepthFrame, centre_z_m: float, edge_m: float) -> UInt8[Array, "height width 3"]:
    """What is in the cube's depth from white, its front, to dark grey; black elsewhere."""
    behind = (frame.depth_tenth_mm * 1e-4 - centre_z_m) / edge_m + 0.5
    inside = (frame.depth_tenth_mm > 0) & (behind >= 0) & (behind <= 1)
    levels = np.where(inside, BRIGHTEST - (BRIGHTEST - DARKEST) * behind, 0)
    return np.repeat(np.rint(levels).astype(np.uint8)[..., None], 3, -1)
