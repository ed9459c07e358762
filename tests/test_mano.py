"""MANO's files: read to the number in every form they come in, nothing of them run, and whatever is wrong with one said in a line. And smplx as the oracle."""

import copyreg
import dataclasses
import os
import pickle
import pickletools
import re
import struct
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from mano_files import TIP_VERTICES, chumpy_modules, left_arrays, mano_arrays, mano_pickle, uv_of_corners, write_mano, write_mano_uv
from PIL import Image

from seqgen.errors import UserError
from seqgen.hand import load_hand
from seqgen.hand.layer import HandLayer
from seqgen.hand.mano_pickle import Named, array_of, read_pickle
from seqgen.hand.model import mirrored
from seqgen.scene.skin.folder import list_skins
from seqgen.scene.skin.record import SkinConfig
from seqgen.scene.skin.unwrap import skin_uv
from seqgen.skeleton import CANONICAL_FROM_MANO
from seqgen.splits import SplitConfig

FIELDS = {
    "template_m": "v_template",
    "shape_directions": "shapedirs",
    "pose_directions": "posedirs",
    "joint_regressor": "J_regressor",
    "skinning_weights": "weights",
    "faces": "f",
    "pose_components": "hands_components",
    "pose_mean": "hands_mean",
}


def check_equal(model, arrays):
    for field, key in FIELDS.items():
        expected = arrays[key].astype(getattr(model, field).dtype)
        np.testing.assert_array_equal(getattr(model, field), expected, err_msg=key)


def refusal(folder, side="right"):
    """The one line that says why a file is refused, without the file's name."""
    with pytest.raises(UserError) as caught:
        load_hand("mano", side=side, mano_dir=folder)
    message = str(caught.value)
    assert "\n" not in message and message.isprintable() and len(message) < 400
    return re.sub(r"^\S*MANO_(RIGHT|LEFT)\.(pkl|npz): ", "", message)


# --- files as they should be ---


@pytest.mark.parametrize(("protocol", "python2"), [(0, True), (1, True), (2, True), *((protocol, False) for protocol in range(6))])
def test_the_pickle_is_read_to_the_number_without_chumpy(tmp_path, protocol, python2):
    (tmp_path / "MANO_RIGHT.pkl").write_bytes(mano_pickle(mano_arrays(), protocol, python2=python2))
    assert "chumpy" not in sys.modules
    model = load_hand("mano", mano_dir=tmp_path)
    check_equal(model, mano_arrays())
    assert (model.name, model.side, len(model.wrist_loop), len(model.uv)) == ("mano", "right", 16, 0)
    assert model.tip_vertices.tolist() == TIP_VERTICES.tolist() and "research" in model.licence


def test_the_fixture_is_what_the_official_file_is():
    """Protocol 2, no bytes but strings, names as of 2017."""
    opcodes = list(pickletools.genops(mano_pickle(mano_arrays())))
    assert opcodes[0][1] == 2 and not {"BINBYTES", "BINUNICODE"} & {opcode.name for opcode, _, _ in opcodes}
    names = {argument for opcode, argument, _ in opcodes if opcode.name == "GLOBAL"}
    assert {"numpy.core.multiarray _reconstruct", "numpy ndarray", "scipy.sparse.csc csc_matrix", "chumpy.ch Ch", "chumpy.reordering Select", "__builtin__ set"} <= names


def test_the_npz_is_read_too_and_the_pickle_first(tmp_path):
    np.savez(tmp_path / "MANO_RIGHT.npz", **mano_arrays())
    check_equal(load_hand("mano", mano_dir=tmp_path), mano_arrays())
    write_mano(tmp_path).write_bytes(b"")
    assert refusal(tmp_path).startswith("is no pickle")


def test_arrays_of_any_order_and_kind_of_number_come_back():
    arrays = [np.arange(6.0).reshape(2, 3), np.asfortranarray(np.arange(6.0).reshape(2, 3)), np.arange(3, dtype=">i2"), np.array([True, False]), np.zeros((0, 3)), np.float32(2.5)]
    arrays += [np.arange(12, dtype=np.uint8)[::3], np.array(7)]
    for protocol in range(6):
        content = read_pickle(pickle.dumps({str(place): array for place, array in enumerate(arrays)}, protocol), "x")
        for place, array in enumerate(arrays):
            np.testing.assert_array_equal(array_of(content[str(place)]), array)


