"""Where pictures come from: images, a video, the clips of a data set. All give `Frame`s, one at a time.

Images of a folder are one stream, sorted by name with numbers as numbers (frame_2 before frame_10), or stills that have nothing to do with each other.
Does not know: hands, boxes other than those of labels.
"""

import logging
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

import numpy as np
from jaxtyping import UInt8

from seqgen.benchmarks import open_clips
from seqgen.benchmarks.folder import LABELS_FILE
from seqgen.benchmarks.pictures import read_upright
from seqgen.dataset.clip import ClipSource
from seqgen.errors import UserError
from seqgen.prediction.localise import Box
from seqgen.prediction.video import VideoFile
from seqgen.untrusted import Damaged, read_picture

log = logging.getLogger(__name__)
Array = np.ndarray
Kind = Literal["images", "video", "clips"]

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")
FPS_RANGE = (0.001, 100_000)
CHUNK = 16  # frames of a clip that are decoded at a time


@dataclass(frozen=True)
class Frame:
    """A picture of a stream. Those of one `clip` follow each other in time, `time_s` from its beginning; box and side where something knows them."""

    name: str
    rgb: UInt8[Array, "height width 3"]
    time_s: float | None = None
    clip: str = ""
    box_px: Box | None = None
    side: str | None = None


@runtime_checkable
class FrameSource(Protocol):
    """Frames in order, any number of times. `names` are all names, or None where only reading tells."""

    kind: Kind
    names: tuple[str, ...] | None

    def __iter__(self) -> Iterator[Frame]: ...


class ImageFiles:
    """Images as one stream, or as stills: then each is a clip of its own. `fps`: of the stream, to tell the frames' times; None: not known."""

    kind: Kind = "images"

    def __init__(self, paths: Sequence[Path], *, stills: bool = False, fps: float | None = None) -> None:
        self.paths = tuple(paths)
        self.names: tuple[str, ...] | None = tuple(path.name for path in self.paths)
        self.stills, self.fps = stills, fps

    def __iter__(self) -> Iterator[Frame]:
        for number, path in enumerate(self.paths):
            time_s = None if self.fps is None or self.stills else number / self.fps
            yield Frame(path.name, read_upright(path), time_s=time_s, clip=path.name if self.stills else "")


class VideoFrames:
    """A video; its frames are named by their number, from 000000."""

    kind: Kind = "video"

    def __init__(self, path: Path, *, fps: float | None = None) -> None:
        """`fps`: take only so many frames a second."""
        self.path, self.fps = path, fps
        self.names: tuple[str, ...] | None = None

    def frame_rate(self) -> float:
        """Frames a second that are taken: no more than there are."""
        of_file = VideoFile(self.path).frame_rate()
        return of_file if self.fps is None else min(self.fps, of_file)

    def __iter__(self) -> Iterator[Frame]:
        last_slot = -1
        for number, (rgb, time_s) in enumerate(VideoFile(self.path)):
            slot = number if self.fps is None else int(time_s * self.fps + 1e-6)  # the first frame of every 1 / fps seconds is taken
            if slot > last_slot:
                last_slot = slot
                yield Frame(f"{number:06d}", rgb, time_s=time_s)


class ClipFrames:
    """All frames of all clips, with the boxes and sides of their labels; named <clip>.<frame>. Stills, whose rate is 0, have no times."""

    kind: Kind = "clips"

    def __init__(self, source: ClipSource) -> None:
        self.source = source
        self.names: tuple[str, ...] | None = tuple(
            f"{source.key(position)}.{frame:03d}" for position in range(len(source)) for frame in range(source.num_frames(position))
        )

    def __iter__(self) -> Iterator[Frame]:
        for position in range(len(self.source)):
            key, count = self.source.key(position), self.source.num_frames(position)
            for first in range(0, count, CHUNK):
                clip = self.source.read(position, range(first, min(first + CHUNK, count)))
                for offset, (rgb, box) in enumerate(zip(clip.rgb, clip.box_px, strict=True)):
                    frame = first + offset
                    time_s = frame / clip.fps if clip.fps > 0 else None
                    yield Frame(f"{key}.{frame:03d}", rgb, time_s=time_s, clip=key, box_px=box if box.any() else None, side=clip.side)


def open_frames(path: Path, *, stills: bool = False, fps: float | None = None, split: str | None = None) -> FrameSource:
    """What a path holds: a folder of images, one image, a data set, or else a video. A UserError where it is none of them, or an option is another kind's.

    `fps`: of a folder of images how many a second there are; of a video how many shall be taken.
    """
    path = Path(path)
    if fps is not None and not FPS_RANGE[0] <= fps <= FPS_RANGE[1]:
        raise UserError(f"--fps {fps:g}: must be from {FPS_RANGE[0]} to {FPS_RANGE[1]:,}")
    source = _open_frames(path, stills=stills, fps=fps, split=split)
    if stills and source.kind != "images":
        raise UserError(f"{path}: --stills is for images; leave it out")
    if fps is not None and source.kind == "clips":
        raise UserError(f"{path}: --fps is for images and videos; the clips of a data set have their own")
    if split is not None and source.kind != "clips":
        raise UserError(f"{path}: --split is for data sets; leave it out")
    return source


def _open_frames(path: Path, *, stills: bool, fps: float | None, split: str | None) -> FrameSource:
    if not path.exists():
        raise UserError(f"{path}: no such file or folder")
    if not path.is_dir():
        if path.suffix.lower() in IMAGE_SUFFIXES:
            _check_colours(path)
        return ImageFiles([path], stills=stills, fps=fps) if path.suffix.lower() in IMAGE_SUFFIXES else VideoFrames(path, fps=fps)
    labelled = (path / "dataset.json").is_file() or (path / LABELS_FILE).is_file()
    files = sorted((file for file in path.iterdir() if file.is_file()), key=in_order_of_numbers)
    images = [file for file in files if file.suffix.lower() in IMAGE_SUFFIXES]
    if images and not labelled:
        _tell_left_out(path, [file.name for file in files if file.suffix.lower() not in IMAGE_SUFFIXES and not file.name.startswith(".")])
        _check_colours(images[0])
        return ImageFiles(images, stills=stills, fps=fps)
    if labelled or any(entry.is_dir() for entry in path.iterdir()):
        return ClipFrames(open_clips(path, split=split))
    raise UserError(f"{path}: holds no image ({', '.join(IMAGE_SUFFIXES)}) and no data set")


def _check_colours(image: Path) -> None:
    """A UserError for a picture of depth. One that cannot be read is told of when its turn comes."""
    try:
        mode = read_picture(image, decode=False).image.mode
    except (OSError, Damaged):
        return
    if mode.startswith("I"):
        raise UserError(f"{image}: has one channel of 16 bits, as depth has, and this network sees colours; give pictures in colour, or a checkpoint of a network of depth")


def _tell_left_out(path: Path, names: Sequence[str]) -> None:
    """A warning of files beside the images."""
    if names:
        more = ", ..." if names[3:] else ""
        log.warning("%s: files of other formats than %s are left out: %d (%s%s)", path, ", ".join(IMAGE_SUFFIXES), len(names), ", ".join(names[:3]), more)


def in_order_of_numbers(path: Path) -> tuple[list[tuple[int, str]], str]:
    """A key that sorts names by their numbers' values."""
    pieces = re.split(r"(\d+)", path.name)
    return [(int(piece), "") if piece.isdecimal() else (-1, piece) for piece in pieces], path.name
