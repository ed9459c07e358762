"""Where depth comes from: pictures of 16 bits, point clouds, the clips of a data set. All give `DepthFrame`s, one at a time.

    folder of .png            depth in `unit_m` a count, 0 = nothing, one camera for all, whose intrinsics the user gives
    folder of .ply, .npy      points (N,3), metres, OpenCV's axes; or one such file
    data set                  the clips' own depth, cameras, sides, and where the labels say that the hand is

Files of a folder are one stream, sorted by name with numbers as numbers; one that cannot be read is a frame with a problem, and the next ones follow it.
Does not know: hands, networks.
"""

import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Float32, UInt16

from seqgen.camera import CameraKind
from seqgen.dataset.clip import ClipSource
from seqgen.dataset.sequence import depth_counts
from seqgen.errors import UserError
from seqgen.estimators.views.cube import CubeConfig
from seqgen.estimators.views.depth_sample import find_cubes
from seqgen.prediction.frames import CHUNK, in_order_of_numbers
from seqgen.untrusted import Damaged, read_npy, read_picture

Array = np.ndarray

CLOUD_SUFFIXES = (".ply", ".npy")
PLY_ELEMENT = re.compile(rb"^\s*element\s+\S+\s+(\d+)", re.MULTILINE)
LARGEST_POINT_M = 20.0  # from the camera: a cloud that goes farther is in another unit


@dataclass(frozen=True)
class DepthFrame:
    """A depth picture with its camera, or a cloud without one. Frames of one `clip` follow each other in time. `centre_m`: where something knows the hand to be.

    `problem`: why the frame cannot be used, in a few words; then there is nothing else.
    """

    name: str
    clip: str = ""
    depth_tenth_mm: UInt16[Array, "height width"] | None = None
    points_m: Float32[Array, "points 3"] | None = None
    intrinsics: Float[Array, "3 3"] | None = None
    camera_kind: CameraKind = "perspective"
    centre_m: Float[Array, "3"] | None = None
    side: str | None = None
    problem: str | None = None


@runtime_checkable
class DepthSource(Protocol):
    """Frames in order, any number of times; `names` are all names."""

    names: tuple[str, ...]

    def __iter__(self) -> Iterator[DepthFrame]: ...


class DepthFiles:
    """Depth pictures as one stream."""

    def __init__(self, paths: Sequence[Path], intrinsics: Float[Array, "3 3"], *, unit_m: float) -> None:
        self.paths, self.intrinsics, self.unit_m = tuple(paths), intrinsics, unit_m
        self.names = tuple(path.name for path in self.paths)

    def __iter__(self) -> Iterator[DepthFrame]:
        for path in self.paths:
            try:
                frame = DepthFrame(path.name, depth_tenth_mm=read_depth(path, unit_m=self.unit_m), intrinsics=self.intrinsics)
            except UserError as error:
                frame = _unreadable(path, error)
            yield frame


class CloudFiles:
    """Point clouds as one stream."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = tuple(paths)
        self.names = tuple(path.name for path in self.paths)

    def __iter__(self) -> Iterator[DepthFrame]:
        for path in self.paths:
            try:
                points = read_cloud(path)
                finite = points[np.isfinite(points).all(1)]
                frame = DepthFrame(path.name, points_m=finite) if len(finite) else DepthFrame(path.name, problem="it has no finite point")
            except UserError as error:
                frame = _unreadable(path, error)
            yield frame


class ClipDepth:
    """All frames of all clips, with cameras, sides and the cubes that `input` asks for; named <clip>.<frame>."""

    def __init__(self, source: ClipSource, input: CubeConfig) -> None:
        self.source, self.input = source, input
        self.names = tuple(f"{source.key(position)}.{frame:03d}" for position in range(len(source)) for frame in range(source.num_frames(position)))

    def __iter__(self) -> Iterator[DepthFrame]:
        for position in range(len(self.source)):
            key, count = self.source.key(position), self.source.num_frames(position)
            for first in range(0, count, CHUNK):
                clip = self.source.read(position, range(first, min(first + CHUNK, count)))
                centres = find_cubes(clip, self.input).centre_m
                for offset, depth in enumerate(clip.depth_tenth_mm):
                    place = {"intrinsics": clip.intrinsics[offset].astype(float), "camera_kind": clip.camera_kind, "centre_m": centres[offset]}
                    yield DepthFrame(f"{key}.{first + offset:03d}", clip=key, depth_tenth_mm=depth, side=clip.side, **place)


def _unreadable(path: Path, error: UserError) -> DepthFrame:
    """The frame of a file that cannot be read; what is wrong, without the path, for its name is the frame's."""
    return DepthFrame(path.name, problem=str(error).removeprefix(f"{path}: "))


