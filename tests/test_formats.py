"""Annotation files: good ones come back as they were meant, and each bad one is refused in one line that names the file and what is wrong."""

import os
import pickle
import re
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
from banks import before_camera, built_in_hands, curling_hands, hands17_lines, random_curls, write_lines

from seqgen.errors import UserError
from seqgen.files import cache_folder
from seqgen.poses import load_bank, load_built_in_bank
from seqgen.poses.first_contact import check_order, finger_orders, order_costs
from seqgen.poses.formats import READERS, read_annotations
from seqgen.poses.formats.text import CHUNK_LINES, parse_text
from seqgen.skeleton import FINGERS, JOINT_SETS, hand_frame

HANDS = before_camera(built_in_hands(200).joints_m[::5])
MIRRORED = HANDS * [-1, 1, 1]
LINES = hands17_lines(HANDS)
EXACT = [name for name, joint_set in JOINT_SETS.items() if joint_set.exact]


@pytest.fixture
def file(tmp_path):
    return tmp_path / "Training_Annotation.txt"


def refusal(path, format_name="hands17", **options):
    """The one line that says why a file is refused, without the file's name, which it starts with."""
    with pytest.raises(UserError) as caught:
        read_annotations(path, format_name, **options)
    message = str(caught.value)
    assert message.startswith(str(path)) and "\n" not in message and message.count(str(path)) == 1
    return message.removeprefix(str(path))


def edited(number, edit):
    """The good lines with line `number` (from 1) changed."""
    return [*LINES[: number - 1], edit(LINES[number - 1]), *LINES[number:]]


def test_hands17_comes_back(file):
    annotations, verdict = read_annotations(write_lines(file, LINES), "hands17")
    np.testing.assert_allclose(annotations.joints_m, HANDS, atol=1e-7)
    assert (annotations.subject == -1).all() and not annotations.copies_allowed
    assert re.fullmatch(re.escape(str(file)) + r": 40 poses; palm \d+ mm, unit fits; joint order hands17; right hands", verdict)


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\t\n", "   \r\n", "\n\n \n"], ids=["LF", "CRLF", "trailing tab", "trailing spaces", "blank lines"])
@pytest.mark.parametrize("separator", ["\t", " ", "   ", " \t "], ids=["tab", "space", "spaces", "both"])
def test_white_space_does_not_matter(file, newline, separator):
    write_lines(file, hands17_lines(HANDS, separator=separator), newline=newline)
    np.testing.assert_array_equal(read_annotations(file, "hands17")[0].joints_m, read_annotations(write_lines(file, LINES), "hands17")[0].joints_m)


def test_the_last_line_needs_no_end_and_names_may_be_numbers_or_in_any_encoding(file):
    named = [line.replace("image_D", name) for line, name in zip(LINES, ["", "é", "image", "日"] * 10, strict=True)]
    file.write_bytes("\n".join(named).encode("latin-1", "replace"))
    np.testing.assert_allclose(read_annotations(file, "hands17")[0].joints_m, HANDS, atol=1e-7)


def test_a_file_name_need_not_be_utf8(tmp_path):
    path = tmp_path / os.fsdecode(b"\xff\xfe\xe9.txt")
    np.testing.assert_allclose(read_annotations(write_lines(path, LINES), "hands17")[0].joints_m, HANDS, atol=1e-7)


