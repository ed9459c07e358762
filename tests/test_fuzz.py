"""Whatever bytes become of a sound file, its reader takes them or says in a line why not (UserError): it raises nothing else, and comes back.

Files of every kind are changed by hypothesis: bytes turned, cut, doubled, exchanged, numbers replaced by odd ones. What is packed or hashed is changed before it is
packed, for else every change would end at a checksum. `pytest -m slow tests/test_fuzz.py` tries more of each.
"""

import io
import json
import re
import struct
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import torch
import trimesh
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from malformed import npy, npz, picture, put, zipped
from mano_files import mano_arrays, mano_pickle, write_mano, write_mano_uv
from PIL import Image
from real_sets import write_folder
from safetensors.torch import save
from sequences import QUALITY, make_sequence
from test_malformed import CORNERS, FACES, PLY, TEXTURED, hands, lines, mano_order

from seqgen.benchmarks.folder import LabelledFolder
from seqgen.benchmarks.pictures import read_mask, read_upright
from seqgen.config import read_config
from seqgen.dataset.encoding import encode_sequence
from seqgen.dataset.png import encode_png
from seqgen.dataset.shards import read_shard
from seqgen.errors import UserError
from seqgen.estimators.checkpoint import RECORD_NAME, WEIGHTS_NAME, load_estimator, new_estimator, save_estimator
from seqgen.estimators.resnet import read_weights
from seqgen.estimators.srn.estimator import SrnConfig
from seqgen.estimators.views.cube import CubeConfig
from seqgen.files import file_digest
from seqgen.hand import load_hand
from seqgen.hand.fit import SHIPPED, read_encoder
from seqgen.pipeline.config import GenerateConfig
from seqgen.poses.formats import read_annotations
from seqgen.prediction.depth_frames import read_cloud, read_depth
from seqgen.scene.skin.folder import read_template
from seqgen.scene.surroundings.photos import list_photos
from seqgen.scene.things.meshes import MeshRef, load_mesh
from seqgen.splits import SplitConfig

ODD_NUMBERS = (b"nan", b"-inf", b"1e400", b"1e30", b"-1", b"0", b"99999999999999999999", b"0.5", b"", b"null", b"true", b"[]", b'"a"', b"1e-320")
NUMBER = re.compile(rb"-?\d+(\.\d+)?(e-?\d+)?")
FEW, MANY = 12, 1500


@dataclass(frozen=True)
class Kind:
    """A kind of file: sound content, made once a session, and what reads it, once it lies somewhere."""

    sound: Callable[[], bytes]
    read: Callable[[Path, bytes], object]


@st.composite
def changes(draw: st.DrawFn) -> Callable[[bytes], bytes]:
    """Some changes of bytes, at places that are shares of their length."""
    step = st.tuples(st.sampled_from("turn cut drop double insert swap number number".split()), st.floats(0, 1), st.integers(0, 255), st.floats(0, 1))
    steps = draw(st.lists(step, min_size=1, max_size=3))

    def changed(data: bytes) -> bytes:
        for name, where, value, share in steps:
            data = _changed(data, name, int(where * max(0, len(data) - 1)), value, share)
        return data

    return changed


def _changed(data: bytes, name: str, at: int, value: int, share: float) -> bytes:
    length = 1 + int(share**4 * (len(data) - at))
    match name:
        case "turn":
            return data[:at] + bytes([value]) + data[at + 1 :]
        case "cut":
            return data[:at]
        case "drop":
            return data[:at] + data[at + length :]
        case "double":
            return data[: at + length] + data[at : at + length] + data[at + length :]
        case "insert":
            return data[:at] + bytes([value]) * (1 + value % 9) + data[at:]
        case "swap":
            return data[at : at + length] + data[:at] + data[at + length :]
    found = NUMBER.search(data, at)
    return data if found is None else data[: found.start()] + ODD_NUMBERS[value % len(ODD_NUMBERS)] + data[found.end() :]


# --- how each kind is read ---


def file(name: str, read: Callable[[Path], object]) -> Callable[[Path, bytes], object]:
    return lambda folder, data: read(put(folder, name, data))


def mano(name: str) -> Callable[[Path, bytes], object]:
    def read(folder: Path, data: bytes) -> object:
        if name.endswith("obj"):
            write_mano(folder)
        put(folder, name, data)
        return load_hand("mano", mano_dir=folder)

    return read


