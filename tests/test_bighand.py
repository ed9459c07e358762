"""BigHand2.2M's folder: read in a known order from wherever one points, its known defects counted, and what is wrong named by file and line."""

import os
import re
from pathlib import Path

import numpy as np
import pytest
from banks import before_camera, built_in_hands

from seqgen.errors import UserError
from seqgen.poses import load_bank
from seqgen.poses.bank import split_rows
from seqgen.poses.formats import read_annotations
from seqgen.skeleton import JOINT_SETS
from seqgen.splits import SplitConfig

HANDS = before_camera(built_in_hands(400).joints_m[::4])
ENDING = "_loc_shift_made_by_qi_20180112_v2.txt"
FILES = {("Subject_1", "1 75"): 20, ("Subject_1", "76 150"): 30, ("Subject_1", "301 375"): 10, ("Subject_2", "1 75"): 25, ("Subject_10", "ego"): 15}  # in reading order


def lines_of(joints_m, *, first=0, end="\t\n"):
    """Lines as in the release: a frame number of eight digits, 63 numbers, and a tab that makes an empty 65th column."""
    rows = JOINT_SETS["bighand"].from_canonical(joints_m) * 1e3
    return "".join("\t".join([f"{number:08d}", *(f"{value:.4f}" for value in row.ravel())]) + end for number, row in enumerate(rows, first))


def write_release(root, *, end="\t\n", readme="README.txt"):
    """BigHand2.2M with the hands of HANDS in it, in order."""
    start = 0
    for (subject, view), count in FILES.items():
        folder = root / "full_annotation" / subject
        folder.mkdir(parents=True, exist_ok=True)
        (folder / readme).write_text("These are no annotations.\n")
        (folder / f"{view}{ENDING}").write_bytes(lines_of(HANDS[start : start + count], end=end).encode())
        start += count
    return root


@pytest.fixture
def release(tmp_path):
    return write_release(tmp_path / "BigHand2.2M")


def file_of(release, subject, view):
    return release / "full_annotation" / subject / f"{view}{ENDING}"


def refusal(path):
    with pytest.raises(UserError) as caught:
        read_annotations(path, "bighand")
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_release_comes_back_in_reading_order(release):
    annotations, verdict = read_annotations(release, "bighand")
    np.testing.assert_allclose(annotations.joints_m, HANDS, atol=1e-7)
    assert annotations.joints_m.dtype == np.float32
    assert annotations.subject.tolist() == [0] * 60 + [1] * 25 + [2] * 15  # Subject_1, Subject_2, Subject_10
    assert not annotations.copies_allowed and "research" in annotations.licence and annotations.name == "bighand:BigHand2.2M"
    words = r": 100 poses; 3 subjects in 5 files; 0 repeat the line before; palm \d+ mm, unit fits; joint order bighand; right hands"
    assert re.fullmatch(re.escape(str(release)) + words, verdict)


@pytest.mark.parametrize("end", ["\t\n", "\n", "\r\n", "\t\r\n", "\t \t\n", " \n"], ids=repr)
@pytest.mark.parametrize("readme", ["README.txt", "README_v2.txt", "readme first.TXT", "._1 75.txt"])
def test_line_ends_and_other_files_do_not_matter(tmp_path, end, readme):
    release = write_release(tmp_path, end=end, readme=readme)
    (release / "full_annotation" / "notes.md").write_text("1 2 3")
    np.testing.assert_allclose(read_annotations(release, "bighand")[0].joints_m, HANDS, atol=1e-7)


