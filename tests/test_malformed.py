"""Malformed inputs of `generate`: configs, pose banks, MANO files, encoders, meshes, photos, skins. Each is refused with exit code 2 and one line that names file and
place; nothing is written. 152 rows here and 111 in test_malformed_learning.py, beside those of test_cli.py (36), test_cli_depth.py, test_cli_learning.py and
test_mano.py, which are not repeated.
"""

import json
import struct
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
import torch
from malformed import BAD_PICTURES, POSTSCRIPT, Made, Row, Touch, bomb_npz, check_refused, harm, lying_npy, npy, npz, pickled, picture, png, put, safetensors, zipped
from mano_files import mano_arrays, write_mano, write_mano_uv
from safetensors.torch import load_file, save_file

from seqgen.hand import load_hand
from seqgen.hand.fit import SHIPPED
from seqgen.poses import load_built_in_bank
from seqgen.skeleton import JOINT_SETS

Array = np.ndarray
TINY = "--workers 0 --sequences 2 --clip.frames 3 --clip.size 64,48 --poses.rows 1500 --split.val 0 --split.test 0 --output.preview 0".split()


def generate(*words: object) -> Made:
    return ["generate", *words, *TINY] if words and not str(words[0]).startswith("-") else ["generate", *TINY, *words]


@lru_cache
def hands() -> Array:
    """Forty right hands half a metre before the camera, canonical, metres. Do not change them."""
    return load_built_in_bank(1500).joints_m[::37][:40].astype(float) + np.array([0.0, 0.0, 0.5])


# --- configs ---


def config(text: str | bytes, said: str) -> Row:
    return lambda p: generate(put(p, "mine.toml", text)), rf"mine\.toml[,:] .*{said}"


CONFIGS: dict[str, Row] = {
    "empty name of a key": config('"" = 1', "unknown key"),
    "a key twice": config("seed = 1\nseed = 2", "Cannot overwrite"),
    "a table twice": config("[clip]\nframes = 2\n[clip]\nfps = 3", "line 3"),
    "a value where a section is": config("clip = 3", "clip"),
    "a section where a value is": config("[seed]\nframes = 2", "seed"),
    "a list where a section is": config("[[clip]]\nframes = 2", "clip"),
    "unknown key in a section": config("[camera]\nfoo = 1", "unknown key camera.foo"),
    "a string for a number": config('[clip]\nframes = "three"', "clip.frames"),
    "a fraction for a whole number": config("[clip]\nframes = 2.5", "clip.frames"),
    "a boolean for a number": config("seed = true", "seed"),
    "a number for a boolean": config("[hand]\nrefine = 3", "hand.refine"),
    "no number": config("[clip]\nfps = nan", "clip.fps"),
    "infinity": config("[clip]\nfps = inf", "clip.fps"),
    "a negative seed": config("seed = -1", "seed"),
    "a seed beyond 64 bits": config("seed = 99999999999999999999", "seed"),
    "a number of five thousand digits": config("seed = " + "9" * 5_000, "not valid TOML"),
    "a date for a number": config("seed = 2024-01-01", "seed"),
    "a million clips a shard too many": config("[output]\nsequences_per_shard = 1000000000", "sequences_per_shard"),
    "three sides of a picture": config("[clip]\nsize = [64, 48, 3]", "clip.size"),
    "a table within tables without end": config("a = " + "[\n" * 20_000, "not valid TOML"),
    "an object within objects without end": config("\n".join(["seed = 1", "a" + ".a" * 50_000 + " = 1"]), "line 2: .*no config file"),
    "bytes that are no text": config(b"seed = 1\n# \xff\xfe\n", "not valid TOML"),
    "binary": config(bytes(range(256)), "not valid TOML"),
    "a NUL": config("seed = 1\0", "not valid TOML"),
    "an unclosed string": config('hand.kind = "open', "Unterminated string"),
    "a carriage return alone": config("seed = 1\rsequences = 2", "not valid TOML"),
    "JSON": config('{"seed": 1}', "line 1"),
    "YAML that would run something": config("!!python/object/apply:os.system ['true']", "not valid TOML"),
    "a line of twenty thousand characters": config("# " + "x" * 20_000, "line 1: .*no config file"),
    "a file of two megabytes": config(("# " + "x" * 70 + "\n") * 30_000, "no config file"),
    "an endless file": (lambda p: generate("/dev/zero"), "/dev/zero, line 1: .*no config file"),
    "a folder": (lambda p: generate(put(p, "a.toml/b", "").parent), r"a\.toml: is a folder"),
    "splits of nothing": config("[split]\ntrain = 0\nval = 0\ntest = 0", "split"),
}