def open_depth(path: Path, *, intrinsics: Float[Array, "3 3"] | None = None, unit_m: float = 1e-3) -> DepthFiles | CloudFiles:
    """The depth pictures or clouds of a folder, or one such file. A UserError where there are neither, both, or pictures without `intrinsics`."""
    path = Path(path)
    if not path.exists():
        raise UserError(f"{path}: no such file or folder")
    files = sorted((file for file in path.iterdir() if file.is_file()), key=in_order_of_numbers) if path.is_dir() else [path]
    pictures = [file for file in files if file.suffix.lower() == ".png"]
    clouds = [file for file in files if file.suffix.lower() in CLOUD_SUFFIXES]
    if pictures and clouds:
        raise UserError(f"{path}: holds depth pictures and point clouds; keep them in folders of their own")
    if clouds:
        return CloudFiles(clouds)
    if not pictures:
        raise UserError(f"{path}: holds no depth picture (.png of 16 bits) and no point cloud ({', '.join(CLOUD_SUFFIXES)}), which this network sees")
    if intrinsics is None:
        raise UserError(f"{path}: depth pictures need their camera; give --intrinsics fx,fy,cx,cy in pixels")
    return DepthFiles(pictures, intrinsics, unit_m=unit_m)


def read_depth(path: Path, *, unit_m: float) -> UInt16[Array, "height width"]:
    """A PNG of 16 bits, tenths of millimetres; what cannot be counted so (6.5535 m and more) is as nothing."""
    try:
        picture = read_picture(path).image
        mode, counts = picture.mode, np.array(picture)
    except (OSError, Damaged) as error:
        raise UserError(f"{path}: cannot be decoded ({str(error).splitlines()[0]}); give a PNG of 16 bits") from None
    if not mode.startswith("I") or counts.ndim != 2:
        raise UserError(f"{path}: is a picture of mode {mode}; depth is one channel of 16 bits")
    metres = counts.astype(np.float32) * np.float32(unit_m)
    return depth_counts(np.where(metres < 6.5535, metres, np.float32(0)))


def read_cloud(path: Path) -> Float32[Array, "points 3"]:
    """Points of a .ply or .npy file, metres. UserErrors name what is wrong."""
    try:
        points = _read_ply(path) if path.suffix.lower() == ".ply" else _read_array(path)
    except (OSError, Damaged) as error:
        raise UserError(f"{path}: cannot be read as a point cloud ({str(error).splitlines()[0] if str(error) else type(error).__name__})") from None
    if points.ndim != 2 or points.shape[1] != 3 or points.dtype.kind not in "fiu":
        raise UserError(f"{path}: holds {points.dtype} of shape {points.shape}; a point cloud is numbers (points, 3)")
    finite = points[np.isfinite(points).all(1)]
    if len(finite) and np.abs(finite).max() > LARGEST_POINT_M:
        raise UserError(f"{path}: a point is {np.abs(finite).max():.0f} from the camera; points are in metres, so divide millimetres by 1,000")
    return points.astype(np.float32)


def _read_array(path: Path) -> Array:
    with open(path, "rb") as file:
        return read_npy(file, path.stat().st_size)


def _read_ply(path: Path) -> Array:
    """The points, where the header claims no more than the file can hold: trimesh believes it."""
    import trimesh

    data = path.read_bytes()
    header, found, _ = data.partition(b"end_header")
    claimed = PLY_ELEMENT.findall(header)
    if not found or not all(len(count) < 13 and int(count) <= len(data) for count in claimed):
        raise Damaged(f"its header claims {max(claimed, default=b'nothing', key=len)[:20].decode()} points, in {len(data):,} bytes")
    try:
        return np.asarray(trimesh.load(io.BytesIO(data), file_type="ply", process=False).vertices)
    except Exception as error:  # trimesh raises whatever comes of damaged bytes
        raise Damaged(" ".join(str(error).split()) or type(error).__name__) from None


def parse_intrinsics(text: str) -> Float[Array, "3 3"]:
    """A camera of "fx,fy,cx,cy" in pixels; a UserError unless these are four numbers that make one."""
    try:
        fx, fy, cx, cy = (float(word) for word in text.split(","))
    except ValueError:
        raise UserError(f"--intrinsics {text}: expected fx,fy,cx,cy, four numbers in pixels") from None
    if not (np.isfinite([fx, fy, cx, cy]).all() and fx > 0 and fy > 0 and 0.5 < fx / fy < 2):
        raise UserError(f"--intrinsics {text}: focal lengths must be positive and near each other")
    return np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1.0]])