def test_any_part_of_the_release_may_be_named(release, monkeypatch):
    annotations = release / "full_annotation"
    for path in (annotations, release / "full_annotation" / "..", annotations / "."):
        np.testing.assert_allclose(read_annotations(path, "bighand")[0].joints_m, HANDS, atol=1e-7)
    for path, rows in ((annotations / "Subject_1", slice(60)), (file_of(release, "Subject_2", "1 75"), slice(60, 85)), (annotations / "Subject_10", slice(85, 100))):
        some, verdict = read_annotations(path, "bighand")
        np.testing.assert_allclose(some.joints_m, HANDS[rows], atol=1e-7)
        assert (some.subject == 0).all() and "; 1 subject in " in verdict
    monkeypatch.chdir(annotations / "Subject_2")
    for path in (Path("."), Path(f"1 75{ENDING}")):
        np.testing.assert_allclose(read_annotations(path, "bighand")[0].joints_m, HANDS[60:85], atol=1e-7)


def test_a_release_unpacked_into_a_folder_of_its_own_name(tmp_path):
    write_release(tmp_path / "full_annotation")
    np.testing.assert_allclose(read_annotations(tmp_path, "bighand")[0].joints_m, HANDS, atol=1e-7)


def test_names_that_a_tool_has_completed(release):
    """With a folder, a space, and an ending, as public scripts write them back."""
    path = file_of(release, "Subject_1", "1 75")
    path.write_bytes(re.sub(rb"(?m)^(\d{8})", rb"Subject_1/1 75/image_D\1.png", path.read_bytes()))
    np.testing.assert_allclose(read_annotations(release, "bighand")[0].joints_m, HANDS, atol=1e-7)
    (release / "Subject_1" / "1 75").mkdir(parents=True)
    (release / "Subject_1" / "1 75" / "image_D00000003.png").touch()
    assert "; 19 without a picture in the 1 folder of pictures found; " in read_annotations(release, "bighand")[1]


def test_repeated_lines_are_counted_and_kept_once(release):
    path = file_of(release, "Subject_1", "76 150")
    joints = np.repeat(HANDS[20:50], 3, axis=0)
    path.write_text(lines_of(joints))
    annotations, verdict = read_annotations(release, "bighand")
    assert len(annotations.joints_m) == 160 and "; 60 repeat the line before; " in verdict
    bank = load_bank(release, "bighand")
    assert len(bank) == 100
    assert bank.source_row.tolist() == [*range(20), *range(20, 110, 3), *range(110, 160)]
    np.testing.assert_allclose(bank.in_source(np.arange(100)), HANDS, atol=2e-6)


def test_a_file_s_last_line_is_not_compared_with_the_next_file_s_first(release):
    file_of(release, "Subject_1", "301 375").write_text(lines_of(HANDS[49:50]))
    assert "; 0 repeat the line before; " in read_annotations(release, "bighand")[1]


def test_lines_without_a_picture_are_counted_where_pictures_are(release):
    for view, numbers in (("1 75", range(20)), ("76 150", range(0, 30, 2)), ("301 375", ())):
        folder = release / "Subject_1" / view
        folder.mkdir(parents=True)
        for number in numbers:
            (folder / f"image_D{number:08d}.png").touch()
        (folder / "Thumbs.db").touch()
    annotations, verdict = read_annotations(release, "bighand")
    assert len(annotations.joints_m) == 100  # the annotations are as good as any
    assert "; 15 without a picture in the 2 folders of pictures found; " in verdict
    assert "; 15 without a picture in the 1 folder of pictures found; " in read_annotations(file_of(release, "Subject_1", "76 150"), "bighand")[1]


def test_empty_files_are_counted_and_rows_without_a_hand_too(release):
    file_of(release, "Subject_2", "1 75").write_bytes(b"")
    path = file_of(release, "Subject_10", "ego")
    path.write_text(lines_of(np.zeros((4, 21, 3))) + path.read_text())
    verdict = read_annotations(release, "bighand")[1]
    assert ": 79 poses, 4 of them without a hand and left out; 2 subjects in 4 files; 1 empty file skipped; 3 repeat the line before; " in verdict


def edited(release, edits):
    """The release with some lines of a file changed."""
    path = file_of(release, "Subject_1", "76 150")
    lines = path.read_text().splitlines()
    for number, edit in edits.items():
        lines[number - 1] = edit(lines[number - 1])
    path.write_text("\n".join(lines))
    return path


