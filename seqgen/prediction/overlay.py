"""What predictions look like: the skeleton and the box over the picture. Predictions pass through and are drawn on their way.

    images    overlays/<name>.jpg each         clips    overlays/<clip>.jpg, some frames beside each other         video    overlays/overlay.mp4

A clip's name may hold what a file's may not: that becomes "_", and where two clips would have one name, the later has a number behind it.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence, Set
from itertools import chain, count, groupby
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from seqgen.dataset.preview import draw_skeleton
from seqgen.files import written_aside
from seqgen.prediction.frames import FrameSource, VideoFrames
from seqgen.prediction.predict import FramePrediction
from seqgen.prediction.video import VideoWriter

IMAGE_PX, VIDEO_PX, TILE_PX = 1280, 640, 224  # longer side; larger pictures are shrunk first
STRIP_FRAMES = 12  # at most so many of a clip
BOX_COLOUR, LOST_COLOUR = (255, 255, 255), (255, 70, 70)
QUALITY = 90


def with_overlays(predictions: Iterable[FramePrediction], source: FrameSource, folder: Path) -> Iterator[FramePrediction]:
    """The predictions of a source, drawn into `folder`."""
    if isinstance(source, VideoFrames):
        return with_film(predictions, folder / "overlay.mp4", fps=source.frame_rate())
    return with_pictures(predictions, folder, source.names or ()) if source.kind == "images" else with_strips(predictions, folder)


def draw_prediction(prediction: FramePrediction, *, longest_px: int) -> Image.Image:
    """The picture, its longer side at most `longest_px`, with skeleton and box; the box is red where the hand was lost."""
    picture = Image.fromarray(prediction.frame.rgb)
    scale = min(1.0, longest_px / max(picture.size))
    if scale < 1:
        picture = picture.resize((max(1, round(picture.width * scale)), max(1, round(picture.height * scale))), Image.Resampling.LANCZOS)
    drawn = draw_skeleton(picture, prediction.joints_px, np.ones(len(prediction.joints_px), bool), scale, prediction.joint_set)
    if prediction.box_px is not None:
        outline = ((prediction.box_px + 0.5) * scale).tolist()
        ImageDraw.Draw(drawn).rectangle(outline, outline=BOX_COLOUR if prediction.found else LOST_COLOUR, width=max(1, round(max(drawn.size) / 400)))
    return drawn


def with_pictures(predictions: Iterable[FramePrediction], folder: Path, names: Sequence[str]) -> Iterator[FramePrediction]:
    """One JPEG an image, named like it; with its ending where `names` differ in nothing else."""
    stems = Counter(Path(name).stem for name in names)
    for prediction in predictions:
        path = Path(prediction.frame.name)
        _save(draw_prediction(prediction, longest_px=IMAGE_PX), folder / f"{path.stem if stems[path.stem] < 2 else path.name}.jpg")
        yield prediction


def with_strips(predictions: Iterable[FramePrediction], folder: Path) -> Iterator[FramePrediction]:
    """One JPEG a clip: its frames beside each other, of longer clips every second, fourth, eighth ..."""
    names: set[str] = set()
    for clip, of_clip in groupby(predictions, lambda prediction: prediction.frame.clip):
        pictures, stride = [], 1
        for number, prediction in enumerate(of_clip):
            if len(pictures) == STRIP_FRAMES:
                pictures, stride = pictures[::2], 2 * stride
            if number % stride == 0:
                pictures.append(draw_prediction(prediction, longest_px=TILE_PX))
            yield prediction
        name = _free_name(re.sub(r"[^\w.-]+", "_", clip), names)
        names.add(name.lower())
        _save(_beside_each_other(pictures), folder / f"{name}.jpg")


def _free_name(name: str, taken: Set[str]) -> str:
    """`name`, or else the first of name_2, name_3 ... that nobody has; names that differ in case alone are one file on some systems."""
    numbered = chain([name], (f"{name}_{number}" for number in count(2)))
    return next(free for free in numbered if free.lower() not in taken)


def with_film(predictions: Iterable[FramePrediction], path: Path, *, fps: float) -> Iterator[FramePrediction]:
    """An MP4 of all frames."""
    with written_aside(path) as aside, VideoWriter(aside, fps=fps) as film:
        for prediction in predictions:
            film.add(np.array(draw_prediction(prediction, longest_px=VIDEO_PX)))
            yield prediction


def _beside_each_other(pictures: Sequence[Image.Image]) -> Image.Image:
    """One row, two pixels between."""
    sheet = Image.new("RGB", (sum(picture.width + 2 for picture in pictures) - 2, max(picture.height for picture in pictures)))
    left = 0
    for picture in pictures:
        sheet.paste(picture, (left, 0))
        left += picture.width + 2
    return sheet


def _save(picture: Image.Image, path: Path) -> None:
    with written_aside(path) as aside:
        picture.save(aside, "JPEG", quality=QUALITY)