# --- pose banks ---


def bank(kind: str, name: str, content: bytes | str | Callable[[], bytes | str], said: str) -> Row:
    def made(folder: Path) -> Made:
        path = put(folder, name, content() if callable(content) else content)
        return generate("--pose-bank", path, "--pose-format", kind)

    return made, rf"{name.split('/')[-1]}[,:] ?.*{said}"


def lines(change: Callable[[list[str]], list[str]] = lambda rows: rows) -> str:
    """HANDS 2017 text of the forty hands, changed."""
    rows = JOINT_SETS["hands17"].from_canonical(hands()) * 1e3
    return "\n".join(change([f"image_D{n:08d}.png\t" + "\t".join(f"{value:.4f}" for value in row.ravel()) for n, row in enumerate(rows, 1)]))


def with_line(number: int, line: str) -> Callable[[], str]:
    return lambda: lines(lambda rows: [*rows[: number - 1], line, *rows[number:]])


def bighand(text: Callable[[], str]) -> Row:
    def made(folder: Path) -> Made:
        put(folder, "full_annotation/Subject_1/1 75_loc.txt", text())
        return generate("--pose-bank", folder, "--pose-format", "bighand")

    return made, "1 75_loc.txt, line 5: "


def with_npz(**changed: Array) -> Callable[[], bytes]:
    return lambda: npz(**{"joints_m": hands(), **changed})


def mano_order() -> Array:
    return JOINT_SETS["mano"].from_canonical(hands()).reshape(40, 63)


