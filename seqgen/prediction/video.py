"""Videos, frame by frame, through PyAV (the extra `video`); the only file that knows it."""

import logging
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any

import numpy as np
from jaxtyping import UInt8

from seqgen.errors import UserError
from seqgen.untrusted import MAX_PIXELS

Array = np.ndarray
log = logging.getLogger(__name__)

USUAL_FPS = 30
ENCODERS = ("libx264", "mpeg4")  # the best that is there; the second is part of every build


class VideoFile:
    """The pictures of a video with their times in seconds, upright, decoded as they are asked for. A UserError when it is no video or nothing can be decoded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def frame_rate(self) -> float:
        """Frames a second, on average; 30 where the file does not say it."""
        av = _pyav()
        try:
            with _opened(av, self.path) as container:
                return float((container.streams.video and container.streams.video[0].average_rate) or USUAL_FPS)
        except av.error.FFmpegError as error:
            raise _undecodable(self.path, error) from None

    def __iter__(self) -> Iterator[tuple[UInt8[Array, "height width 3"], float]]:
        av = _pyav()
        decoded = 0
        try:
            with _opened(av, self.path) as container:
                if not container.streams.video:
                    raise UserError(f"{self.path}: has no pictures in it; expected a video or an image")
                stream = container.streams.video[0]
                stream.thread_type = "AUTO"
                if stream.codec_context.width * stream.codec_context.height > MAX_PIXELS:
                    raise UserError(f"{self.path}: its header says {stream.codec_context.width} x {stream.codec_context.height} pixels, more than {MAX_PIXELS:,} are not read")
                for frame in container.decode(stream):
                    yield _upright(frame), _time_s(frame, stream, decoded)
                    decoded += 1
        except av.error.FFmpegError as error:
            if not decoded:
                raise _undecodable(self.path, error) from None
            log.warning("%s: damaged after frame %d (%s); what is before it is used", self.path, decoded - 1, error.strerror)
        if not decoded:
            raise UserError(f"{self.path}: has no frames")


def _opened(av: ModuleType, path: Path) -> Any:
    """The file and no other: a playlist that names further files or addresses gets none of them."""
    return av.open(f"file:{path.absolute()}", options={"protocol_whitelist": "file"})


def _undecodable(path: Path, error: Any) -> UserError:
    return UserError(f"{path}: cannot be decoded as a video ({error.strerror}); convert it to MP4, or take its frames as images")


def _upright(frame: Any) -> UInt8[Array, "height width 3"]:
    """The pixels, turned as the file says: phones store how they were held."""
    return np.ascontiguousarray(np.rot90(frame.to_ndarray(format="rgb24"), round(frame.rotation / 90)))


def _time_s(frame: Any, stream: Any, number: int) -> float:
    return float(frame.time if frame.time is not None else number / (stream.average_rate or USUAL_FPS))


class VideoWriter:
    """An MP4 file, written picture by picture; all pictures are cut or padded with black to the size of the first."""

    def __init__(self, path: Path, *, fps: float) -> None:
        self.path, self.rate = path, Fraction(fps).limit_denominator(1000)
        self._av = _pyav()
        self._container: Any = None
        self._stream: Any = None

    def __enter__(self) -> "VideoWriter":
        self._container = self._av.open(str(self.path), "w", format="mp4")
        return self

    def add(self, rgb: UInt8[Array, "height width 3"]) -> None:
        """Appends a picture."""
        if self._stream is None:
            codec = next(name for name in ENCODERS if name in self._av.codecs_available)
            self._stream = self._container.add_stream(codec, rate=self.rate)
            self._stream.height, self._stream.width = (side + side % 2 for side in rgb.shape[:2])  # both have to be even
            self._stream.pix_fmt = "yuv420p"
        fitted = np.zeros((self._stream.height, self._stream.width, 3), np.uint8)
        shown = rgb[: fitted.shape[0], : fitted.shape[1]]
        fitted[: shown.shape[0], : shown.shape[1]] = shown
        self._container.mux(self._stream.encode(self._av.VideoFrame.from_ndarray(fitted, format="rgb24")))

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if kind is None and self._stream is not None:
            self._container.mux(self._stream.encode(None))
        self._container.close()


def _pyav() -> ModuleType:
    try:
        import av
    except ImportError:
        raise UserError("reading videos needs PyAV: pip install 'seqgen[video]', or take the video's frames as images") from None
    return av
