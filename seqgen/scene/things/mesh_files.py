"""Mesh files of others, read by trimesh within limits: what a header claims is held against the file before trimesh makes anything of it, and what a mesh
names beside it (materials, pictures) is looked for in its own folder only. Does not know what a mesh is for.
"""

import io
import json
import re
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seqgen.untrusted import Damaged, read_picture

if TYPE_CHECKING:
    from trimesh import Trimesh

MAX_BYTES = 64 * 2**20  # of a mesh, and of each file that it names
MAX_CORNERS = 3_000_000  # of all faces that a scene shows, each time that it shows them
PLY_ELEMENT = re.compile(rb"^\s*element\s+(\S+)\s+(\S+)", re.MULTILINE)
LARGE_INDEX = re.compile(rb"^\s*f\b[^\n]*?(\d{8,})", re.MULTILINE)  # of a face of an .obj: trimesh makes arrays as long as the largest one
GLB_JSON, GLB_BINARY = b"JSON", b"BIN\0"


def read_mesh(path: Path) -> "Trimesh":
    """The one mesh of a file, its parts joined. Raises Damaged, OSError, or whatever trimesh's readers do."""
    import trimesh

    data = _read_bytes(path)
    kind = path.suffix.lower().removeprefix(".")
    _CHECKS.get(kind, lambda data: None)(data)
    beside = _beside(trimesh.resolvers.Resolver, path.parent)
    mesh = trimesh.load_mesh(io.BytesIO(data), file_type=kind, resolver=beside, process=False)
    if beside.refused:  # trimesh goes on without what it does not get
        raise beside.refused[0]
    return mesh


def _read_bytes(path: Path) -> bytes:
    with open(path, "rb") as file:
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise Damaged(f"{path.name} has more than {MAX_BYTES // 2**20} MB")
    return data


def _beside(base: type, folder: Path) -> Any:
    """What trimesh asks for the files that a mesh names; of those that are there but must not be read, `refused` keeps why."""

    class Beside(base):
        def __init__(self) -> None:
            self.refused: list[Damaged] = []

        def get(self, key: str) -> bytes:
            place = folder / str(key).strip().replace("\\", "/").removeprefix("./")
            if not place.resolve().is_relative_to(folder.resolve()):
                self.refused.append(Damaged(f"it names {str(key)[:80]!a}, which is outside of its folder"))
                raise self.refused[-1]
            try:
                data = _read_bytes(place)
                _check_picture(data, place.name)
            except Damaged as error:
                self.refused.append(error)
                raise
            return data

        def keys(self) -> Iterator[str]:
            return iter(())

        def namespaced(self, namespace: str) -> "Beside":
            return self

        def write(self, name: str, data: bytes) -> None:
            raise PermissionError(name)

    return Beside()


def _check_picture(data: bytes, name: str) -> None:
    """Damaged for a picture that is not to be read; what is no text is taken for one."""
    if name.lower().endswith((".mtl", ".bin")):
        return
    try:
        read_picture(io.BytesIO(data))
    except Damaged as error:
        raise Damaged(f"picture {name}: {error}") from None


def _check_ply(data: bytes) -> None:
    header, found, _ = data.partition(b"end_header")
    if not found:
        raise Damaged("its header has no end")
    _check_counts(((name.decode("ascii", "replace"), count) for name, count in PLY_ELEMENT.findall(header)), len(data))


def _check_off(data: bytes) -> None:
    lines = (line for line in data[:65_536].splitlines() if line.strip() and not line.lstrip().startswith(b"#"))
    words = b" ".join(line for _, line in zip(range(2), lines, strict=False)).split()
    if len(words) < 3 or b"OFF" not in words[0]:
        raise Damaged("it does not begin with OFF and three numbers")
    _check_counts(zip(("vertices", "faces"), words[1:3], strict=True), len(data))


def _check_counts(claimed: Iterable[tuple[str, bytes]], num_bytes: int) -> None:
    """An element takes a byte at least."""
    for name, text in claimed:
        if not text.isdigit():
            raise Damaged(f"its header claims {text[:20].decode('ascii', 'replace')!a} of {name}")
        if len(text) > 12 or int(text) > num_bytes:
            raise Damaged(f"its header claims {text[:20].decode()} of {name}, in {num_bytes:,} bytes")


def _check_obj(data: bytes) -> None:
    if found := LARGE_INDEX.search(data):
        line = data.count(b"\n", 0, found.start(1)) + 1
        raise Damaged(f"line {line}: a face has vertex {found[1][:20].decode()}, of which there are not so many")


def _check_glb(data: bytes) -> None:
    """Of a binary glTF: accessors lie within the file, the faces of all nodes are no more than MAX_CORNERS allow, and its pictures are sound."""
    chunks = dict(_glb_chunks(data))
    try:
        tree = json.loads(chunks[GLB_JSON])
        for number, accessor in enumerate(tree.get("accessors", ())):
            if not 0 <= accessor["count"] <= len(data):
                raise Damaged(f"accessor {number} claims {accessor['count']} elements, in {len(data):,} bytes")
        corners = [sum(_num_corners(primitive, tree["accessors"]) for primitive in mesh["primitives"]) for mesh in tree.get("meshes", ())]
        shown = sum(corners[node["mesh"]] for node in tree.get("nodes", ()) if "mesh" in node)
        pictures = [_embedded(tree, image, chunks.get(GLB_BINARY, b"")) for image in tree.get("images", ())]
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise error if isinstance(error, Damaged) else Damaged(f"damaged glTF: {type(error).__name__}: {error}") from None
    if shown > MAX_CORNERS:
        raise Damaged(f"its nodes show {shown // 3:,} faces")
    for number, picture in enumerate(pictures):
        _check_picture(picture, f"{number} in it") if picture else None


def _glb_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Kind and content of the chunks, those cut short as far as they go."""
    at = 12
    while at + 8 <= len(data):
        length, kind = struct.unpack_from("<I4s", data, at)
        yield kind, data[at + 8 : at + 8 + length]
        at += 8 + length


def _num_corners(primitive: dict[str, Any], accessors: list[dict[str, Any]]) -> int:
    return accessors[primitive.get("indices", primitive["attributes"]["POSITION"])]["count"]


def _embedded(tree: dict[str, Any], image: dict[str, Any], binary: bytes) -> bytes:
    """The bytes of a picture within the file; nothing for one beside it. Addresses that hold the data themselves are refused: nobody looks into them."""
    if "bufferView" not in image:
        if str(image["uri"]).startswith("data:"):
            raise Damaged("it holds a picture in an address; export it as one binary file")
        return b""
    view = tree["bufferViews"][image["bufferView"]]
    start = view.get("byteOffset", 0)
    return binary[start : start + view["byteLength"]]


_CHECKS = {"ply": _check_ply, "off": _check_off, "obj": _check_obj, "glb": _check_glb}
