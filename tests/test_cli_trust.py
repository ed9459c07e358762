"""The command line of trust: verify, repair, one clip again, ranges, single shards, merging; what they print, and their exit codes."""

import shutil
from pathlib import Path

import pytest
from runs import content

from seqgen.cli import main

TINY = ["--sequences", "8", "--clip.frames", "2", "--clip.size", "96,80", "--poses.rows", "1500", "--output.preview", "0", "--output.sequences-per-shard", "3", "--workers", "0"]


def call(monkeypatch: pytest.MonkeyPatch, *words: object) -> int:
    monkeypatch.setattr("sys.argv", ["seqgen", *map(str, words)])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("trust") / "set"
    with pytest.MonkeyPatch.context() as patch:
        assert call(patch, "generate", *TINY, "--out", directory) == 0
    return directory


@pytest.fixture
def copy(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "set"))


def flip(path: Path, place: int) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)


def test_a_sound_data_set_is_whole(made: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(monkeypatch, "verify", made) == 0
    assert capsys.readouterr().out == f"{made}: whole\n"
    assert call(monkeypatch, "verify", made, "--deep", "--percent", "50", "--seed", "3") == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"{made}: whole, labels derived again"


def test_faults_are_lines_and_exit_code_1_until_they_are_mended(copy: Path, made: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    flip(copy / "shards" / "train-000001.tar", 3000)
    (copy / "shards" / "train-000002.tar").unlink()
    assert call(monkeypatch, "verify", copy) == 1
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("train-000001.tar, 00000003: ") for line in lines) and "train-000002.tar: is missing" in lines and lines[-1].endswith(" faults")
    assert call(monkeypatch, "verify", copy, "--repair", "--workers", "0") == 0
    lines = capsys.readouterr().out.splitlines()
    assert "making again: train-000001.tar, train-000002.tar" in lines and lines[-1] == f"{copy}: whole"
    assert content(copy) == content(made)


def test_where_nothing_can_be_derived_the_plain_faults_are_told(copy: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from seqgen.errors import UserError
    from seqgen.pipeline.deep import origin

    def no_photos(*_: object) -> None:
        raise UserError("ph: no such folder")

    monkeypatch.setattr(origin, "gather_assets", no_photos)
    flip(copy / "shards" / "train-000001.tar", 3000)
    assert call(monkeypatch, "verify", copy, "--deep") == 2
    said = capsys.readouterr()
    assert said.err == "seqgen: ph: no such folder\n" and "train-000001.tar, 00000003: " in said.out


@pytest.mark.parametrize("place", ["set", "set/dataset.json", "--out"])
def test_one_clip_again(place: str, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["--out", made] if place == "--out" else [made.parent / place, "--out", tmp_path / "outputs" / "set-00000005"]
    assert call(monkeypatch, "generate", *words, "--sequence", "5") == 0
    folder = Path("outputs") / "set-00000005"
    assert sorted(path.name for path in folder.resolve().iterdir())[:2] == ["00000005.000.depth.png", "00000005.000.parts.png"]
    assert capsys.readouterr().out.splitlines()[-1] == f"the same bytes as in {made / 'shards' / 'train-000001.tar'}"


def test_one_clip_that_is_not_as_stored(copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    path = copy / "shards" / "train-000001.tar"
    flip(path, path.read_bytes().index(b"00000005.001.depth.png") + 512 + 100)
    assert call(monkeypatch, "generate", copy, "--sequence", "5", "--out", tmp_path / "clip") == 1
    assert capsys.readouterr().out.splitlines()[-1] == f"not the bytes in {path}: 001.depth.png"


MISTAKES = {
    "no such clip": (["generate", "SET", "--sequence", "8"], "--sequence 8: no such clip; the data set has 8, numbered from 0"),
    "no number": (["generate", "SET", "--sequence", "five"], "--sequence five: no such clip"),
    "a long number": (["generate", "SET", "--sequence", "1" * 5000], "no such clip"),
    "a config beside": (["generate", "SET", "--sequence", "1", "--seed", "2"], "takes the config from the data set, so --seed cannot be set"),
    "two portions": (["generate", "SET", "--sequence", "1", "--only-shard", "2"], "--sequence goes without"),
    "a file in the way": (["generate", "SET", "--sequence", "1", "--out", "FILE"], "no place for the files of a sequence"),
    "no data set": (["generate", "--sequence", "1", "--out", "NOWHERE"], "is missing: not a data set"),
    "no range": (["generate", "--shard-range", "2/2", "--out", "NEW"], "expected i/n with i from 0 to n - 1"),
    "a range of thousands of digits": (["generate", "--shard-range", f"0/{'9' * 5000}", "--out", "NEW"], "expected i/n"),
    "a range and overwriting": (["generate", "--shard-range", "0/2", "--overwrite", "--out", "NEW"], "--shard-range goes without --overwrite"),
    "no such shard": (["generate", *TINY, "--only-shard", "none", "--out", "NEW"], "--only-shard none: no such shard"),
    "percent alone": (["verify", "SET", "--percent", "3"], "--percent goes with --deep"),
    "workers alone": (["verify", "SET", "--workers", "3"], "--workers goes with --repair"),
    "too many percent": (["verify", "SET", "--deep", "--percent", "101"], "must be from 0 to 100"),
    "not a number of percent": (["verify", "SET", "--deep", "--percent", "nan"], "must be from 0 to 100"),
    "nothing to verify": (["verify", "NOWHERE"], "no folder with a data set"),
    "nothing of ours": (["verify", "EMPTY"], "holds no data set"),
    "one to merge": (["export", "--merge", "SET"], "two or more"),
    "the same twice": (["export", "--merge", "SET", "SET", "--out", "NEW"], "SET|same"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line_and_exit_code_2(mistake: str, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    words, told = MISTAKES[mistake]
    (tmp_path / "file").write_text("mine")
    (tmp_path / "empty").mkdir()
    places = {"SET": made, "FILE": tmp_path / "file", "NOWHERE": tmp_path / "nowhere", "EMPTY": tmp_path / "empty", "NEW": tmp_path / "new"}
    monkeypatch.chdir(tmp_path)
    assert call(monkeypatch, *(places.get(word, word) for word in words)) == 2
    error = capsys.readouterr().err
    assert error.startswith("seqgen: ") and error.count("\n") == 1 and any(one in error for one in told.split("|")), error
    assert not (tmp_path / "new").exists()


def test_ranges_and_single_shards(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "set"
    assert call(monkeypatch, "generate", *TINY, "--out", out, "--only-shard", "1") == 0
    assert "3 sequences made; the other shards are not all there yet, so the data set is not whole" in capsys.readouterr().out
    assert [call(monkeypatch, "generate", *TINY, "--out", out, "--shard-range", f"{place}/2") for place in (0, 1)] == [0, 0]
    assert "may be shared: yes, because all that is shown or followed has an open licence" in capsys.readouterr().out
    assert content(out) == content(made)


def test_an_index_over_two(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(monkeypatch, "generate", *TINY, "--seed", "1", "--out", tmp_path / "more") == 0
    assert call(monkeypatch, "export", "--merge", made, tmp_path / "more", "--out", tmp_path / "both") == 0
    assert call(monkeypatch, "verify", tmp_path / "both", "--deep") == 0
    assert call(monkeypatch, "preview", tmp_path / "both", "--sequences", "3", "12", "--out", tmp_path / "pictures") == 0
    flip(tmp_path / "more" / "shards" / "train-000000.tar", 3000)
    capsys.readouterr()
    assert call(monkeypatch, "verify", tmp_path / "both") == 1
    assert "more/train-000000.tar, 00000000: " in capsys.readouterr().out.replace("shards/", "")
    assert call(monkeypatch, "verify", tmp_path / "both", "--repair") == 2
    assert "an index over several data sets: name one of these" in capsys.readouterr().err