def test_a_hand_of_another_mesh_in_manos_schema_finds_its_own_tips(tmp_path):
    hand = load_hand("open")
    np.savez(tmp_path / "MANO_RIGHT.npz", kintree_table=mano_arrays()["kintree_table"], **{key: getattr(hand, field) for field, key in FIELDS.items()})
    model = load_hand("mano", mano_dir=tmp_path)
    assert np.linalg.norm(model.template_m[model.tip_vertices] - hand.template_m[hand.tip_vertices], axis=1).max() < 0.003


# --- the left hand ---


@pytest.mark.parametrize("right_beside", [True, False], ids=["right beside", "alone"])
def test_the_defect_of_the_released_left_hand_is_mended(tmp_path, right_beside):
    if right_beside:
        write_mano(tmp_path)
    write_mano(tmp_path, side="left", defect=True)
    model = load_hand("mano", side="left", mano_dir=tmp_path)
    check_equal(model, left_arrays())
    assert model.side == "left" and "known defect" in model.provenance


@pytest.mark.parametrize("right_beside", [True, False], ids=["right beside", "alone"])
def test_a_sound_left_hand_is_left_alone(tmp_path, right_beside):
    if right_beside:
        write_mano(tmp_path)
    write_mano(tmp_path, side="left")
    model = load_hand("mano", side="left", mano_dir=tmp_path)
    check_equal(model, left_arrays())
    assert "defect" not in model.provenance


def test_a_damaged_right_hand_beside_it_does_not_matter(tmp_path):
    write_mano(tmp_path).write_bytes(b"junk")
    write_mano(tmp_path, side="left", defect=True)
    check_equal(load_hand("mano", side="left", mano_dir=tmp_path), left_arrays())


def test_the_mended_left_hand_is_the_mirrored_right_one(tmp_path):
    write_mano(tmp_path)
    write_mano(tmp_path, side="left", defect=True)
    left, expected = load_hand("mano", side="left", mano_dir=tmp_path), mirrored(load_hand("mano", mano_dir=tmp_path))
    for field in (*FIELDS, "wrist_loop", "tip_vertices"):
        np.testing.assert_array_equal(getattr(left, field), getattr(expected, field), err_msg=field)


@pytest.mark.parametrize("size", [-1.0, 1.0])
def test_the_open_hand_s_shapes_tell_the_defect_by_themselves(tmp_path, size):
    """Whichever way the first coefficient makes the hand larger."""
    arrays = left_arrays(defect=True)
    (tmp_path / "MANO_LEFT.pkl").write_bytes(mano_pickle({**arrays, "shapedirs": size * arrays["shapedirs"]}))
    assert "known defect" in load_hand("mano", side="left", mano_dir=tmp_path).provenance


# --- files that want to run something ---