TEXT_BANKS = {
    "a line without end": bank("hands17", "b.txt", "x" * 3_000_000, "line 1: "),
    "a number without end": bank("hands17", "b.txt", with_line(3, "a.png\t" + "\t".join(["1" * 400] * 63)), "line 3: "),
    "hexadecimal": bank("hands17", "b.txt", with_line(4, "a.png\t" + "\t".join(["0x1"] * 63)), "line 4: '0x1' is not a number"),
    "digits of another script": bank("hands17", "b.txt", with_line(4, "a.png\t" + "\t".join(["१२"] * 63)), "line 4: .* is not a number"),
    "commas for points": bank("hands17", "b.txt", with_line(2, "a.png\t" + "\t".join(["1,5"] * 63)), "line 2: '1,5' is not a number"),
    "infinity by another name": bank("hands17", "b.txt", with_line(2, "a.png\t" + "\t".join(["-Infinity"] * 63)), "line 2: .*finite"),
    "beyond all sense": bank("hands17", "b.txt", with_line(2, "a.png\t" + "\t".join(["1e30"] * 63)), "line 2: .*finite"),
    "UTF-16": bank("hands17", "b.txt", lambda: lines().encode("utf-16"), "binary"),
    "a page of the web": bank("hands17", "b.txt", "<!DOCTYPE html>\n<html>", "line 1: "),
    "a picture": bank("hands17", "b.txt", picture("PNG"), "binary"),
    "one place for all joints": bank("hands17", "b.txt", lambda: "\n".join(["a.png" + "\t5" * 63] * 40), "no hands"),
    "a NUL far behind": bank("hands17", "b.txt", lambda: (lines() + "\n") * 3 + "x\0y 1", "line 121: "),
    "bighand: 62 numbers": bighand(with_line(5, "5\t" + "\t".join(["1.0"] * 62))),
    "bighand: words": bighand(with_line(5, "5\t" + "\t".join(["one"] * 63))),
    "bighand: no number": bighand(with_line(5, "5\t" + "\t".join(["nan"] * 63))),
    "bighand: no annotations": (lambda p: generate("--pose-bank", put(p, "Subject_1/README.txt", "x").parents[1], "--pose-format", "bighand"), "holds no annotations"),
    "bighand: empty files": (lambda p: generate("--pose-bank", put(p, "Subject_1/a.txt", "").parents[1], "--pose-format", "bighand"), "holds no annotations"),
}
NUMPY_BANKS = {
    "npz: a text": bank("npz", "b.npz", "no archive", "not a .npz"),
    "npz: cut short": bank("npz", "b.npz", lambda: with_npz()()[:-200], "not a .npz"),
    "npz: a picture": bank("npz", "b.npz", picture(), "not a .npz"),
    "npz: no arrays": bank("npz", "b.npz", lambda: zipped({"a.txt": b"hello"}), "no array joints_m"),
    "npz: a member that is no array": bank("npz", "b.npz", lambda: zipped({"joints_m.npy": b"hello"}), "joints_m"),
    "npz: objects": bank("npz", "b.npz", lambda: zipped({"joints_m.npy": npy(np.array([{}], object), objects=True)}), "Object arrays"),
    "npz: a giant shape": bank("npz", "b.npz", lambda: zipped({"joints_m.npy": lying_npy((10**12, 21, 3))}), "header says .*joints_m"),
    "npz: a shape that wraps around": bank("npz", "b.npz", lambda: zipped({"joints_m.npy": lying_npy((2**62, 21, 4))}), "header says .*joints_m"),
    "npz: a shape below nothing": bank("npz", "b.npz", lambda: zipped({"joints_m.npy": lying_npy((-1, 21, 3))}), "header .*damaged.*joints_m"),
    "npz: a header that runs something": bank("npz", "b.npz", lambda: zipped({"joints_m.npy": lying_npy("__import__('os').getcwd()")}), "damaged"),
    "npz: a header within headers": bank("npz", "b.npz", lambda: zipped({"joints_m.npy": b"\x93NUMPY\1\0\xff\x20" + b"(" * 8447}), "damaged"),
    "npz: a header of four gigabytes": bank("npz", "b.npz", lambda: zipped({"joints_m.npy": b"\x93NUMPY\2\0\xff\xff\xff\xff" + b" " * 99}), "header .*claims"),
    "npz: a number of no type": bank("npz", "b.npz", lambda: zipped({"joints_m.npy": lying_npy((1, 21, 3), "<f7")}), "no numbers of type"),
    "npz: records": bank("npz", "b.npz", lambda: zipped({"joints_m.npy": lying_npy((1, 21, 3), [("a", "<f8")])}), "none of plain numbers"),
    "npz: a zip bomb": bank("npz", "b.npz", lambda: bomb_npz("joints_m.npy", 100 * 2**20, (208050, 21, 3)), "unpacks to"),
    "npz: packed by LZMA": bank("npz", "b.npz", lambda: zipped({"joints_m.npy": npy(hands())}, method=14), "packed"),
    "npz: a wrong sum": bank("npz", "b.npz", lambda: with_npz()().replace(b"\x93NUMPY\1\0", b"\x93NUMPY\1\0", 1)[:2000] + b"x" + with_npz()()[2001:], "damaged archive"),
    "npz: beyond all sense": bank("npz", "b.npz", with_npz(joints_m=np.full((40, 21, 3), 1e300)), "row 0 .*not finite"),
    "npz: dates": bank("npz", "b.npz", with_npz(joints_m=np.zeros((40, 21, 3), "M8[s]")), "none of plain numbers"),
    "npz: a joint set of another name": bank("npz", "b.npz", with_npz(joint_set=np.array("coco")), "joint_set is 'coco'"),
    "npz: a subject too few": bank("npz", "b.npz", with_npz(subject=np.zeros(39, int)), "subject has shape"),
    "npz: a pickle by its name": bank("npz", "b.npz", lambda: pickled({"joints_m": [1]}), "not a .npz"),
    "npy: a giant shape": bank("seqhand-npy", "b.npy", lying_npy((10**12, 63)), "header says"),
    "npy: a shape that wraps around": bank("seqhand-npy", "b.npy", lying_npy((2**61, 63), data=bytes(504)), "header says"),
    "npy: cut short": bank("seqhand-npy", "b.npy", lambda: npy(mano_order())[:-8], "header says"),
    "npy: objects": bank("seqhand-npy", "b.npy", lambda: npy(np.array([{}], object), objects=True), "Object arrays"),
    "npy: text": bank("seqhand-npy", "b.npy", lambda: npy(np.array(["a"] * 63)), "expected numbers"),
    "npy: a header alone": bank("seqhand-npy", "b.npy", b"\x93NUMPY", "no header"),
    "npy: an unknown version": bank("seqhand-npy", "b.npy", b"\x93NUMPY\x09\0" + bytes(99), "no header"),
    "npy: no numbers": bank("seqhand-npy", "b.npy", lambda: npy(np.full((40, 63), np.inf)), "row 0 .*not finite"),
    "npy: 62 columns": bank("seqhand-npy", "b.npy", lambda: npy(mano_order()[:, :62]), "expected numbers of shape"),
}


