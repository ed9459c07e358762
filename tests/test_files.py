"""Files that are whole or not there, and the folder for what can be made again."""

import hashlib
import os
import signal
import subprocess
import sys

import numpy as np
import pytest

from seqgen.files import arrays_digest, cache_folder, cached_arrays, file_digest, is_writable, write_json, written_aside

ARRAYS = {"rows": np.arange(12.0, dtype=np.float32).reshape(3, 4), "spacing": np.float64(0.5), "none": np.zeros((0, 3))}
NAMES = tuple(ARRAYS)


def same(got, expected):
    return set(got) == set(expected) and all(np.array_equal(got[name], expected[name]) and got[name].dtype == expected[name].dtype for name in expected)


def test_a_file_appears_when_it_is_whole(tmp_path):
    path = tmp_path / "new" / "folder" / "x.txt"
    with written_aside(path) as aside:
        aside.write_text("half")
        assert not path.exists()
        aside.write_text("whole")
    assert path.read_text() == "whole"
    assert os.listdir(path.parent) == ["x.txt"]


@pytest.mark.parametrize("kind", ["file", "folder"])
@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_failed_write_leaves_what_was_there(tmp_path, kind, error):
    (tmp_path / "x").write_text("old")
    with pytest.raises(error), written_aside(tmp_path / "x") as aside:
        if kind == "folder":
            (aside / "deep").mkdir(parents=True)
            aside = aside / "deep" / "file"
        aside.write_text("new")
        raise error
    assert os.listdir(tmp_path) == ["x"] and (tmp_path / "x").read_text() == "old"


def test_writing_nothing_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError), written_aside(tmp_path / "x"):
        pass
    assert os.listdir(tmp_path) == []


def test_two_writers_do_not_meet(tmp_path):
    with written_aside(tmp_path / "x") as first, written_aside(tmp_path / "x") as second:
        first.write_text("first")
        second.write_text("second")
    assert os.listdir(tmp_path) == ["x"]


def test_json_keeps_its_order_and_refuses_nan(tmp_path):
    write_json(tmp_path / "x.json", {"z": 1, "ä": [None, True]})
    assert (tmp_path / "x.json").read_text(encoding="utf-8").split() == ["{", '"z":', "1,", '"ä":', "[", "null,", "true", "]", "}"]
    with pytest.raises(ValueError):
        write_json(tmp_path / "y.json", {"z": float("nan")})
    assert os.listdir(tmp_path) == ["x.json"]


def test_cached_arrays_are_built_once_and_cannot_be_written(tmp_path):
    calls = []

    def build():
        calls.append(1)
        return ARRAYS

    for _ in range(2):
        arrays = cached_arrays(tmp_path / "deep" / "rows-1", NAMES, build)
        assert same(arrays, ARRAYS)
    assert len(calls) == 1
    assert isinstance(arrays["rows"].base, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        arrays["rows"][0] = 1
    assert os.listdir(tmp_path / "deep") == ["rows-1"]


@pytest.mark.parametrize("injury", ["missing", "empty", "cut"])
def test_a_damaged_folder_is_built_anew(tmp_path, injury):
    folder = tmp_path / "rows-1"
    cached_arrays(folder, NAMES, lambda: ARRAYS)
    file = folder / f"{NAMES[0]}.npy"
    file.unlink() if injury == "missing" else file.write_bytes(b"" if injury == "empty" else file.read_bytes()[:90])
    assert same(cached_arrays(folder, NAMES, lambda: ARRAYS), ARRAYS)


def test_where_nothing_can_be_kept_arrays_are_built_each_time(tmp_path):
    (tmp_path / "file").write_text("no folder")
    assert same(cached_arrays(tmp_path / "file" / "rows-1", NAMES, lambda: ARRAYS), ARRAYS)


def test_a_failed_build_leaves_nothing(tmp_path):
    def fail():
        raise RuntimeError

    def fail_while_saving():
        return {"fine": np.zeros(3), "pickled": np.array([object()])}

    for build, error in ((fail, RuntimeError), (fail_while_saving, ValueError)):
        with pytest.raises(error):
            cached_arrays(tmp_path / "rows-1", NAMES, build)
        assert os.listdir(tmp_path) == []
    assert same(cached_arrays(tmp_path / "rows-1", NAMES, lambda: ARRAYS), ARRAYS)


KILLED = """
import os, signal, sys
from pathlib import Path
from seqgen.files import written_aside
with written_aside(Path(sys.argv[1])) as aside:
    aside.mkdir()
    (aside / "rows.npy").write_bytes(b"half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_build_is_not_taken_for_a_whole_one(tmp_path):
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "rows-1")], check=False)
    assert done.returncode == -signal.SIGKILL
    assert not (tmp_path / "rows-1").exists()
    assert same(cached_arrays(tmp_path / "rows-1", NAMES, lambda: ARRAYS), ARRAYS)


def test_of_two_builders_at_once_the_faster_wins(tmp_path):
    def slow():
        cached_arrays(tmp_path / "rows-1", NAMES, lambda: ARRAYS)  # another process, done before us
        return ARRAYS

    assert same(cached_arrays(tmp_path / "rows-1", NAMES, slow), ARRAYS)
    assert os.listdir(tmp_path) == ["rows-1"]


def test_the_cache_is_where_seqgen_cache_says(tmp_path, monkeypatch):
    monkeypatch.setenv("SEQGEN_CACHE", str(tmp_path / "mine"))
    assert cache_folder() == tmp_path / "mine"


def test_without_it_the_cache_is_the_users_or_else_temporary(tmp_path, monkeypatch):
    monkeypatch.delenv("SEQGEN_CACHE")
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "seqgen"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "seqgen"
    tmp_path.chmod(0o555)
    assert cache_folder() == tmp_path / "tmp" / f"seqgen-cache-{os.getuid()}"
    tmp_path.chmod(0o755)
    monkeypatch.setenv("HOME", "~")  # what a process without a home has: "~" must not become a folder here
    assert cache_folder() == tmp_path / "tmp" / f"seqgen-cache-{os.getuid()}"


def test_writable_is_told_by_the_write_bits_of_the_nearest_folder(tmp_path):
    assert is_writable(tmp_path) and is_writable(tmp_path / "not" / "yet")
    (tmp_path / "file").touch()
    assert not is_writable(tmp_path / "file")
    tmp_path.chmod(0o555)  # root may write here all the same, and still does not
    assert not is_writable(tmp_path) and not is_writable(tmp_path / "not" / "yet")
    tmp_path.chmod(0o755)


def test_file_digest_is_sha256(tmp_path):
    (tmp_path / "x").write_bytes(b"abc" * 100_000)
    assert file_digest(tmp_path / "x") == hashlib.sha256(b"abc" * 100_000).hexdigest()


def test_arrays_digest_knows_values_shapes_types_and_order():
    rows = np.arange(6, dtype=np.int32)
    variants = [(rows,), (rows + 1,), (rows.reshape(2, 3),), (rows.astype(np.int64),), (rows.view(np.float32),), (rows[:3], rows[3:]), (rows, rows), (rows[::-1],)]
    assert len({arrays_digest(*arrays) for arrays in variants}) == len(variants)
    assert arrays_digest(np.asfortranarray(np.eye(3)[:, :2])) == arrays_digest(np.eye(3)[:, :2].copy())