class Call:
    """Pickled, it asks its reader to call something."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def harm(folder):
    return folder / "harm"


def calls(folder):
    """What a file may want to call, by name."""
    touch = f"open({str(harm(folder))!r}, 'w')"
    return {
        "os.system": Call(os.system, f"touch {harm(folder)}"),
        "os.mkdir": Call(os.mkdir, str(harm(folder))),
        "eval": Call(eval, touch),
        "exec": Call(exec, touch),
        "getattr": Call(getattr, "text", "upper"),
        "import": Call(__import__, "antigravity"),
        "numpy.load": Call(np.load, str(harm(folder))),
        "numpy.save": Call(np.save, str(harm(folder)), [1]),
        "numpy.fromfile": Call(np.fromfile, str(harm(folder))),
        "numpy.memmap": Call(np.memmap, str(harm(folder)), "u1", "w+", 0, (4,)),
        "Path.touch": Call(Path.touch, harm(folder)),
        "pickle.loads": Call(pickle.loads, pickle.dumps(Call(os.mkdir, str(harm(folder))))),
        "copyreg.add_extension": Call(copyreg.add_extension, "os", "mkdir", 77),
        "nested": Call(print, Call(os.mkdir, str(harm(folder)))),
    }


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("name", calls(Path("/")))
def test_no_call_is_made(tmp_path, name, protocol, capsys):
    call = calls(tmp_path)[name]
    for content in (call, {"v_template": call}, [1, (2, {"deep": [call]})], {**mano_arrays(), "bs_style": call}):
        (tmp_path / "MANO_RIGHT.pkl").write_bytes(pickle.dumps(content, protocol))
        assert re.match(r"refused to load [\w.]+; files of MANO hold arrays alone, nothing was run$", refusal(tmp_path))
    assert os.listdir(tmp_path) == ["MANO_RIGHT.pkl"] and not capsys.readouterr().out


STOP, MARK = b".", b"("
GLOBAL = {name: b"c" + name.replace(" ", "\n").encode() + b"\n" for name in ("os mkdir", "numpy ndarray", "numpy dtype", "numpy.core.multiarray _reconstruct", "chumpy.ch Ch")}
HAND_MADE = {
    "INST": b"(S'/tmp/seqgen-harm'\nios\nmkdir\n.",
    "OBJ": MARK + GLOBAL["os mkdir"] + b"S'/tmp/seqgen-harm'\no.",
    "STACK_GLOBAL": b"\x80\x04\x8c\x02os\x8c\x05mkdir\x93\x8c\x10/tmp/seqgen-harm\x85R.",
    "a name within a name": b"\x80\x04\x8c\x05numpy\x8c\x16ndarray.__subclasses__\x93)R.",
    "a module within a module": b"\x80\x04\x8c\x06chumpy\x8c\x09os.system\x93\x8c\x04true\x85R.",
    "a module named like one of ours": b"cnumpy_evil\nndarray\n.",
    "a name put together": b"cnumpy.core.multiarray.os\n_reconstruct\n.",
    "numpy's tests": b"cnumpy.testing\nndarray\n.",
    "private numpy": b"cnumpy.core.multiarray\nfromfile\n.",
    "EXT1": b"\x80\x02\x82\x4d).",
    "EXT4": b"\x80\x02\x84\x4d\0\0\0).",
    "the class Named itself": b"cseqgen.hand.mano_pickle\nNamed\n.",
    "a name of several lines": b"\x80\x04\x8c\x04os\n\x07\x8c\x09sys\xc3\xa9tem\n\x93)R.",
    "an empty name": b"c\n\n.",
}


@pytest.mark.parametrize("name", HAND_MADE)
def test_no_opcode_gets_around_it(tmp_path, name, monkeypatch):
    monkeypatch.setitem(copyreg._extension_cache, 77, os.getcwd)  # as if somebody had used an extension before
    (tmp_path / "MANO_RIGHT.pkl").write_bytes(HAND_MADE[name])
    assert refusal(tmp_path).startswith("refused to load ")
    assert not Path("/tmp/seqgen-harm").exists()


RECONSTRUCT = GLOBAL["numpy.core.multiarray _reconstruct"]
CHUMPY = GLOBAL["chumpy.ch Ch"]
TRICKS = {
    "state for a class": CHUMPY + b"(dS'module'\nS'os'\nsb.",
    "attributes of a class": CHUMPY + b"(N(dS'module'\nS'os'\nstb.",
    "attributes of an object": CHUMPY + b")\x81(N(dS'__class__'\nI1\nstb.",
    "a list that is none": CHUMPY + b")\x81(I1\nI2\ne.",
    "a dictionary that is none": CHUMPY + b")\x81S'x'\nI1\ns.",
    "a call of what is no name": b"S'text'\n)R.",
    "a class of what is no name": b"\x80\x02S'text'\n)\x81.",
    "no dictionary": b"(lp0\nI1\na.",
    "an empty stack": b"\x80\x02.",
    "a persistent object": b"Pname\n.",
    "a persistent object by number": b"\x80\x02N\x51.",
    "a memo that was not filled": b"\x80\x02h\x05.",
    "too deep": b"(" * 5000 + b"t" * 4999 + b".",
}


@pytest.mark.parametrize("name", TRICKS)
def test_tricks_end_in_a_line(tmp_path, name):
    (tmp_path / "MANO_RIGHT.pkl").write_bytes(TRICKS[name])
    assert refusal(tmp_path)
    assert (Named.module, Named.name) == ("", "")


@pytest.mark.parametrize("put", [b"r" + struct.pack("<I", 2**32 - 1), b"p99999999999999\n"], ids=["LONG_BINPUT", "PUT"])
def test_the_memo_cannot_be_made_huge(tmp_path, put):
    resource = pytest.importorskip("resource")
    (tmp_path / "MANO_RIGHT.pkl").write_bytes(b"\x80\x02}" + put + b".")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert refusal(tmp_path).startswith("no MANO model, it lacks v_template")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000


def chumpy_loop():
    with chumpy_modules() as chumpy:
        loop = chumpy.Ch()
        loop.x = loop
        return pickle.dumps({"v_template": loop})


def with_template(value):
    return pickle.dumps({"v_template": value}, 2)


def hand_made_array(shape, raw, code="f8"):
    """The opcodes of an array whose parts contradict each other."""
    from numpy import ndarray

    reconstruct = np.zeros(1).__reduce__()[0]

    class Lie:
        def __reduce__(self):
            return reconstruct, (ndarray, (0,), b"b"), (1, shape, np.dtype(code), False, raw)

    return with_template(Lie())


NO_ARRAYS = {
    "objects": (with_template(np.array([{}], object)), "v_template: an array of it holds no plain numbers"),
    "objects by raw memory": (hand_made_array((1,), struct.pack("<Q", 0xDEADBEEF), "O"), "v_template: an array of it holds no plain numbers"),
    "text": (with_template(np.array(["a"])), "v_template: an array of it holds no plain numbers"),
    "a record": (with_template(np.zeros(2, "f8,i4")), "v_template: an array of it holds no plain numbers"),
    "too few bytes": (hand_made_array((4,), b"\0" * 24), "v_template: cannot reshape"),
    "bytes that are no numbers": (hand_made_array((3,), b"\0" * 23), "v_template: buffer size must be a multiple"),
    "a shape that is none": (hand_made_array(("a",), b"\0" * 24), "v_template: an array of it has no shape"),
    "a huge shape": (hand_made_array((2**40, 2**40), b"\0" * 24), "v_template: "),
    "a chumpy loop": (chumpy_loop(), "v_template: objects within objects without end"),
    "a dictionary": (with_template({}), "v_template: dict is no array of numbers"),
    "a number": (with_template(10**400), "v_template: int is no array of numbers"),
}


@pytest.mark.parametrize("name", NO_ARRAYS)
def test_what_is_no_array_of_numbers_is_refused(tmp_path, name):
    content, words = NO_ARRAYS[name]
    (tmp_path / "MANO_RIGHT.pkl").write_bytes(content)
    assert refusal(tmp_path).startswith(f"no MANO model: {words}")


@pytest.mark.parametrize(
    "state",
    [
        {"_shape": (10**9, 10**9), "indptr": np.zeros(10), "indices": np.zeros(0, int), "data": np.zeros(0)},
        {"_shape": (4, 4), "indptr": np.array([0, 10**12]), "indices": np.zeros(1, int), "data": np.zeros(1)},
        {"_shape": (4, 4), "indptr": np.array([0, 1]), "indices": np.array([10**6]), "data": np.zeros(1)},
        {"_shape": (4, 4), "indptr": np.array([0, -1, 1]), "indices": np.array([0]), "data": np.zeros(1)},
        {"_shape": (4, 4)},
        {},
    ],
)
def test_sparse_matrices_that_lie_are_refused(tmp_path, state):
    from scipy import sparse

    matrix = sparse.csc_matrix((4, 4))
    matrix.__dict__.clear()
    matrix.__dict__.update(state)
    (tmp_path / "MANO_RIGHT.pkl").write_bytes(pickle.dumps({"J_regressor": matrix}))
    start = time.perf_counter()
    assert refusal(tmp_path).startswith("no MANO model: J_regressor: ")
    assert time.perf_counter() - start < 1


# --- files that are something else ---


def test_missing_files_say_where_to_get_them(tmp_path):
    for side in ("right", "left"):
        name = f"MANO_{side.upper()}.pkl"
        words = f"no MANO files: register at https://mano.is.tue.mpg.de, then put {name} at {tmp_path / name} or name its folder with hand.mano_dir"
        assert refusal(tmp_path, side) == words


@pytest.mark.parametrize("side", ["right", "left"])
def test_the_other_hand_under_its_name_is_refused(tmp_path, side):
    other = {"right": "left", "left": "right"}[side]
    write_mano(tmp_path, side=other).rename(tmp_path / f"MANO_{side.upper()}.pkl")
    assert re.fullmatch(rf"holds a {other} hand, expected a {side} one: its fingers bend \d+ mm to the back of a {side} hand", refusal(tmp_path, side))


def test_the_side_is_told_without_a_mean_pose_too(tmp_path):
    (tmp_path / "MANO_RIGHT.pkl").write_bytes(mano_pickle({**left_arrays(), "hands_mean": np.zeros(45)}))
    assert refusal(tmp_path).startswith("holds a left hand, expected a right one")


@pytest.mark.parametrize(("vertices", "name"), [(6890, "SMPL or SMPL+H"), (10475, "SMPL-X"), (5023, "FLAME")])
def test_other_models_are_named(tmp_path, vertices, name):
    (tmp_path / "MANO_RIGHT.pkl").write_bytes(pickle.dumps({"v_template": np.zeros((vertices, 3)), "f": np.zeros((9, 3))}))
    assert refusal(tmp_path) == f"is a model of {name} ({vertices} vertices), not of MANO (778)"
    np.savez(tmp_path / "MANO_LEFT.npz", v_template=np.zeros((vertices, 3)), hands_componentsr=np.eye(45))
    assert refusal(tmp_path, "left") == f"is a model of {name} ({vertices} vertices), not of MANO (778)"


def test_a_model_of_several_hundred_megabytes_is_not_read(tmp_path):
    with open(tmp_path / "MANO_RIGHT.pkl", "wb") as file:
        file.truncate(519_000_000)
    assert refusal(tmp_path) == "has 519 MB, a file of MANO has 4"


@pytest.mark.parametrize("key", [*FIELDS.values(), "kintree_table"])
def test_a_field_that_is_missing_or_misshapen_is_named(tmp_path, key):
    path = tmp_path / "MANO_RIGHT.pkl"
    without = {name: value for name, value in mano_arrays().items() if name not in (key, "shapedirs", "J_regressor")}
    path.write_bytes(pickle.dumps(without))
    assert refusal(tmp_path).startswith("no MANO model, it lacks ") and key in refusal(tmp_path)
    plain = {**mano_arrays()}
    for value in (plain[key][:-1], plain[key].ravel()[:7], np.float64(1), plain[key].astype(float) * np.nan):
        path.write_bytes(pickle.dumps({**plain, key: value}))
        assert refusal(tmp_path).startswith("no MANO model: ")


def test_numbers_beyond_float32_and_faces_without_sense_are_refused(tmp_path):
    path, plain = tmp_path / "MANO_RIGHT.pkl", mano_arrays()
    for key, value in (("v_template", plain["v_template"] * 1e300), ("f", plain["f"][::7]), ("f", plain["f"] + 5)):
        path.write_bytes(pickle.dumps({**plain, key: value}))
        assert refusal(tmp_path).startswith("no MANO model: ")


@pytest.mark.parametrize("share", [0.0001, 0.01, 0.3, 0.7, 0.99, 0.999999])
@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_files_cut_short_are_refused(tmp_path, share, protocol):
    whole = mano_pickle(mano_arrays(), protocol)
    (tmp_path / "MANO_RIGHT.pkl").write_bytes(whole[: int(share * len(whole))])
    assert refusal(tmp_path).startswith("cut short or damaged: ")


@pytest.mark.parametrize("content", [b"", b"junk", b"<!DOCTYPE html>\n<html>", b"\x1f\x8b\x08", b"PK\x03\x04", "é\n".encode(), b"version https://git-lfs\n"])
def test_files_that_are_no_pickles_show_how_they_begin(tmp_path, content):
    (tmp_path / "MANO_RIGHT.pkl").write_bytes(content)
    assert refusal(tmp_path) == f"is no pickle, it begins with {repr(content[:20])[1:]}"


@pytest.mark.parametrize("content", [[1], "text", 3, None, np.zeros(3)])
def test_pickles_of_something_else_are_refused(tmp_path, content):
    (tmp_path / "MANO_RIGHT.pkl").write_bytes(pickle.dumps(content))
    assert refusal(tmp_path).startswith("not a MANO file, it holds a ")


def test_damaged_archives_are_refused(tmp_path):
    path = tmp_path / "MANO_RIGHT.npz"
    np.savez_compressed(path, **mano_arrays())
    whole = path.read_bytes()
    for content in (b"", b"junk", whole[:-40], whole[:5000] + bytes(60) + whole[5060:]):
        path.write_bytes(content)
        assert refusal(tmp_path).startswith("not a")
    np.savez(path, **{**mano_arrays(), "v_template": np.array([{}], object)})
    assert refusal(tmp_path).startswith("not a readable .npz of plain arrays: Object arrays cannot be loaded")


# --- texture coordinates ---


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize(("corner", "back"), [("{v}/{vt}", False), ("{v}/{vt}/1", False), ("{v}/{vt}", True)])
def test_every_corner_gets_its_texture_coordinates(tmp_path, side, corner, back):
    """Whatever the order of the file's faces, and wherever they begin."""
    write_mano(tmp_path, side=side)
    write_mano_uv(tmp_path, side=side, corner=corner, back=back)
    model = load_hand("mano", side=side, mano_dir=tmp_path)
    assert len(model.uv) > 778 and model.provenance.endswith(f"; texture coordinates of MANO_UV_{side}.obj")
    np.testing.assert_array_equal(skin_uv(model), uv_of_corners(side).astype(np.float32))
    check_equal(model, mano_arrays() if side == "right" else left_arrays())


