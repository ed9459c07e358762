"""A whole input predicted into a folder: what `seqgen predict` does.

    OUT/predictions.json    {frame's name: {joints_px, joints_m, pose, betas, weak_perspective, box_px, box_from, found, side, time_s}}, in order
    OUT/overlays/           as `overlay` draws them

Names: of images the file's, of a video's frames their number (000000), of data sets <clip>.<frame>. Where a frame ends in an error, predictions.json
holds those before it.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from seqgen.errors import UserError
from seqgen.estimators.checkpoint import LoadedEstimator
from seqgen.estimators.inference import for_inference
from seqgen.files import is_writable, write_json
from seqgen.prediction.boxes import check_names, read_boxes, with_boxes
from seqgen.prediction.frames import Frame, FrameSource, open_frames
from seqgen.prediction.localise import Box, Localiser, load_localiser
from seqgen.prediction.overlay import with_overlays
from seqgen.prediction.predict import FramePrediction, predict_stream

PREDICTIONS_NAME, OVERLAYS_NAME = "predictions.json", "overlays"
VIDEO_NAME = re.compile(r"[0-9]{6}|[1-9][0-9]{6,}")  # of a frame
BoxChoice = Literal["auto", "picture"]
Report = Callable[[int, int | None], None]


def predict_into(
    loaded: LoadedEstimator,
    source: Path,
    out: Path,
    *,
    box: BoxChoice | Path = "auto",
    side: Literal["right", "left"] = "right",
    stills: bool = False,
    fps: float | None = None,
    split: str | None = None,
    overlays: bool = True,
    report: Report | None = None,
) -> int:
    """Predicts every frame of `source` and writes `out`; returns how many there were. `report` is told after each frame how many of how many are done.

    `box`: "auto", boxes of a data set's labels (or its whole pictures, if the estimator was taught with whole pictures), found and followed elsewhere;
    "picture", the largest square in the middle of each picture; or a JSON file of boxes by name. `side`: of hands in pictures that do not say it.
    `stills`, `fps`, `split`: as for `open_frames`. UserErrors for what cannot be read or written, and, once all is written, for
    boxes of frames that never came.
    """
    frames = open_frames(source, stills=stills, fps=fps, split=split)
    check_output(out)
    boxes = _boxes_of_file(box, frames) if isinstance(box, Path) else None
    boxed, find_hand = _choose_boxes(frames, box if boxes is None else boxes, loaded)
    predictions = predict_stream(replace(loaded, estimator=for_inference(loaded.estimator)), boxed, find_hand, side=side)
    if overlays:
        predictions = with_overlays(predictions, frames, out / OVERLAYS_NAME)
    table = _write_table(predictions, out / PREDICTIONS_NAME, total=None if frames.names is None else len(frames.names), report=report)
    if isinstance(box, Path):
        check_names(boxes, table, where=box, listed=f"{out / PREDICTIONS_NAME}, which is written")
    return len(table)


def _write_table(predictions: Iterable[FramePrediction], path: Path, *, total: int | None, report: Report | None) -> dict[str, Any]:
    """What is written: all predictions, or those before a frame that ends in a UserError, which then says so."""
    table: dict[str, Any] = {}
    try:
        for prediction in predictions:
            table[prediction.frame.name] = prediction.as_json()
            if report is not None:
                report(len(table), total)
    except UserError as error:
        if not table:
            raise
        write_json(path, table)
        raise UserError(f"{error}; the {f'{len(table)} frames' if len(table) > 1 else 'frame'} before it {'are' if len(table) > 1 else 'is'} in {path}") from None
    write_json(path, table)
    return table


def _boxes_of_file(path: Path, frames: FrameSource) -> dict[str, Box]:
    """Boxes by frame. A UserError for a name that no frame can have: how many frames a video has, only reading tells."""
    boxes = read_boxes(path)
    if frames.names is not None:
        check_names(boxes, frames.names, where=path)
        return boxes
    wrong = next((name for name in boxes if not VIDEO_NAME.fullmatch(name)), None)
    if wrong is not None:
        raise UserError(f"{path}: has a box for {wrong}; frames of a video are named by their number in six digits, from 000000")
    return boxes


def _choose_boxes(frames: FrameSource, box: BoxChoice | Mapping[str, Box], loaded: LoadedEstimator) -> tuple[Iterable[Frame], Localiser | None]:
    """The frames with the boxes that they shall have, and who looks for hands in the others."""
    if not isinstance(box, str):
        return with_boxes(frames, box), None
    if box == "auto" and frames.kind != "clips":
        return frames, load_localiser()
    if box == "auto" and loaded.input.crop == "box":
        return frames, None
    return with_boxes(frames, {}), None


def check_output(out: Path) -> None:
    """A UserError when nothing can be written there, before any work."""
    if out.exists() and not out.is_dir():
        raise UserError(f"{out}: is a file; choose a folder with --out")
    if not is_writable(out):
        raise UserError(f"{out}: cannot be written to; choose another folder with --out")