# --- MANO files and encoders ---


def mano(change: Callable[[Path], object], said: str) -> Row:
    """MANO's files after a change in their folder."""

    def made(folder: Path) -> Made:
        write_mano(folder)
        change(folder)
        return generate("--hand", "mano", "--hand.mano-dir", folder)

    return made, rf"MANO_\w+\.(pkl|npz|obj)[,:] ?.*{said}"


def mano_npz(**changed: Array) -> Callable[[Path], object]:
    def change(folder: Path) -> None:
        (folder / "MANO_RIGHT.pkl").unlink()
        np.savez(folder / "MANO_RIGHT.npz", **{**{key: value for key, value in mano_arrays().items() if isinstance(value, np.ndarray)}, **changed})

    return change


def mano_of(content: bytes, ending: str = "pkl") -> Callable[[Path], object]:
    return lambda folder: (folder / "MANO_RIGHT.pkl").unlink() or put(folder, f"MANO_RIGHT.{ending}", content)


def uv(pattern: str, instead: str) -> Callable[[Path], object]:
    def change(folder: Path) -> None:
        path = write_mano_uv(folder)
        path.write_text(path.read_text().replace(pattern, instead, 1))

    return change


def encoder(content: Callable[[], bytes], said: str) -> Row:
    return lambda p: generate("--hand.encoder", put(p, "e.safetensors", content())), rf"e\.safetensors: .*{said}"


def encoder_with(**changed: torch.Tensor) -> Callable[[], bytes]:
    from safetensors.torch import save

    return lambda: save({**load_file(SHIPPED), **{name.replace("__", "."): tensor for name, tensor in changed.items()}})


