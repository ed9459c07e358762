"""The commands that learn, as a user gives them: one small run from clips to predictions, and one clear line with exit code 2 for each mistake, before any work."""

import json
import sys
from pathlib import Path

import pytest
from real_sets import write_folder, write_freihand

from seqgen.cli import main
from seqgen.estimators.checkpoint import read_record

CLIPS = "--workers 0 --sequences 8 --clip.frames 3 --clip.size 48,48 --poses.rows 1500 --split.train 4 --split.val 2 --split.test 2 --output.preview 0".split()
SMALLEST = "--input.size 48 --model.width 0.125 --data.reading.batch 2 --data.reading.frames 3 --data.reading.readers 0 --run.threads 1".split()


def call(*words: object) -> int:
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as stopped:
        patch.setattr(sys, "argv", ["seqgen", *map(str, words)])
        main()
    return stopped.value.code


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set in `clips` and a run of two steps on it in `run`."""
    folder = tmp_path_factory.mktemp("learning")
    assert call("generate", "--out", folder / "clips", *CLIPS) == 0
    assert call("train", "seqhand_small", "--data", folder / "clips", "--out", folder / "run", "--run.steps", 2, "--run.validate-every", 1, *SMALLEST) == 0
    return folder


def test_from_clips_to_predictions(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("train", "seqhand_small", "--data", folder / "clips", "--out", folder / "run", "--run.steps", 2, "--run.validate-every", 1, *SMALLEST) == 0
    assert "finished already, 2 steps" in capsys.readouterr().err
    tuning = "--run.steps 1 --data.reading.batch 3 --data.reading.readers 0 --run.threads 1".split()
    assert call("finetune", "--from", folder / "run" / "best", "--data", folder / "clips", "--freeze", "none", "--out", tmp_path / "tuned", *tuning) == 0
    stages = read_record(tmp_path / "tuned" / "best")["about"]["stages"]
    assert [(stage["steps"], stage["frozen"]) for stage in stages][1:] == [(1, [])]
    assert call("evaluate", tmp_path / "tuned" / "best", folder / "clips", "--out", tmp_path / "report") == 0
    report = json.loads((tmp_path / "report" / "report.json").read_text())
    assert report["counts"]["clips"] == 2 and report["mean_joint_error_mm"] > 0
    assert call("predict", folder / "run" / "best", folder / "clips", "--out", tmp_path / "predicted", "--split", "test") == 0
    predictions = json.loads((tmp_path / "predicted" / "predictions.json").read_text())
    assert len(predictions) == 6 and len(next(iter(predictions.values()))["joints_m"]) == 21
    assert len(list((tmp_path / "predicted" / "overlays").iterdir())) > 0


@pytest.mark.parametrize(
    "words",
    [
        "train --data s3://bucket/clips",
        "train --data clips --data.validation s3://bucket/clips",
        "finetune --from x --data s3://bucket/clips",
        "evaluate x s3://bucket/clips",
        "predict x s3://bucket/clips --out y",
    ],
)
def test_what_is_learnt_from_lies_in_folders(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(*words.split()) == 2
    told = capsys.readouterr().err
    assert told.startswith(f"seqgen: {words.split()[0]}: s3://bucket/clips is a URL: data is read from folders here; copy the data set to one") and told.count("\n") == 1


def test_finetuning_freezes_the_recurrent_layer_unless_told(folder: Path, tmp_path: Path) -> None:
    tuning = "--run.steps 1 --data.reading.batch 3 --data.reading.readers 0 --run.threads 1 --data.validation-clips 0".split()
    assert call("finetune", "--from", folder / "run" / "best", "--data", folder / "clips", "--out", tmp_path / "tuned", *tuning) == 0
    assert read_record(tmp_path / "tuned" / "last")["about"]["stages"][-1]["frozen"] == ["temporal"]


def test_splits_of_other_data_sets(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All of our own data set; no split of a labelled folder; one at a time of FreiHAND."""
    assert call("evaluate", folder / "run" / "best", folder / "clips", "--split", "all", "--out", tmp_path / "all") == 0
    assert json.loads((tmp_path / "all" / "report.json").read_text())["counts"]["clips"] == 8
    write_folder(tmp_path / "labelled")
    assert call("evaluate", folder / "run" / "best", tmp_path / "labelled", "--out", tmp_path / "report") == 0
    about = json.loads((tmp_path / "report" / "report.json").read_text())["about"]
    assert about["split"] is None and about["labels"]
    write_freihand(tmp_path / "freihand")
    capsys.readouterr()
    assert call("evaluate", folder / "run" / "best", tmp_path / "freihand", "--split", "all", "--out", tmp_path / "report") == 2
    assert "--split all is for our own data sets" in capsys.readouterr().err


def test_epochs_in_place_of_steps(folder: Path, tmp_path: Path) -> None:
    """Fields that only fit together are judged together, in whatever order they come."""
    for number, fields in enumerate(("--run.steps none --run.epochs 1", "--run.epochs 1 --run.steps none")):
        assert call("train", "seqhand_small", "--data", folder / "clips", "--out", tmp_path / str(number), *fields.split(), *SMALLEST) == 0


@pytest.mark.parametrize("command", ["train", "finetune"])
def test_help_lists_every_field(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(command, "--help") == 0
    said = capsys.readouterr().out
    assert all(field in said for field in ("--data.train", "--model.losses.lambda-theta", "--optim.lr", "--run.train-workers"))


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ("train nothing", "no such config"),
        ("train seqhand_small --data {clips} --model.name vgg", "no such network; there are seqhand"),
        ("train seqhand_small --data {clips} --data.reading.frames 3 --data.reading.batch 2 --backbone-weights {clips}/dataset.json", "not a file of weights"),
        ("train seqhand_small --data {clips} --run.epochs 3", "give steps or epochs"),
        ("train seqhand_small --data {clips}/nowhere", "no such folder"),
        ("train seqhand_small --data {clips} --data.reading.frames 9", "3 frames"),
        ("train seqhand_small --data {clips} --data.reading.frames 3 --data.reading.batch 2 --model.hand mano --run.mano-dir {clips}", "MANO"),
        ("finetune --data {clips}", "needs --from CKPT and --data DATASET"),
        ("finetune --from {clips} --data {clips}", "no checkpoint"),
        ("finetune --from {run}/best --data {clips} --freeze hand", "hand"),
        ("evaluate {run} {clips}", "no checkpoint"),
        ("evaluate {run}/best {clips} --split exam", "no split 'exam'"),
        ("evaluate {run}/best {clips} --batch 0", "must be at least 1"),
        ("evaluate {run}/best {clips} --out {clips}/dataset.json", "is a file"),
        ("predict {run}/best {clips}/nowhere --out {out}", "nowhere"),
        ("predict {run}/best {clips} --out {clips}/dataset.json", "is a file"),
        ("reproduce seqhand-table9 --out {out}", "no table seqhand-table9"),
        ("reproduce seqhand-table2 --rows resnet --out {out}", "no row resnet"),
    ],
)
def test_mistakes_are_one_line(words: str, complaint: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    filled = [word.format(clips=folder / "clips", run=folder / "run", out=tmp_path / "out") for word in words.split()]
    extra = ["--out", tmp_path / "out"] if words.startswith(("train", "finetune")) else []
    assert call(*filled, *extra) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("seqgen: ") and complaint in line
    assert not (tmp_path / "out" / "last").exists()