def checkpoint(name: str) -> Callable[[Path, bytes], object]:
    """A checkpoint with one of its files changed, the hash of its weights made anew."""

    def read(folder: Path, data: bytes) -> object:
        for other, content in _checkpoint().items():
            put(folder, other, content)
        put(folder, name, data)
        if name == WEIGHTS_NAME:
            record = json.loads((folder / RECORD_NAME).read_text())
            record["weights"]["sha256"] = file_digest(folder / WEIGHTS_NAME)
            put(folder, RECORD_NAME, json.dumps(record))
        return load_estimator(folder)

    return read


@lru_cache
def _checkpoint() -> dict[str, bytes]:
    torch.manual_seed(0)
    with TemporaryDirectory() as folder:
        save_estimator(Path(folder) / "c", new_estimator(SrnConfig(width=0.125)), CubeConfig(size=32), {})
        return {path.name: path.read_bytes() for path in (Path(folder) / "c").iterdir()}


@lru_cache
def members() -> dict[str, bytes]:
    return dict(encode_sequence(make_sequence(0, frames=2, pictures=("flow_px",)), jpeg_quality=QUALITY))


def shard_with(name: str) -> Callable[[Path, bytes], object]:
    """A shard of one sequence, one of whose members was changed."""

    def read(folder: Path, data: bytes) -> object:
        return list(read_shard(put(folder, "train-000000.tar", shard_of({**members(), name: data}))))

    return read


def shard_of(contents: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for member, content in contents.items():
            info = tarfile.TarInfo(f"00000000.{member}")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return stream.getvalue()


def folder_files(pick: Callable[[Path], Path]) -> Callable[[], bytes]:
    def made() -> bytes:
        with TemporaryDirectory() as folder:
            return pick(Path(folder)).read_bytes()

    return made


def labelled(folder: Path, data: bytes) -> object:
    if not (folder / "0.png").exists():
        write_folder(folder)
    put(folder, "labels.json", data)
    return [LabelledFolder(folder).read(0)]


def written_labels(folder: Path) -> Path:
    write_folder(folder, count=1)
    return folder / "labels.json"


def photos(name: str) -> Callable[[Path, bytes], object]:
    """As a photo, as a picture to predict, and as a mask."""

    def read(folder: Path, data: bytes) -> object:
        path = put(folder, f"p/{name}", data)
        for reader in (read_upright, lambda path: read_mask(path, above=9, size=(64, 48))):
            try:
                reader(path)
            except UserError:
                continue
        return list_photos(str(path.parent), SplitConfig(train=1, val=0, test=0), (16, 16))

    return read


def torch_weights() -> bytes:
    stream = io.BytesIO()
    torch.save({"conv1.weight": torch.ones(2, 3), "bn1.bias": torch.zeros(2, dtype=torch.float16)}, stream)
    return stream.getvalue()


def mesh(name: str) -> Callable[[Path, bytes], object]:
    return file(name, lambda path: load_mesh.__wrapped__(MeshRef(name, str(path))))


def annotations(kind: str) -> Callable[[Path], object]:
    return lambda path: read_annotations(path, kind)


def stl() -> bytes:
    corners = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], "<f4")
    faces = ((0, 2, 1), (0, 1, 3), (1, 2, 3), (0, 3, 2))
    return bytes(80) + struct.pack("<I", 4) + b"".join(bytes(12) + corners[list(face)].tobytes() + bytes(2) for face in faces)


def exif_picture() -> bytes:
    stream, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = 6
    Image.open(io.BytesIO(picture())).save(stream, "JPEG", exif=exif)
    return stream.getvalue()


def depth_picture() -> bytes:
    return encode_png(np.arange(48 * 64, dtype=np.uint16).reshape(48, 64))