def test_texture_coordinates_are_of_their_side_and_go_with_the_mended_left_hand(tmp_path):
    write_mano(tmp_path)
    write_mano(tmp_path, side="left", defect=True)
    write_mano_uv(tmp_path, side="left")
    left = load_hand("mano", side="left", mano_dir=tmp_path)
    assert "known defect" in left.provenance and len(left.uv_faces) == 1538
    assert len(load_hand("mano", mano_dir=tmp_path).uv_faces) == 0


def test_users_pictures_fit_a_mano_that_has_them(tmp_path):
    (tmp_path / "skins").mkdir()
    Image.new("RGB", (16, 16)).save(tmp_path / "skins" / "a.png")
    write_mano(tmp_path)
    choose = SkinConfig(folder=str(tmp_path / "skins")), SplitConfig(train=1, val=0, test=0)
    with pytest.raises(UserError, match=r"put MANO_UV_right\.obj beside MANO's files"):
        list_skins(choose[0], load_hand("mano", mano_dir=tmp_path), choose[1])
    write_mano_uv(tmp_path)
    assert [skin.name for skin in list_skins(choose[0], load_hand("mano", mano_dir=tmp_path), choose[1])["train"]] == ["a.png"]


TRIANGLE = "expected a triangle with texture coordinates, `f v/vt v/vt v/vt`, not 'f "
BAD_TEXTURES = {
    "faces without vt": (r"f (\d+)/\d+ (\d+)/\d+ (\d+)/\d+", r"f \1 \2 \3", TRIANGLE),
    "faces with empty vt": (r"f (\d+)/\d+", r"f \1//1", TRIANGLE),
    "a square": (r"\nf (\S+)", r"\nf \1 \1", TRIANGLE),
    "no numbers": (r"\nf \d+", "\nf " + "é\a" * 500, TRIANGLE),
    "one coordinate": (r"vt (\S+) .*", r"vt \1", "expected `vt u v` with u and v from 0 to 1, not 'vt 0.0'"),
    "not finite": (r"vt \S+", "vt nan", "expected `vt u v` with u and v from 0 to 1, not 'vt nan 0.0'"),
    "infinite": (r"vt \S+", "vt inf", "expected `vt u v`"),
    "beyond the picture": (r"vt \S+", "vt 1.5", "expected `vt u v`"),
    "vt out of range": (r"\nf (\d+)/\d+", r"\nf \1/99999999999999999999", "this face points outside the file's "),
    "vt 0": (r"\nf (\d+)/\d+", r"\nf \1/0", "this face points outside the file's "),
    "vt before the first": (r"\nf (\d+)/\d+", r"\nf \1/-2000", "this face points outside the file's "),
    "a vertex out of range": (r"\nf \d+", "\nf 779", "this face is none of the model's"),
    "vertex 0": (r"\nf \d+", "\nf 0", "this face is none of the model's"),
    "turned over": (r"\nf (\S+) (\S+)", r"\nf \2 \1", "this face is none of the model's"),
    "a face too few": (r"\nf .*\n$", "\n", "has 1,537 faces with texture coordinates, expected the model's 1,538, of which 1 are missing"),
    "a face twice": (r"\n(f .*\n)$", r"\n\1\1", "has 1,539 faces with texture coordinates, expected the model's 1,538, of which 0 are missing"),
}


