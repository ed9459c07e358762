"""The command line: what it makes, and one clear line with exit code 2 for each mistake, nothing written."""

import re
import subprocess
import sys
from itertools import takewhile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from seqgen.cli import main
from seqgen.config import shipped_configs
from seqgen.dataset import open_dataset
from seqgen.dataset.manifest import read_manifest
from seqgen.poses import load_built_in_bank
from seqgen.skeleton import JOINT_SETS

TINY = "--workers 0 --sequences 2 --clip.frames 3 --clip.size 64,48 --poses.rows 1500 --split.val 0 --split.test 0 --output.preview 2".split()


def call(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["seqgen", *words])
    with pytest.raises(SystemExit) as stopped:
        main()
    return stopped.value.code


def hands17_lines(rows: int = 40, *, scale: float = 1e3, joint_set: str = "hands17", mirror: bool = False) -> list[str]:
    """Annotations as HANDS 2017 has them, of built-in poses half a metre before the camera."""
    joints = load_built_in_bank(1500).joints_m[:: 1500 // rows][:rows].astype(float) * ([-1, 1, 1] if mirror else [1, 1, 1]) + [0.0, 0.0, 0.5]
    ordered = JOINT_SETS[joint_set].from_canonical(joints) * scale
    return [f"image_D{number:08d}.png\t" + "\t".join(f"{value:.4f}" for value in row.ravel()) for number, row in enumerate(ordered, 1)]


def test_generate_from_annotations_to_pictures(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bank, out = tmp_path / "Training_Annotation.txt", tmp_path / "out"
    bank.write_text("\n".join(hands17_lines(300)) + "\n")
    assert call(monkeypatch, "generate", "--pose-bank", str(bank), "--pose-format", "hands17", "--out", str(out), *TINY) == 0
    said = capsys.readouterr().out
    assert "palm" in said and "joint order hands17" in said and str(out / "preview.png") in said
    with Image.open(out / "preview.png") as picture:
        assert np.asarray(picture).std() > 10
    assert set(read_manifest(out).left_out) == {"flow_joints_m", "flow_source"}
    assert open_dataset(out)[0].labels.flow_source is None
    assert call(monkeypatch, "generate", "--pose-bank", str(bank), "--pose-format", "hands17", "--out", str(out), *TINY) == 0
    assert "were there already" in capsys.readouterr().out


def test_another_seed_has_another_preview(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pictures = []
    for words in (["--seed", "1"], ["--seed", "2", "--overwrite"]):
        assert call(monkeypatch, "generate", "--out", str(tmp_path / "out"), *TINY, *words) == 0
        pictures.append((tmp_path / "out" / "preview.png").read_bytes())
    assert pictures[0] != pictures[1]


def test_a_ray_address_that_nobody_answers_at(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for address in ("127.0.0.1:1", "garbage", "ray://127.0.0.1:10001"):
        monkeypatch.setenv("RAY_ADDRESS", address)
        assert call(monkeypatch, "generate", "--out", str(tmp_path / "out"), *[word if word != "0" else "1" for word in TINY]) == 2
        error = capsys.readouterr().err
        assert address in error and error.count("\n") == 1 and not (tmp_path / "out").exists()


def test_preview_bank_doctor_config(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(monkeypatch, "generate", "--out", str(tmp_path / "out"), *TINY) == 0
    assert call(monkeypatch, "preview", str(tmp_path / "out"), "--sequences", "1", "--out", str(tmp_path / "pictures")) == 0
    with Image.open(tmp_path / "pictures" / "preview.gif") as animation:
        assert animation.n_frames == 3
    np.savez(tmp_path / "poses.npz", joints_m=load_built_in_bank(1500).joints_m[:100])
    capsys.readouterr()
    assert call(monkeypatch, "bank", "build", str(tmp_path / "poses.npz"), "--format", "npz") == 0
    assert "100 distinct poses" in capsys.readouterr().out
    assert call(monkeypatch, "doctor") == 0
    assert "warp cpu" in capsys.readouterr().out
    assert call(monkeypatch, "config", "list") == 0
    assert {"quickstart", "paper"} <= {line.split()[0] for line in capsys.readouterr().out.splitlines()}
    assert call(monkeypatch, "config", "copy", "paper", "--out", str(tmp_path / "mine.toml")) == 0
    assert (tmp_path / "mine.toml").read_text() == shipped_configs()["paper"].read_text()


def test_booleans_and_dashes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert call(monkeypatch, "generate", "--out", str(tmp_path / "out"), *TINY, "--labels.flow-source", "false", "--output.jpeg_quality", "80") == 0
    sequence = open_dataset(tmp_path / "out")[0]
    assert sequence.labels.flow_source is None and sequence.meta["flow"]["start_row"] is None


def test_every_field_takes_its_own_default_as_text() -> None:
    from seqgen.config import build, field_table, overlay, parse_overrides
    from seqgen.pipeline.config import GenerateConfig

    for name, default, _ in field_table(GenerateConfig):
        text = default.strip('"').strip("[]").replace(" ", "")
        found = parse_overrides([f"--{name.replace('_', '-')}", text], {})
        assert build(GenerateConfig, overlay({}, name, found[name]), where="test") == GenerateConfig(), name


def test_help_names_every_field(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(monkeypatch, "generate", "--help") == 0
    said = capsys.readouterr().out
    assert "--flow.median-step-mm" in said and "--camera.egocentric" in said and "quickstart" in said


def toml(tmp_path: Path, text: str) -> str:
    (tmp_path / "mine.toml").write_text(text)
    return str(tmp_path / "mine.toml")


def bank_of(tmp_path: Path, lines: list[str] | bytes) -> list[str]:
    path = tmp_path / "bank.txt"
    path.write_bytes(lines if isinstance(lines, bytes) else "\n".join(lines).encode())
    return ["--pose-bank", str(path), "--pose-format", "hands17"]


def injured(number: int, edit) -> list[str]:
    lines = hands17_lines()
    lines[number - 1] = edit(lines[number - 1])
    return lines


MISTAKES = {
    "unknown key": (lambda p: ["--camera.egocentrc", "0.5"], "camera.egocentrc; did you mean camera.egocentric"),
    "unknown section": (lambda p: ["--camra.egocentric", "0.5"], "camra.*did you mean camera.egocentric"),
    "unknown key in a file": (lambda p: [toml(p, "[clip]\nframs = 3\n")], r"mine\.toml.*clip\.frams.*clip\.frames"),
    "unknown config": (lambda p: ["quickstrat"], "quickstrat.*did you mean quickstart"),
    "no such file": (lambda p: [str(p / "none.toml")], "no such config file"),
    "not TOML": (lambda p: [toml(p, "clip = [")], "not valid TOML"),
    "value of the wrong kind": (lambda p: ["--clip.frames", "ten"], "clip.frames.*ten.*integer"),
    "value out of range": (lambda p: ["--camera.egocentric", "1.5"], "camera.egocentric.*1.5.*less than or equal to 1"),
    "no frames": (lambda p: ["--clip.frames", "0"], "clip.frames"),
    "one side only": (lambda p: ["--clip.size", "224"], "clip.size"),
    "giant pictures": (lambda p: ["--clip.size", "9000,9000"], "clip.*16 to 4096"),
    "no sequences": (lambda p: ["--sequences", "0"], "sequences"),
    "nothing in any split": (lambda p: ["--split.train", "0", "--split.val", "0", "--split.test", "0"], "at least one must be positive"),
    "value missing": (lambda p: ["--seed"], "--seed needs a value"),
    "given twice": (lambda p: ["--seed", "1", "--seed", "2"], "--seed is given twice"),
    "given twice, in two spellings": (lambda p: ["--hand", "open", "--hand.kind", "open"], "--hand.kind is given twice"),
    "a word after --out": (lambda p: ["--out", "a", "b"], "--out takes one folder"),
    "pyrender on CUDA": (lambda p: ["--renderer", "pyrender", "--device", "cuda"], "draws on the CPU"),
    "alpha beyond n": (lambda p: ["--flow.kind", "paper", "--flow.alpha", "20"], "alpha"),
    "no encoder": (lambda p: ["--hand.encoder", str(p / "none.safetensors")], "no such encoder"),
    "stray word": (lambda p: ["quickstart", "again"], "unexpected 'again'"),
    "missing bank": (lambda p: ["--pose-bank", str(p / "none.txt"), "--pose-format", "hands17"], "no such annotation file"),
    "empty bank": (lambda p: bank_of(p, []), "holds no annotations"),
    "binary bank": (lambda p: bank_of(p, bytes(range(256)) * 20), "binary"),
    "62 numbers": (lambda p: bank_of(p, injured(7, lambda line: line.rpartition("\t")[0])), "line 7: .*62 numbers, expected 63"),
    "truncated": (lambda p: bank_of(p, injured(40, lambda line: line[:100])), "line 40: .*expected 63"),
    "NaN": (lambda p: bank_of(p, injured(3, lambda line: line.rpartition("\t")[0] + "\tnan")), "line 3: holds nan"),
    "a word": (lambda p: bank_of(p, injured(9, lambda line: line.rpartition("\t")[0] + "\tx1")), "line 9: 'x1' is not a number"),
    "metres": (lambda p: bank_of(p, hands17_lines(scale=1.0)), "wrong unit.*look like metres"),
    "wrong order": (lambda p: bank_of(p, hands17_lines(joint_set="mano")), "wrong joint order: not hands17; mano would fit"),
    "left hands": (lambda p: bank_of(p, hands17_lines(mirror=True)), "look like left hands.*--poses.side left"),
    "too few poses": (lambda p: bank_of(p, hands17_lines(8)), "8 distinct poses are fewer"),
    "no such folder of photos": (lambda p: ["--background.folder", str(p / "none")], "no such folder"),
    "no readable photo": (lambda p: [(p / "a.jpg").write_text("no") and "--background.folder", str(p)], "no readable image"),
    "no MANO files": (lambda p: ["--hand", "mano", "--hand.mano-dir", str(p)], "mano.is.tue.mpg.de"),
    "no CUDA": (lambda p: ["--device", "cuda"], "cuda"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line_and_exit_code_2(mistake: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words, pattern = MISTAKES[mistake]
    given, out = words(tmp_path), tmp_path / "out"
    config = list(takewhile(lambda word: not word.startswith("--"), given))
    own = {word for word in given if word.startswith("--")}
    tiny = [word for pair in zip(TINY[::2], TINY[1::2], strict=True) if pair[0] not in own for word in pair]
    where = [] if "--out" in given else ["--out", str(out)]
    code = call(monkeypatch, "generate", *config, *tiny, *given[len(config) :], *where)
    error = capsys.readouterr().err
    assert code == 2, error
    assert error.startswith("seqgen: ") and error.count("\n") == 1 and "Traceback" not in error
    assert re.search(pattern, error), error
    assert not out.exists()


@pytest.mark.parametrize("words", ["generat", "preview", "preview nowhere", "bank inspect nowhere.txt", "config copy nothing", "doctor --fast", "bank report --clips 0"])
def test_other_commands_too(words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(monkeypatch, *words.split()) == 2
    error = capsys.readouterr().err
    assert error.startswith("seqgen: ") and error.count("\n") == 1


def test_a_fault_of_ours_has_its_traceback(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fault = "import seqgen.poses.flow as f, sys; f.draw_speed = lambda *a, **k: 1 / 0; from seqgen.cli import main"
    script = f"{fault}; sys.argv = ['seqgen', 'generate', '--out', {str(tmp_path / 'out')!r}, *{TINY!r}]; main()"
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert ended.returncode == 1 and "ZeroDivisionError" in ended.stderr