CLOUD = PLY.format(4, 0) + "0 0 1\n1 0 1\n0 1 1\n0 0 1\n"
CONFIG = '# one\nseed = 3\nsequences = 2\n[clip]\nframes = 3\nsize = [64, 48]\n[hand]\nkind = "open"\nleft = 0.5\n[render]\nshutter = [0.0, 0.5]\n'
KINDS: dict[str, Kind] = {
    "config": Kind(CONFIG.encode, file("a.toml", lambda path: read_config(GenerateConfig, path, {}))),
    "bank hands17": Kind(lambda: lines().encode(), file("b.txt", annotations("hands17"))),
    "bank npz": Kind(lambda: npz(joints_m=hands()), file("b.npz", annotations("npz"))),
    "bank npz, its array": Kind(lambda: npy(hands()), lambda folder, data: read_annotations(put(folder, "b.npz", zipped({"joints_m.npy": data})), "npz")),
    "bank npy": Kind(lambda: npy(mano_order()), file("b.npy", annotations("seqhand-npy"))),
    "MANO pickle": Kind(lambda: mano_pickle(mano_arrays()), mano("MANO_RIGHT.pkl")),
    "MANO text pickle": Kind(lambda: mano_pickle({**mano_arrays(), "posedirs": mano_arrays()["posedirs"][:9]}, 0), mano("MANO_RIGHT.pkl")),
    "MANO npz, its faces": Kind(
        lambda: npy(mano_arrays()["f"]),
        lambda folder, data: mano("MANO_RIGHT.npz")(folder, zipped({**{f"{key}.npy": npy(np.asarray(value)) for key, value in mano_arrays().items()}, "f.npy": data}, method=0)),
    ),
    "MANO coordinates": Kind(folder_files(write_mano_uv), mano("MANO_UV_right.obj")),
    "encoder": Kind(SHIPPED.read_bytes, file("e.safetensors", read_encoder)),
    "checkpoint's record": Kind(lambda: _checkpoint()[RECORD_NAME], checkpoint(RECORD_NAME)),
    "checkpoint's weights": Kind(lambda: _checkpoint()[WEIGHTS_NAME], checkpoint(WEIGHTS_NAME)),
    "weights pth": Kind(torch_weights, file("w.pth", read_weights)),
    "weights safetensors": Kind(lambda: save({"conv1.weight": torch.ones(2, 3)}), file("w.safetensors", read_weights)),
    "mesh obj": Kind((CORNERS + FACES).encode, mesh("a.obj")),
    "mesh obj with pictures": Kind(TEXTURED.encode, mesh("t.obj")),
    "mesh ply": Kind((PLY.format(4, 4) + "0 0 0\n1 0 0\n0 1 0\n0 0 1\n3 0 2 1\n3 0 1 3\n3 1 2 3\n3 0 3 2\n").encode, mesh("a.ply")),
    "mesh off": Kind(b"OFF\n4 4 6\n0 0 0\n1 0 0\n0 1 0\n0 0 1\n3 0 2 1\n3 0 1 3\n3 1 2 3\n3 0 3 2\n".strip, mesh("a.off")),
    "mesh stl": Kind(stl, mesh("a.stl")),
    "mesh glb": Kind(lambda: trimesh.creation.box().export(file_type="glb"), mesh("a.glb")),
    **{f"picture {kind}": Kind(lambda kind=kind: picture(kind), photos("a.png")) for kind in ("PNG", "WEBP", "BMP", "GIF")},
    "picture JPEG": Kind(exif_picture, photos("a.jpg")),
    "picture TIFF": Kind(lambda: picture("TIFF"), file("a.tif", read_upright)),
    "depth picture": Kind(depth_picture, file("a.png", lambda path: read_depth(path, unit_m=1e-3))),
    "cloud npy": Kind(lambda: npy(np.ones((20, 3))), file("a.npy", read_cloud)),
    "cloud ply": Kind(CLOUD.encode, file("a.ply", read_cloud)),
    "skin": Kind(lambda: b"".join(b"v 0 0 0 0.5 0.25 %d\n" % (n % 2) for n in range(30)), file("a.obj", lambda path: read_template.__wrapped__(str(path)))),
    "labels.json": Kind(folder_files(written_labels), labelled),
    "shard": Kind(lambda: shard_of(members()), file("train-000000.tar", lambda path: list(read_shard(path)))),
    **{f"shard's {name}": Kind(lambda name=name: members()[name], shard_with(name)) for name in ("000.rgb.jpg", "001.depth.png", "000.flow.npy", "labels.npz", "meta.json")},
}
SOUND: dict[str, bytes] = {}


def check(name: str, folder: Path, change: Callable[[bytes], bytes]) -> None:
    """Read, or refused in one line of what can be printed that names the file."""
    if name not in SOUND:
        SOUND[name] = KINDS[name].sound()
    try:
        KINDS[name].read(folder, change(SOUND[name]))
    except UserError as error:
        assert str(error) and "\n" not in str(error) and str(folder) in str(error), str(error)


@pytest.mark.parametrize("name", [name for name in KINDS if name != "MANO text pickle"])  # which is smaller than a hand, for speed
def test_a_sound_file_is_read(name: str, tmp_path: Path) -> None:
    KINDS[name].read(tmp_path, KINDS[name].sound())


@pytest.mark.parametrize("name", KINDS)
@settings(max_examples=FEW, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
@given(change=changes())
def test_whatever_becomes_of_a_file(name: str, tmp_path: Path, change: Callable[[bytes], bytes]) -> None:
    check(name, tmp_path, change)


@pytest.mark.slow
@pytest.mark.parametrize("name", KINDS)
@settings(max_examples=MANY, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
@given(change=changes())
def test_whatever_becomes_of_a_file_at_length(name: str, tmp_path: Path, change: Callable[[bytes], bytes]) -> None:
    check(name, tmp_path, change)