def bad_texture(folder, pattern, instead, count):
    """What is said of a file changed like that: where, and what."""
    write_mano(folder)
    path = write_mano_uv(folder)
    path.write_text(re.sub(pattern, instead, path.read_text(), count=count))
    where, message = re.fullmatch(r"(.*MANO_UV_right\.obj(?:, line \d+)?): (.*)", refusal(folder)).groups()
    assert message.endswith("; put the file of https://mano.is.tue.mpg.de there, or remove it to do without texture coordinates")
    return where, message


@pytest.mark.parametrize("name", BAD_TEXTURES)
def test_texture_coordinates_that_are_not_the_model_s_are_refused(tmp_path, name):
    pattern, instead, words = BAD_TEXTURES[name]
    where, message = bad_texture(tmp_path, pattern, instead, count=1)
    assert message.startswith(words)
    lines = (tmp_path / "MANO_UV_right.obj").read_text().split("\n")
    sound = write_mano_uv(tmp_path).read_text().split("\n")
    changed = next(number for number, (line, before) in enumerate(zip(lines, sound, strict=False), 1) if line != before)
    assert where == (f"{tmp_path}/MANO_UV_right.obj" if message.startswith("has ") else f"{tmp_path}/MANO_UV_right.obj, line {changed}")


@pytest.mark.parametrize(("pattern", "words"), [("(?s).*", "has 0 faces with texture coordinates"), ("vt .*\n", "this face points outside the file's 0 rows of vt")])
def test_files_without_texture_coordinates_are_refused(tmp_path, pattern, words):
    assert bad_texture(tmp_path, pattern, "", count=0)[1].startswith(words)