HANDS = {
    "MANO in millimetres": mano(mano_npz(v_template=mano_arrays()["v_template"] * 1e3), "palm measures"),
    "MANO's npz: complex numbers": mano(mano_npz(v_template=mano_arrays()["v_template"] + 0j), "v_template holds complex128"),
    "MANO's npz: text": mano(mano_npz(weights=np.array(["a"])), "weights holds <U1"),
    "MANO's npz: a giant shape": mano(mano_of(zipped({"v_template.npy": lying_npy((10**12, 3))}), "npz"), "header says .*v_template"),
    "MANO's npz: a zip bomb": mano(lambda folder: mano_of(bomb_npz("weights.npy", 100 * 2**20, (13107200,)), "npz")(folder), "unpacks to"),
    "MANO's pickle: a sparse matrix of a gigabyte": mano(
        lambda folder: (folder / "MANO_RIGHT.pkl").write_bytes(pickled({"J_regressor": _sparse((16, 8_000_000))})), "J_regressor: .*has the shape"
    ),
    "MANO's pickle: compressed": mano(mano_of(b"\x1f\x8b\x08" + bytes(40)), "no pickle"),
    "MANO's pickle: it would make a file": mano(lambda folder: mano_of(pickled({"v_template": Touch(harm(folder))}))(folder), "refused to load"),
    "MANO's npz: objects that would make a file": mano(
        lambda folder: mano_of(zipped({"v_template.npy": npy(np.array([Touch(harm(folder))], object), objects=True)}), "npz")(folder), "Object arrays"
    ),
    "MANO's coordinates: too many digits": mano(uv("vt ", "vt " + "9" * 5000 + " "), "line "),
    "MANO's coordinates: a file of eleven megabytes": mano(lambda folder: put(folder, "MANO_UV_right.obj", "# " + "x" * 11_000_000), "MB"),
    "encoder: text": encoder(lambda: b"no weights", "not an encoder"),
    "encoder: nothing": encoder(lambda: b"", "not an encoder"),
    "encoder: cut short": encoder(lambda: SHIPPED.read_bytes()[:-100], "not an encoder"),
    "encoder: a header of exabytes": encoder(lambda: struct.pack("<Q", 2**60) + b"{}", "not an encoder"),
    "encoder: a header that is no JSON": encoder(lambda: safetensors(b"{'a': 1}"), "not an encoder"),
    "encoder: offsets beyond the file": encoder(lambda: safetensors({"mean": {"dtype": "F32", "shape": [63], "data_offsets": [0, 252]}}), "not an encoder"),
    "encoder: a shape that is not its bytes": encoder(lambda: safetensors({"mean": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 4]}}, bytes(4)), "not an encoder"),
    "encoder: numbers of no type": encoder(lambda: safetensors({"mean": {"dtype": "F99", "shape": [1], "data_offsets": [0, 4]}}, bytes(4)), "not an encoder"),
    "encoder: of another network": encoder(lambda: safetensors({"conv1.weight": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}, bytes(4)), "conv1.weight"),
    "encoder: an array too few": encoder(lambda: safetensors({}), "absent"),
    "encoder: another shape": encoder(encoder_with(mean=torch.zeros(64)), r"mean is \[64\], expected \[63\]"),
    "encoder: no numbers": encoder(encoder_with(layers__0__bias=torch.full((256,), torch.nan)), "layers.0.bias holds"),
    "encoder: a scale of zero": encoder(encoder_with(scale=torch.zeros(63)), "scale holds a zero"),
    "encoder: a pickle": encoder(lambda: pickled({"mean": 1}), "not an encoder"),
    "encoder: a folder": (lambda p: generate("--hand.encoder", put(p, "e/x", "").parent), "/e: "),
}


def _sparse(shape: tuple[int, int]) -> object:
    from scipy import sparse

    matrix = sparse.csc_matrix((4, 4))
    matrix.__dict__.update(_shape=shape)
    return matrix


# --- meshes, photos, skins ---


def mesh(name: str, content: bytes | str, said: str, **beside: bytes | str) -> Row:
    def made(folder: Path) -> Made:
        put(folder, f"m/{name}", content)
        for other, data in beside.items():
            put(folder, f"m/{other.replace('__', '.')}", data)
        return generate("--occluder.folder", folder / "m")

    return made, rf"{name}: .*{said}"


BOMB = png(50_000, 50_000, pixels=b"")
CORNERS = "v 0 0 0\nv 1 0 0\nv 0 1 0\nv 0 0 1\n"
FACES = "f 1 3 2\nf 1 2 4\nf 2 3 4\nf 1 4 3\n"
TEXTURED = "mtllib m.mtl\nusemtl m\nvt 0 0\nvt 1 0\nvt 0 1\n" + CORNERS + "f 1/1 3/3 2/2\nf 1/1 2/2 4/3\nf 2/1 3/2 4/3\nf 1/1 4/2 3/3\n"


def glb(tree: object, binary: bytes = b"") -> bytes:
    text = tree if isinstance(tree, bytes) else json.dumps(tree).encode()
    text += b" " * (-len(text) % 4)
    chunks = struct.pack("<I4s", len(text), b"JSON") + text + struct.pack("<I4s", len(binary), b"BIN\0") + binary
    return struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks


def shown(nodes: int, count: int) -> dict[str, object]:
    """A scene that shows one mesh many times."""
    accessor = {"componentType": 5126, "count": count, "type": "VEC3", "bufferView": 0}
    primitive = {"attributes": {"POSITION": 0}}
    return {"accessors": [accessor], "meshes": [{"primitives": [primitive]}], "nodes": [{"mesh": 0}] * nodes, "bufferViews": [{"buffer": 0, "byteLength": 12 * count}]}


PLY = "ply\nformat ascii 1.0\nelement vertex {}\nproperty float x\nproperty float y\nproperty float z\nelement face {}\nproperty list uchar int vertex_indices\nend_header\n"
MESHES = {
    "obj: nothing": mesh("a.obj", "", "mesh"),
    "obj: words for numbers": mesh("a.obj", CORNERS.replace("1 0 0", "a b c") + FACES, "cannot be read"),
    "obj: no numbers": mesh("a.obj", CORNERS.replace("1 0 0", "nan 0 0") + FACES, "finite|cannot be read"),
    "obj: a vertex that is not there": mesh("a.obj", CORNERS + FACES.replace("4", "9"), "cannot be read|finite|holes"),
    "obj: a vertex of a thousand millions": mesh("a.obj", CORNERS + FACES.replace("4", "1000000000"), "line 6: a face has vertex 1000000000"),
    "obj: a hole": mesh("a.obj", CORNERS + FACES[:-8], "holes"),
    "obj: flat": mesh("a.obj", CORNERS.replace("0 0 1", "1 1 0") + FACES, "flat"),
    "obj: a material outside of its folder": mesh("a.obj", TEXTURED.replace("m.mtl", "../../../etc/passwd"), "outside of its folder"),
    "obj: a picture outside of its folder": mesh("a.obj", TEXTURED, "outside of its folder", m__mtl="newmtl m\nmap_Kd /etc/passwd\n"),
    "obj: a picture that is a bomb": mesh("a.obj", TEXTURED, "picture b.png: .*pixels", m__mtl="newmtl m\nmap_Kd b.png\n", b__png=png(50_000, 50_000, pixels=b"")),
    "obj: a picture that is a program": mesh("a.obj", TEXTURED, "picture b.png: ", m__mtl="newmtl m\nmap_Kd b.png\n", b__png=POSTSCRIPT),
    "ply: a header without end": mesh("a.ply", "ply\nformat ascii 1.0\nelement vertex 3\n", "header has no end"),
    "ply: claims a million millions": mesh("a.ply", PLY.format(10**12, 4) + "0 0 0\n", "header claims 1000000000000 of vertex"),
    "ply: claims less than nothing": mesh("a.ply", PLY.format(-4, 4) + "0 0 0\n", "header claims '-4' of vertex"),
    "ply: cut short": mesh("a.ply", PLY.format(4, 4) + "0 0 0\n1 0 0\n", "cannot be read|no faces"),
    "stl: claims four thousand millions": mesh("a.stl", bytes(80) + struct.pack("<I", 2**32 - 1) + bytes(50), "cannot be read|no faces"),
    "stl: text": mesh("a.stl", "no mesh", "mesh"),
    "off: claims a million millions": mesh("a.off", "OFF\n1000000000000 4 6\n0 0 0\n", "header claims 1000000000000 of vertices"),
    "off: no numbers": mesh("a.off", "OFF\nx y z\n", "header claims 'x' of vertices"),
    "glb: nothing": mesh("a.glb", b"", "cannot be read"),
    "glb: no JSON": mesh("a.glb", glb(b"{no json}"), "damaged glTF"),
    "glb: an accessor that claims millions": mesh("a.glb", glb(shown(1, 10**9)), "accessor 0 claims 1000000000 elements"),
    "glb: a mesh shown a million times": mesh("a.glb", glb(shown(1_000_000, 9), bytes(108)), "nodes show 3,000,000 faces"),
    "glb: a picture that is a bomb": mesh(
        "a.glb",
        glb({**shown(1, 3), "images": [{"bufferView": 1}], "bufferViews": [{"byteLength": 36}, {"byteOffset": 36, "byteLength": 999}]}, bytes(36) + BOMB),
        "picture 0 in it: .*pixels",
    ),
    "glb: lists within lists": mesh("a.glb", glb(b"[" * 100_000), "damaged glTF"),
}
PHOTOS: dict[str, Row] = {
    name: (lambda p, data=data: generate("--background.folder", put(p, "photos/a.png", data).parent), rf"photos: holds no readable image; a\.png is none \(.*({said})")
    for name, (data, said) in BAD_PICTURES.items()
}