def test_long_files_are_read_in_chunks(file):
    many = np.tile(LINES, CHUNK_LINES // len(LINES) + 2)
    annotations, _ = read_annotations(write_lines(file, many), "hands17")
    np.testing.assert_allclose(annotations.joints_m[-40:], HANDS, atol=1e-7)
    many[CHUNK_LINES + 10] = "image 1 2 3"
    assert refusal(write_lines(file, many)) == f", line {CHUNK_LINES + 11}: holds a name and 3 numbers, expected 63 (x y z of 21 joints)"


def test_left_hands_are_mirrored_to_right_ones(file):
    annotations, verdict = read_annotations(write_lines(file, hands17_lines(MIRRORED)), "hands17", side="left")
    np.testing.assert_allclose(annotations.joints_m, HANDS, atol=1e-7)
    assert verdict.endswith("left hands")


def test_the_bank_goes_back_to_the_file(file):
    bank = load_bank(write_lines(file, LINES), "hands17")
    assert bank.name == "hands17:Training_Annotation.txt"
    np.testing.assert_allclose(bank.in_source(np.arange(len(bank))), HANDS[bank.source_row], atol=2e-6)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", ": holds no annotations"),
        (b"\n \t\r\n\n", ": holds no annotations"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + bytes(range(256)), ": is a binary file"),
        ("text in UTF-16".encode("utf-16"), ": is a binary file"),
        (b"{\n", ", line 1: holds a name and 0 numbers"),
        (b"\n\n  \nimage 1 2 3\n", ", line 4: holds a name and 3 numbers, expected 63"),
    ],
    ids=["empty", "blank lines", "binary", "UTF-16", "JSON", "after blank lines"],
)
def test_files_that_are_no_annotations(file, content, words):
    file.write_bytes(content)
    assert refusal(file).startswith(words)
    assert os.listdir(file.parent) == [file.name]


def test_a_missing_file_and_a_folder(file):
    assert refusal(file) == ": no such annotation file"
    assert refusal(file.parent) == ": is a folder; hands17 is a file"


def test_an_unknown_format_or_side(file):
    with pytest.raises(UserError, match="bighnad: no such annotation format; known are hands17, npz"):
        load_bank(write_lines(file, LINES), "bighnad")
    assert refusal(file, side="Left") == ": side is 'Left', expected right or left"