# --- smplx ---


@pytest.fixture(scope="module")
def mano_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mano")
    write_mano(folder)
    write_mano(folder, side="left", defect=True)
    return folder


def parameters(num, seed):
    generator = torch.Generator().manual_seed(seed)
    return 0.6 * torch.randn(num, 16, 3, generator=generator), torch.randn(num, 10, generator=generator), torch.randn(num, 3, generator=generator)


def with_pose_mean(model, pose, flat_hand_mean):
    """The pose our layer takes for one that smplx takes."""
    mean = torch.zeros(45) if flat_hand_mean else torch.tensor(model.pose_mean)
    return pose + torch.cat([torch.zeros(3), mean]).reshape(16, 3)


def check_same_as_ours(layer, model, flat_hand_mean):
    pose, betas, translation = parameters(4, seed=7)
    with torch.no_grad():
        given = layer(betas=betas, global_orient=pose[:, 0], hand_pose=pose[:, 1:].flatten(1), transl=translation)
    mesh = HandLayer(model)(with_pose_mean(model, pose, flat_hand_mean), betas, translation)
    torch.testing.assert_close(given.vertices, mesh.vertices_m, atol=1e-5, rtol=0)
    joints = layer.vertex_joint_selector(given.vertices, given.joints)
    torch.testing.assert_close(joints[:, list(CANONICAL_FROM_MANO)], mesh.joints_m, atol=1e-5, rtol=0)