def without_a_column(line):
    return line.replace("\t", " ", 1).partition(" ")[2]


BAD = {
    "62 numbers": (lambda line: line.rstrip("\t").rpartition("\t")[0], "holds a name and 62 numbers, expected 63 (x y z of 21 joints)"),
    "an empty column": (lambda line: re.sub(r"\t[^\t]+\t", "\t\t", line, count=1), "'' is not a number"),
    "64 numbers": (lambda line: line + "1.0", "holds a name and 64 numbers, expected 63"),
    "no number": (without_a_column, "holds a name and 62 numbers, expected 63"),
    "a word": (lambda line: re.sub(r"\t[^\t]+\t$", "\tthumb\t", line), "'thumb' is not a number"),
    "infinite": (lambda line: re.sub(r"\t[^\t]+\t$", "\tinf\t", line), "holds inf, every coordinate must be finite"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_line_is_named_by_file_and_number(release, name):
    edit, words = BAD[name]
    path = edited(release, {7: edit})
    assert refusal(release).startswith(f"{path}, line 7: {words}") and "more lines" not in refusal(release)


def test_bad_lines_are_counted(release):
    edit, words = BAD["62 numbers"]
    path = edited(release, {number: edit for number in (9, 12, 30)})
    assert refusal(release) == f"{path}, line 9: {words} (and 2 more lines that cannot be read)"
    assert not [name for name in os.listdir(path.parent) if "76 150" in name and name != path.name]


def test_places_without_annotations_say_what_was_expected(tmp_path):
    assert refusal(tmp_path / "nowhere") == f"{tmp_path / 'nowhere'}: no such annotation folder or file"
    (tmp_path / "empty").mkdir()
    assert refusal(tmp_path / "empty") == f"{tmp_path / 'empty'}: holds no annotations of BigHand2.2M, expected full_annotation/Subject_*/*.txt"
    release = write_release(tmp_path / "BigHand2.2M")
    pictures = release / "Subject_1"
    (pictures / "1 75").mkdir(parents=True)
    assert refusal(pictures).endswith(f"; the annotations of these pictures are in {release / 'full_annotation' / 'Subject_1'}")
    for file in release.rglob(f"*{ENDING}"):
        file.write_bytes(b"")
    assert "holds no annotations of BigHand2.2M" in refusal(release)


def test_a_file_is_parsed_once_and_anew_when_it_changes(release):
    first = read_annotations(release, "bighand")[0].joints_m
    kept = sorted(release.rglob(".*seqgen-*"))
    assert len(kept) == 5
    times = [path.stat().st_mtime_ns for path in kept]
    np.testing.assert_array_equal(read_annotations(release, "bighand")[0].joints_m, first)
    file_of(release, "Subject_2", "1 75").write_text(lines_of(HANDS[:25]))
    np.testing.assert_allclose(read_annotations(release, "bighand")[0].joints_m[60:85], HANDS[:25], atol=1e-7)
    assert [path.stat().st_mtime_ns for path in kept] == times and len(list(release.rglob(".*seqgen-*"))) == 6


def test_splits_go_by_subject(tmp_path):
    for subject in range(8):
        folder = tmp_path / "full_annotation" / f"Subject_{subject + 1}"
        folder.mkdir(parents=True)
        (folder / f"1 75{ENDING}").write_text(lines_of(HANDS[12 * subject : 12 * subject + 12]))
    bank = load_bank(tmp_path, "bighand")
    rows = split_rows(bank, SplitConfig(train=2, val=1, test=1))
    assert sorted(np.concatenate(list(rows.values())).tolist()) == list(range(96))
    subjects = [set(bank.subject[chosen].tolist()) for chosen in rows.values()]
    assert sum(map(len, subjects)) == len(set.union(*subjects)) == 8