BAD_LINES = {
    "62 numbers": (lambda line: line.rpartition("\t")[0], "holds a name and 62 numbers, expected 63"),
    "64 numbers": (lambda line: line + "\t1.0", "holds a name and 64 numbers, expected 63"),
    "65 numbers": (lambda line: line + "\t1.0 2.0", "holds a name and 65 numbers, expected 63"),
    "cut short": (lambda line: line[: len(line) // 2], "holds a name and "),
    "no name": (lambda line: line.partition("\t")[2], "holds a name and 62 numbers"),
    "a word": (lambda line: line.rpartition("\t")[0] + "\tthumb", "'thumb' is not a number"),
    "a decimal comma": (lambda line: line.rpartition("\t")[0] + "\t1,5", "'1,5' is not a number"),
    "a control character": (lambda line: line.rpartition("\t")[0] + "\t\x1b[31m", r"'\x1b[31m' is not a number"),
    "another script": (lambda line: line.rpartition("\t")[0] + "\t٣", r"'\\xd9\\xa3' is not a number"),
    "nan": (lambda line: line.rpartition("\t")[0] + "\tnan", "holds nan, every coordinate must be finite"),
    "infinity": (lambda line: line.rpartition("\t")[0] + "\t-inf", "holds -inf, every coordinate must be finite"),
    "too large": (lambda line: line.rpartition("\t")[0] + "\t1e39", "holds 1e39, every coordinate must be finite"),
}


@pytest.mark.parametrize("number", [1, 17, 40])
@pytest.mark.parametrize("name", BAD_LINES)
def test_a_bad_line_is_named_by_its_number(file, name, number):
    edit, words = BAD_LINES[name]
    assert refusal(write_lines(file, edited(number, edit))).startswith(f", line {number}: {words}")
    assert refusal(write_lines(file, edited(number, edit), newline="\n\n")).startswith(f", line {2 * number - 1}: {words}")
    assert os.listdir(file.parent) == [file.name]


def test_a_number_too_few_and_one_too_many_do_not_cancel(file):
    """With names that are numbers too, the words of both lines together look like two whole lines."""
    numbered = [line.replace("image_D", "").replace(".png", "") for line in LINES]
    numbered[4], numbered[5] = numbered[4].rpartition("\t")[0], numbered[5] + "\t1.0"
    assert refusal(write_lines(file, numbered)).startswith(", line 5: holds a name and 62 numbers")


@pytest.mark.parametrize(("scale", "unit"), [(1.0, "metres"), (100.0, "centimetres")])
def test_another_unit_is_named(file, scale, unit):
    message = refusal(write_lines(file, hands17_lines(HANDS, scale=scale)))
    assert message.startswith(": wrong unit: wrist to middle MCP measures ") and message.endswith(f"; the numbers look like {unit}")


def test_no_known_unit_fits(file):
    assert refusal(write_lines(file, hands17_lines(HANDS, scale=40_000.0))).endswith("millimetres, expected 60 to 120")


@pytest.mark.parametrize("actual", [name for name in JOINT_SETS if name not in ("hands17", "bighand")])
def test_another_joint_order_is_named(file, actual):
    assert refusal(write_lines(file, hands17_lines(HANDS, joint_set=actual))) == f": wrong joint order: not hands17; {actual} would fit"


def standing(joints, fingers, *, from_tip=False):
    """Joints with these fingers (0 thumb, 4 pinky) in the places of thumb to pinky."""
    chains = joints[:, 1:].reshape(-1, 5, 4, 3)[:, list(fingers)]
    return np.concatenate([joints[:, :1], (chains[:, :, ::-1] if from_tip else chains).reshape(-1, 20, 3)], 1)


@pytest.mark.parametrize("from_tip", [False, True])
def test_every_order_of_whole_fingers_is_refused_by_its_name(from_tip):
    for fingers in permutations(range(5)):
        given = JOINT_SETS["hands17"].from_canonical(standing(HANDS, fingers, from_tip=from_tip))
        if fingers == (0, 1, 2, 3, 4) and not from_tip:
            check_order(given, where="it", joint_set="hands17")
            continue
        with pytest.raises(UserError) as error:
            check_order(given, where="it", joint_set="hands17")
        words = ", ".join(FINGERS[finger] for finger in fingers) + ", each from tip to palm" * from_tip
        assert str(error.value) == f"it: wrong joint order: not hands17; fingers stand as {words}"


def test_an_order_of_whole_fingers_that_has_a_name_is_named():
    with pytest.raises(UserError, match="wrong joint order: not canonical; msra would fit"):
        check_order(standing(HANDS, (1, 2, 3, 4, 0)), where="it", joint_set="canonical")


@pytest.mark.parametrize("joint_set", EXACT)
def test_flat_hands_fists_and_small_banks_are_in_order(joint_set):
    fist, hook = np.meshgrid(np.linspace(0, 1.6, 5), np.linspace(0, 1.9, 5))
    gestures = curling_hands(fist.ravel(), hook.ravel())[:, None]  # recordings of one pose each
    bank, rng = load_built_in_bank(1500).joints_m.astype(float), np.random.default_rng(0)
    for hands in (*gestures, bank, *(bank[rng.choice(1500, 40, replace=False)] for _ in range(20))):
        check_order(JOINT_SETS[joint_set].from_canonical(hands), where="it", joint_set=joint_set)


def test_an_unknown_joint_order_is_refused(file):
    shuffled = HANDS[:, np.random.default_rng(0).permutation(21)]
    assert refusal(write_lines(file, hands17_lines(shuffled))).startswith(": no known joint order fits; hands17 was expected: wrist, ")


@pytest.mark.parametrize(("side", "other", "joints"), [("right", "left", MIRRORED), ("left", "right", HANDS)])
def test_hands_of_the_other_side_are_refused(file, side, other, joints):
    message = refusal(write_lines(file, hands17_lines(joints)), side=side)
    assert re.fullmatch(rf": these look like {other} hands: fingers bend \d+ mm towards the back of a {side} hand; say --poses.side {other}", message)


@pytest.mark.parametrize("side", ["right", "left"])
def test_flat_hands_may_be_either(file, side):
    flat = before_camera(random_curls(30) * [1, 1, 0])
    assert f"{side} hands as stated, too flat to tell" in read_annotations(write_lines(file, hands17_lines(flat)), "hands17", side=side)[1]


@pytest.mark.parametrize("share", [0.1, 0.7])
def test_rows_without_a_hand_are_counted_and_left_out(file, share):
    """Zeros where a frame has no annotation."""
    gaps = HANDS.copy()
    gaps[: int(share * 40)] = 0
    _, verdict = read_annotations(write_lines(file, hands17_lines(gaps)), "hands17")
    assert f"40 poses, {int(share * 40)} of them without a hand and left out; palm" in verdict
    assert load_bank(file, "hands17").source_row[0] == int(share * 40)


def test_nothing_but_gaps_is_refused(file):
    assert refusal(write_lines(file, hands17_lines(np.zeros((9, 21, 3))))).startswith(": holds no hands")


def test_the_parsed_numbers_are_kept_beside_the_file_and_are_those_of_a_fresh_parse(file):
    write_lines(file, LINES)
    first = read_annotations(file, "hands17")[0].joints_m
    [kept] = [path for path in file.parent.iterdir() if path != file]
    assert kept.name.startswith(f".{file.name}.seqgen-")
    times = {path: path.stat().st_mtime_ns for path in kept.iterdir()}
    np.testing.assert_array_equal(read_annotations(file, "hands17")[0].joints_m, first)
    assert {path: path.stat().st_mtime_ns for path in kept.iterdir()} == times
    fresh = JOINT_SETS["hands17"].to_canonical(parse_text(file)["joints"]) * 1e-3
    np.testing.assert_array_equal(first, fresh)


def test_a_changed_file_is_parsed_anew(file):
    read_annotations(write_lines(file, LINES), "hands17")
    changed = read_annotations(write_lines(file, hands17_lines(HANDS + 0.001)), "hands17")[0].joints_m
    np.testing.assert_allclose(changed, HANDS + 0.001, atol=1e-7)


def test_beside_a_read_only_file_nothing_is_written(file, monkeypatch):
    monkeypatch.setenv("SEQGEN_CACHE", str(file.parent / "cache"))
    folder = file.parent / "data"
    folder.mkdir()
    path = write_lines(folder / file.name, LINES)
    folder.chmod(0o555)
    try:
        np.testing.assert_allclose(read_annotations(path, "hands17")[0].joints_m, HANDS, atol=1e-7)
        assert os.listdir(folder) == [file.name]
        assert len(list((cache_folder() / "annotations").iterdir())) == 1
    finally:
        folder.chmod(0o755)


# --- npz ---


@pytest.fixture
def archive(tmp_path):
    return tmp_path / "poses.npz"


def write_npz(path, **arrays):
    np.savez(path, **arrays)
    return path


@pytest.mark.parametrize("unit", ["joints_m", "joints_mm"])
@pytest.mark.parametrize("joint_set", EXACT)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_npz_comes_back(archive, unit, joint_set, dtype):
    joints = (JOINT_SETS[joint_set].from_canonical(HANDS) * (1.0 if unit == "joints_m" else 1e3)).astype(dtype)
    annotations, verdict = read_annotations(write_npz(archive, **{unit: joints}, joint_set=joint_set, licence="mine"), "npz")
    np.testing.assert_allclose(annotations.joints_m, HANDS, atol=1e-7)
    assert annotations.licence == "mine" and f"joint order {joint_set}" in verdict


def test_npz_joints_are_canonical_unless_said_and_may_be_whole_millimetres(archive):
    rounded = np.round(HANDS * 1e3).astype(np.int64)
    annotations, _ = read_annotations(write_npz(archive, joints_mm=rounded), "npz")
    np.testing.assert_allclose(annotations.joints_m, rounded / 1e3)


@pytest.mark.parametrize(
    ("given", "expected"),
    [(["b", "a", "b"], [1, 0, 1]), ([7, 3, 7], [1, 0, 1]), ([5, -1, 9], [0, -1, 1]), ([-1, -1, -1], [-1, -1, -1]), ([2.0, np.nan, 1.0], [1, -1, 0])],
)
def test_npz_subjects_become_numbers(archive, given, expected):
    annotations, _ = read_annotations(write_npz(archive, joints_m=HANDS[:3], subject=np.array(given)), "npz")
    assert annotations.subject.tolist() == expected


BAD_ARCHIVES = {
    "no joints": ({"poses": HANDS}, ": has no array joints_m or joints_mm (N, 21, 3); it holds poses"),
    "nothing": ({}, ": has no array joints_m or joints_mm (N, 21, 3); it holds nothing"),
    "flat": ({"joints_m": HANDS.reshape(-1, 63)}, ": joints_m is float64 (40, 63), expected numbers of shape (N, 21, 3)"),
    "20 joints": ({"joints_m": HANDS[:, :20]}, ": joints_m is float64 (40, 20, 3), expected"),
    "no axis": ({"joints_mm": np.float64(3)}, ": joints_mm is float64 (), expected"),
    "no rows": ({"joints_m": HANDS[:0]}, ": holds no annotations"),
    "text": ({"joints_m": HANDS.astype(str)}, ": joints_m is <U"),
    "complex": ({"joints_m": HANDS.astype(complex)}, ": joints_m is complex128"),
    "objects": ({"joints_m": HANDS.astype(object)}, ": not a readable .npz of plain arrays: Object arrays cannot be loaded"),
    "subjects": ({"joints_m": HANDS, "subject": np.zeros(39)}, ": subject has shape (39,), expected (40,)"),
    "unknown order": ({"joints_m": HANDS, "joint_set": "mnao"}, ": joint_set is 'mnao', expected one of canonical, hands17, "),
    "approximate order": ({"joints_m": HANDS, "joint_set": "stb"}, ": joint_set is 'stb', expected one of "),
    "nan": ({"joints_m": np.where(np.arange(40)[:, None, None] == 7, np.nan, HANDS)}, ": row 7 holds a coordinate that is not finite"),
    "mm for m": ({"joints_m": HANDS * 1e3}, ": wrong unit: wrist to middle MCP measures "),
    "m for mm": ({"joints_mm": HANDS}, ": wrong unit: wrist to middle MCP measures "),
    "left": ({"joints_m": MIRRORED}, ": these look like left hands"),
}


@pytest.mark.parametrize("name", BAD_ARCHIVES)
def test_bad_archives_are_refused(archive, name):
    arrays, words = BAD_ARCHIVES[name]
    assert refusal(write_npz(archive, **arrays), "npz").startswith(words)


@pytest.mark.parametrize(("name", "unit"), [("mm for m", "millimetres"), ("m for mm", "metres")])
def test_swapped_units_are_named(archive, name, unit):
    assert refusal(write_npz(archive, **BAD_ARCHIVES[name][0]), "npz").endswith(f"; the numbers look like {unit}")


@pytest.mark.parametrize("declared", EXACT)
@pytest.mark.parametrize("actual", JOINT_SETS)
def test_every_wrong_order_is_named_whatever_was_declared(archive, declared, actual):
    write_npz(archive, joints_m=JOINT_SETS[actual].from_canonical(HANDS), joint_set=declared)
    same = {"hands17": "bighand", "bighand": "hands17"}
    if declared in (actual, same.get(actual)):
        read_annotations(archive, "npz")
    else:
        assert re.fullmatch(f": wrong joint order: not {declared}; ({actual}|{same.get(actual)}) would fit", refusal(archive, "npz"))


class Bomb:
    def __reduce__(self):
        return Path.touch, (Path(os.environ["SEQGEN_TEST_BOMB"]),)


def test_pickles_are_not_run(archive, monkeypatch):
    monkeypatch.setenv("SEQGEN_TEST_BOMB", str(archive.parent / "boom"))
    write_npz(archive, joints_m=np.array([Bomb()], dtype=object))
    assert "Object arrays cannot be loaded" in refusal(archive, "npz")
    archive.write_bytes(pickle.dumps(Bomb()))
    assert "not a .npz archive" in refusal(archive, "npz")
    assert not (archive.parent / "boom").exists()


@pytest.mark.parametrize("keep", [0, 10, 0.5, -1])
def test_an_archive_cut_short_is_refused(archive, keep):
    whole = write_npz(archive, joints_m=HANDS).read_bytes()
    archive.write_bytes(whole[: int(keep * len(whole)) if 0 < keep < 1 else keep])
    assert refusal(archive, "npz").startswith(": not a .npz archive, or cut short")


def test_an_archive_with_a_damaged_member_is_refused(archive):
    np.savez_compressed(archive, joints_m=HANDS)
    damaged = bytearray(archive.read_bytes())
    damaged[200:260] = bytes(60)
    archive.write_bytes(damaged)
    assert refusal(archive, "npz").startswith((": damaged .npz", ": not a readable .npz"))


@pytest.mark.parametrize("content", [b"image 1 2 3\n", b"\x93NUMPY"], ids=["text", "npy"])
def test_other_files_are_no_archives(archive, content):
    archive.write_bytes(content)
    assert refusal(archive, "npz").startswith(": not a .npz archive")


@pytest.mark.parametrize("format_name", READERS)
def test_every_reader_gives_the_same_bank(tmp_path, format_name):
    np.save(tmp_path / "a.npy", 0.37 * JOINT_SETS["mano"].from_canonical(HANDS))
    lines = write_lines(tmp_path / "a.txt", LINES)
    files = {"hands17": lines, "bighand": lines, "npz": write_npz(tmp_path / "a.npz", joints_m=HANDS), "seqhand-npy": tmp_path / "a.npy"}
    bank = load_bank(files[format_name], format_name)
    assert np.abs(bank.joints_m - load_bank(files["npz"], "npz").joints_m).max() < 2e-6


# --- seqhand-npy ---


@pytest.fixture
def array(tmp_path):
    return tmp_path / "normalized_bh_inMANOorder.npy"


def write_npy(path, values):
    np.save(path, values)
    return path


@pytest.mark.parametrize("flat", [False, True], ids=["(N, 21, 3)", "(N, 63)"])
@pytest.mark.parametrize("dtype", ["<f8", "<f4", ">f8", "F"])
@pytest.mark.parametrize("scale", [1.0, 1000.0, 0.0031, 12.34])
def test_npy_of_any_scale_becomes_hands_with_a_palm_of_95_mm(array, flat, dtype, scale):
    hands = np.array([0.4, -0.1, 0.2]) + hand_frame(HANDS).normalise(HANDS)  # whatever its origin
    values = scale * JOINT_SETS["mano"].from_canonical(hands)
    values = np.asfortranarray(values) if dtype == "F" else values.astype(dtype)
    annotations, verdict = read_annotations(write_npy(array, values.reshape(40, 63) if flat else values), "seqhand-npy")
    np.testing.assert_allclose(annotations.joints_m, hands, atol=1e-6)
    assert f": 40 poses; palm {scale * 0.095:.4g} in a unit of its own, taken as 95 mm; joint order mano; right hands" in verdict
    assert annotations.joints_m.dtype == np.float32 and not annotations.copies_allowed and "research" in annotations.licence
    bank = load_bank(array, "seqhand-npy")
    np.testing.assert_allclose(bank.joints_m, hand_frame(HANDS).normalise(HANDS), atol=2e-6)


@pytest.mark.parametrize("actual", [name for name in JOINT_SETS if name != "mano"])
def test_npy_of_another_order_is_refused(array, actual):
    message = refusal(write_npy(array, 3 * JOINT_SETS[actual].from_canonical(HANDS)), "seqhand-npy")
    assert re.fullmatch(rf": wrong joint order: not mano; ({actual}|hands17|bighand) would fit", message)


def test_npy_with_coordinates_scaled_each_for_itself_is_no_hand(array):
    values = JOINT_SETS["mano"].from_canonical(hand_frame(HANDS).normalise(HANDS)).reshape(40, 63)
    message = refusal(write_npy(array, (values - values.mean(0)) / (values.std(0) + 1e-6)), "seqhand-npy")
    assert message.endswith("% of the rows have the knuckles at odd distances from the wrist; hands may be scaled as a whole, not each coordinate for itself")


def test_npy_of_left_hands(array):
    write_npy(array, JOINT_SETS["mano"].from_canonical(MIRRORED))
    assert refusal(array, "seqhand-npy").startswith(": these look like left hands")
    bank = load_bank(array, "seqhand-npy", side="left")
    np.testing.assert_allclose(bank.joints_m, hand_frame(HANDS).normalise(HANDS), atol=2e-6)


BAD_ARRAYS = {
    "20 joints": (np.zeros((5, 20, 3)), ": is float64 (5, 20, 3), expected numbers of shape (N, 21, 3) or (N, 63)"),
    "62 numbers": (np.zeros((5, 62)), ": is float64 (5, 62), expected"),
    "one row": (np.zeros(63), ": is float64 (63,), expected"),
    "no axis": (np.float64(1), ": is float64 (), expected"),
    "text": (np.zeros((5, 63), "U3"), ": is <U3 (5, 63), expected"),
    "complex": (np.zeros((5, 63), complex), ": is complex128 (5, 63), expected"),
    "objects": (np.array([Bomb()], object), ": not a readable .npy of plain numbers, or cut short: "),
    "no rows": (np.zeros((0, 63)), ": holds no annotations"),
    "one place": (np.ones((5, 63)), ": holds no hands"),
    "nan": (np.where(np.arange(40)[:, None, None] == 7, np.nan, HANDS), ": row 7 holds a coordinate that is not finite"),
    "beyond float32": (np.where(np.arange(40)[:, None, None] == 8, 1e300, HANDS), ": row 8 holds a coordinate that is not finite"),
}


@pytest.mark.parametrize("name", BAD_ARRAYS)
def test_bad_npy_are_refused(array, name, monkeypatch):
    monkeypatch.setenv("SEQGEN_TEST_BOMB", str(array.parent / "boom"))
    values, words = BAD_ARRAYS[name]
    assert refusal(write_npy(array, values), "seqhand-npy").startswith(words)
    assert os.listdir(array.parent) == [array.name]


def test_files_that_are_no_npy_are_refused(array, archive):
    whole = write_npy(array, HANDS).read_bytes()
    for content in (b"", b"image 1 2 3\n", pickle.dumps(HANDS)):
        array.write_bytes(content)
        assert refusal(array, "seqhand-npy") == ": not a .npy file"
    for length in (7, 60, 200, len(whole) - 8):
        array.write_bytes(whole[:length])
        assert refusal(array, "seqhand-npy").startswith(": not a readable .npy of plain numbers, or cut short: ")
    array.write_bytes(whole[:10] + b"{'descr': __import__('os'), 'fortran_order': 1}\n".ljust(len(whole) - 10))
    assert refusal(array, "seqhand-npy").startswith(": not a readable .npy of plain numbers, or cut short: ")
    assert refusal(write_npz(archive, joints_m=HANDS), "seqhand-npy") == ": not a .npy file; a .npz is read by the format npz"


# --- a real recording ---


def test_a_real_recording():
    data = os.environ.get("SEQGEN_REFERENCE_DATA")
    if not data:
        pytest.skip("SEQGEN_REFERENCE_DATA names no folder with real_track/Training_Annotation.txt")
    path = Path(data) / "real_track" / "Training_Annotation.txt"
    annotations, verdict = read_annotations(path, "hands17")
    assert len(annotations.joints_m) == 621
    assert verdict.endswith("joint order hands17; right hands")
    assert 0.060 < np.median(hand_frame(annotations.joints_m).palm) < 0.120
    words = path.read_text().split("\n")[100].split()
    wrist, middle_mcp = np.array(words[1:4], float), np.array(words[10:13], float)
    np.testing.assert_allclose(annotations.joints_m[100, [0, 9]] * 1e3, [wrist, middle_mcp], atol=1e-3)
    bank = load_bank(path, "hands17")
    np.testing.assert_allclose(bank.in_source(np.arange(len(bank))), annotations.joints_m[bank.source_row], atol=2e-6)
    assert "these look like right hands" in refusal(path, side="left")
    for fingers in permutations(range(5)):
        swapped = standing(annotations.joints_m.astype(float), fingers)
        costs = order_costs(swapped, list(finger_orders().values()))
        best = list(finger_orders())[int(np.argmin(costs))]
        assert best == ", ".join(FINGERS[finger] for finger in fingers)
        if fingers != (0, 1, 2, 3, 4):
            assert costs[0] > 1.02 * min(costs)
            with pytest.raises(UserError, match="wrong joint order: not canonical"):
                check_order(swapped, where="it", joint_set="canonical")