@pytest.mark.parametrize("flat_hand_mean", [True, False])
@pytest.mark.parametrize("side", ["right", "left"])
def test_smplx_poses_the_file_s_arrays_as_we_do(mano_dir, side, flat_hand_mean, capsys):
    """smplx given what stands in the file, by its own rules: an oracle for the reader and the layer in one."""
    smplx = pytest.importorskip("smplx")
    arrays = mano_arrays() if side == "right" else left_arrays()
    layer = smplx.MANO("", data_struct=smplx.utils.Struct(**arrays), is_rhand=side == "right", use_pca=False, flat_hand_mean=flat_hand_mean)
    check_same_as_ours(layer, load_hand("mano", side=side, mano_dir=mano_dir), flat_hand_mean)


@pytest.mark.parametrize("flat_hand_mean", [True, False])
@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("kind", ["open", "mano"])
def test_to_smplx_moves_as_our_hand(mano_dir, kind, side, flat_hand_mean, capsys):
    smplx = pytest.importorskip("smplx")
    model = load_hand(kind, side=side, mano_dir=mano_dir)
    model = dataclasses.replace(model, pose_mean=np.linspace(-0.3, 0.5, 45, dtype=np.float32))
    layer = model.to_smplx(flat_hand_mean=flat_hand_mean)
    assert isinstance(layer, smplx.MANO) and layer.is_rhand == (side == "right") and not capsys.readouterr().out
    np.testing.assert_array_equal(layer.v_template, model.template_m)
    np.testing.assert_array_equal(layer.faces, model.faces)
    check_same_as_ours(layer, model, flat_hand_mean)