def skin(name: str, content: bytes | str, said: str) -> Row:
    return lambda p: generate("--skin.folder", put(p, f"s/{name}", content).parent), rf"{name}[,:] .*{said}"


SKINS: dict[str, Row] = {
    "skin: a picture that is a bomb": skin("a.png", png(50_000, 50_000, pixels=b""), "pixels"),
    "skin: a program in PostScript": skin("a.png", POSTSCRIPT, "cannot be decoded"),
    "skin: a bomb in a text chunk": skin("a.png", *BAD_PICTURES["a bomb in a text chunk"]),
    "skin: a vertex without a colour": skin("a.obj", "v 0 0 0 1 1 1\nv 0 0 0\n", "line 2: .*no colours"),
    "skin: words": skin("a.obj", "v 0 0 0 1 1 1\n\nv 0 0 0 a b c\n", "line 3: .*cannot be read"),
    "skin: no numbers": skin("a.obj", "v 0 0 0 nan 0 0\n", "line 1: .*outside"),
    "skin: brighter than white": skin("a.obj", "v 0 0 0 0 0 256\n", "line 1: .*outside"),
    "skin: of another hand": skin("a.obj", "v 0 0 0 1 1 1\n" * 778, "778 coloured vertices"),
    "skin: binary": skin("a.obj", bytes(range(256)) * 9, "no colours"),
}
ROWS = CONFIGS | TEXT_BANKS | NUMPY_BANKS | HANDS | MESHES | {f"photo: {name}": row for name, row in PHOTOS.items()} | SKINS


@pytest.mark.parametrize("name", ROWS)
def test_a_malformed_input_is_one_line(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> None:
    make, pattern = ROWS[name]
    (tmp_path / "given").mkdir()
    words = make(tmp_path / "given")
    check_refused(words, pattern, tmp_path / "out", capsys, caplog)
    assert not harm(tmp_path / "given").exists()


def test_the_tables_are_as_long_as_they_say() -> None:
    from test_malformed_learning import ROWS as OTHERS

    said = [int(word) for word in __doc__.split() if word.isdigit()]
    assert said[:3] == [2, len(ROWS), len(OTHERS)] and len(ROWS) + len(OTHERS) >= 150


def test_the_same_files_unharmed_are_taken(tmp_path: Path) -> None:
    """What the rows above are injured copies of."""
    from seqgen.hand.fit import read_encoder
    from seqgen.poses import load_bank
    from seqgen.scene.things.meshes import MeshRef, load_mesh

    annotations = {"hands17": ("b.txt", lines().encode()), "npz": ("b.npz", with_npz()()), "seqhand-npy": ("b.npy", npy(mano_order()))}
    for kind, (name, data) in annotations.items():
        assert len(load_bank(put(tmp_path, name, data), kind)) == 40
    write_mano(tmp_path)
    write_mano_uv(tmp_path)
    assert len(load_hand("mano", mano_dir=tmp_path).uv_faces)
    save_file(load_file(SHIPPED), tmp_path / "e.safetensors")
    read_encoder(tmp_path / "e.safetensors")
    put(tmp_path, "m.mtl", "newmtl m\nmap_Kd b.png\n")
    put(tmp_path, "b.png", picture("PNG"))
    for name, text in {"a.obj": CORNERS + FACES, "t.obj": TEXTURED, "a.ply": PLY.format(4, 4) + "0 0 0\n1 0 0\n0 1 0\n0 0 1\n3 0 2 1\n3 0 1 3\n3 1 2 3\n3 0 3 2\n"}.items():
        solid = load_mesh(MeshRef(name, str(put(tmp_path, name, text))))
        assert len(solid.faces) == 4 and (solid.material is not None) == (name == "t.obj")
