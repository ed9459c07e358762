"""A whole input predicted into a folder: what `seqgen predict` does.

    OUT/predictions.json    {frame's name: {joints_px, joints_m, pose, betas, weak_perspective, box_px, box_from, found, side, time_s}}, in order
    OUT/overlays/           as `overlay` draws them

Names: of images the file's, of a video's frames their number (000000), of data sets <clip>.<frame>.
"""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Literal

from seqgen.errors import UserError
from seqgen.estimators.checkpoint import LoadedEstimator
from seqgen.files import is_writable, write_json
from seqgen.prediction.boxes import check_names, read_boxes, with_boxes
from seqgen.prediction.frames import Frame, FrameSource, open_frames
from seqgen.prediction.localise import Localiser, load_localiser
from seqgen.prediction.overlay import with_overlays
from seqgen.prediction.predict import predict_stream

PREDICTIONS_NAME, OVERLAYS_NAME = "predictions.json", "overlays"
BoxChoice = Literal["auto", "picture"]


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
    report: Callable[[int, int | None], None] | None = None,
) -> int:
    """Predicts every frame of `source` and writes `out`; returns how many there were. `report` is told after each frame how many of how many are done.

    `box`: "auto", boxes of a data set's labels (or its whole pictures, if the estimator was taught with whole pictures), found and followed elsewhere;
    "picture", the largest square in the middle of each picture; or a JSON file of boxes by name. `side`: of hands in pictures that do not say it.
    `stills`, `fps`, `split`: as for `open_frames`. UserErrors for what cannot be read or written.
    """
    frames = open_frames(source, stills=stills, fps=fps, split=split)
    check_output(out)
    boxed, find_hand = _choose_boxes(frames, box, loaded)
    predictions = predict_stream(loaded, boxed, find_hand, side=side)
    if overlays:
        predictions = with_overlays(predictions, frames, out / OVERLAYS_NAME)
    total, table = None if frames.names is None else len(frames.names), {}
    for prediction in predictions:
        table[prediction.frame.name] = prediction.as_json()
        if report is not None:
            report(len(table), total)
    write_json(out / PREDICTIONS_NAME, table)
    return len(table)


def _choose_boxes(frames: FrameSource, box: BoxChoice | Path, loaded: LoadedEstimator) -> tuple[Iterable[Frame], Localiser | None]:
    """The frames with the boxes that they shall have, and who looks for hands in the others."""
    if isinstance(box, Path):
        boxes = read_boxes(box)
        if frames.names is not None:
            check_names(boxes, frames.names, where=box)
        return with_boxes(frames, boxes, where=box), None
    if box == "auto" and frames.kind != "clips":
        return frames, load_localiser()
    if box == "auto" and loaded.input.crop == "box":
        return frames, None
    return _without_boxes(frames), None


def _without_boxes(frames: Iterable[Frame]) -> Iterator[Frame]:
    return with_boxes(frames, {}, where=Path())


def check_output(out: Path) -> None:
    """A UserError when nothing can be written there, before any work."""
    if out.exists() and not out.is_dir():
        raise UserError(f"{out}: is a file; choose a folder with --out")
    if not is_writable(out):
        raise UserError(f"{out}: cannot be written to; choose another folder with --out")