@pytest.mark.parametrize("num_pca_comps", [1, 6, 10, 44, 45])
def test_to_smplx_takes_pose_coefficients(mano_dir, num_pca_comps):
    pytest.importorskip("smplx")
    model = load_hand("mano", mano_dir=mano_dir)
    layer = model.to_smplx(num_pca_comps=num_pca_comps, flat_hand_mean=False, batch_size=3)
    coefficients = torch.randn(3, num_pca_comps, generator=torch.Generator().manual_seed(0))
    fingers = coefficients @ torch.tensor(model.pose_components[:num_pca_comps]) + torch.tensor(model.pose_mean)
    pose = torch.cat([torch.zeros(3, 1, 3), fingers.reshape(3, 15, 3)], 1)
    expected = HandLayer(model)(pose, torch.zeros(3, 10), torch.zeros(3, 3)).vertices_m
    torch.testing.assert_close(layer(hand_pose=coefficients).vertices, expected, atol=1e-5, rtol=0)
    assert layer().vertices.shape == expected.shape and layer.hand_pose.shape == coefficients.shape


def test_to_smplx_can_be_trained_through(mano_dir):
    pytest.importorskip("smplx")
    layer = load_hand("mano", mano_dir=mano_dir).to_smplx(num_pca_comps=6)
    layer().vertices.sum().backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in (layer.hand_pose, layer.betas, layer.global_orient, layer.transl))


@pytest.mark.parametrize("num_pca_comps", [0, 46, -1])
def test_to_smplx_refuses_odd_numbers_of_components(num_pca_comps):
    pytest.importorskip("smplx")
    with pytest.raises(UserError, match=f"^num_pca_comps is {num_pca_comps}, expected 1 to 45, or None for axis-angle$"):
        load_hand("open").to_smplx(num_pca_comps=num_pca_comps)


def test_without_smplx_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "smplx", None)
    with pytest.raises(UserError, match=r"^to_smplx needs the package smplx \(.*\): pip install 'seqgen\[mano\]'$"):
        load_hand("open").to_smplx()
