"""A fault of ours, wherever it lies, ends the command with its traceback and exit code 1: nothing dresses it as the user's mistake, and no data set is declared whole."""

import json
import subprocess
import sys
import traceback
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest

from seqgen.cli import main
from seqgen.poses import load_built_in_bank

GENERATE = "generate --out {out} --workers 0 --sequences 1 --clip.frames 2 --clip.size 64,48 --poses.rows 1500 --split.val 0 --split.test 0 --output.preview 1"
SMALLEST = "--input.size 48 --model.width 0.125 --data.reading.batch 2 --data.reading.frames 2 --data.reading.readers 0 --run.threads 1"
TRAIN = f"train seqhand_small --data {{clips}} --out {{out}} --run.steps 1 --run.validate-every 1 {SMALLEST}"
EVALUATE = "evaluate {run}/best {clips} --split all --out {out}"
PREDICT = "predict {run}/best {clips} --split train --out {out} --no-overlays"
BANK = "bank build {poses} --format npz"
PREVIEW = "preview {clips} --sequences 0 --out {out}"
# What may be raised anywhere. Not by their type faults of ours: ValueErrors (a UserError is one), OSErrors (the disk), RecursionErrors (JSON nested without end).
KINDS = (ZeroDivisionError, KeyError, TypeError, IndexError, AttributeError, AssertionError, RuntimeError, NotImplementedError, UnboundLocalError)
# Place: what is replaced by a fault, and a command that comes by.
PLACES = {
    "reading a config": ("seqgen.config.overlay", GENERATE),
    "reading annotations": ("seqgen.poses.formats._canonical_m", BANK),
    "building a bank": ("seqgen.poses.bank._normalised", BANK),
    "dealing poses to splits": ("seqgen.pipeline.assets.split_rows", GENERATE),
    "building a graph": ("seqgen.poses.graph._forests", BANK),
    "report of a bank": ("seqgen.poses.flow_report.draw_whole_walk", "bank report {poses} --format npz --clips 1"),
    "training an encoder": ("seqgen.hand.fit.bone_directions", "fit {poses} --format npz --steps 1 --out {out}/encoder.safetensors"),
    "reading an encoder": ("seqgen.hand.fit.PoseEncoder.load_state_dict", GENERATE),
    "licences": ("seqgen.pipeline.assets.Assets.licences", GENERATE),
    "claiming a folder": ("seqgen.dataset.hold.claim_folder", GENERATE),
    "planning shards": ("seqgen.pipeline.run.plan_shards", GENERATE),
    "opening the sources": ("seqgen.pipeline.generate.open_props", GENERATE),
    "drawing a flow": ("seqgen.poses.flow.begin_walk", GENERATE),
    "following a flow": ("seqgen.pipeline.motion.refine_directions", GENERATE),
    "placing the hand": ("seqgen.pipeline.shot.place_hand", GENERATE),
    "painting skin": ("seqgen.pipeline.stage.paint_skin", GENERATE),
    "drawing a background": ("seqgen.scene.surroundings.background.decode_photo", GENERATE),
    "drawing light": ("seqgen.pipeline.stage.draw_light", GENERATE),
    "rasterising": ("seqgen.render.warp_renderer.WarpRenderer._draw", GENERATE),
    "starting a kernel": ("seqgen.render.device.wp.launch", GENERATE),
    "the sensor": ("seqgen.render.sensor.noise_scale", GENERATE + " --sensor.kind drawn"),
    "labels": ("seqgen.pipeline.generate.make_labels", GENERATE),
    "meta": ("seqgen.pipeline.describe.build_meta", GENERATE),
    "encoding a picture": ("seqgen.dataset.encoding.encode_png", GENERATE),
    "writing a shard": ("seqgen.dataset.shards._tar_header", GENERATE),
    "noting a shard": ("seqgen.pipeline.plan.record_shard", GENERATE),
    "writing the index": ("seqgen.dataset.index_writer._check_rising", GENERATE),
    "building the manifest": ("seqgen.dataset.manifest._shares", GENERATE),
    "writing the manifest": ("seqgen.pipeline.finish.write_manifest", GENERATE),
    "opening a data set": ("seqgen.dataset.Dataset.__init__", PREVIEW),
    "reading a tar": ("seqgen.dataset.shards._split_name", PREVIEW),
    "reading a sequence": ("seqgen.dataset.shards.decode_sequence", PREVIEW),
    "decoding a picture": ("seqgen.dataset.encoding._checked", PREVIEW),
    "decoding labels": ("seqgen.dataset.encoding._label_hints", PREVIEW),
    "checking meta": ("seqgen.dataset.encoding.check_meta", PREVIEW),
    "drawing a preview": ("seqgen.dataset.preview._tiles", PREVIEW),
    "opening clips": ("seqgen.training.sources.open_clips", TRAIN),
    "reading a clip": ("seqgen.dataset.clips.decode_pictures", TRAIN),
    "a batch": ("seqgen.training.batches.collate", TRAIN),
    "a training step": ("seqgen.training.train._gradients", TRAIN),
    "validation": ("seqgen.training.train._validate", TRAIN),
    "writing a checkpoint": ("seqgen.estimators.checkpoint.own_tensors", TRAIN),
    "loading a checkpoint": ("seqgen.estimators.checkpoint.new_estimator", EVALUATE),
    "loading weights": ("seqgen.estimators.checkpoint._check_numbers", EVALUATE),
    "evaluating a batch": ("seqgen.evaluation.evaluate._compare", EVALUATE),
    "metrics": ("seqgen.evaluation.summary.procrustes_aligned", EVALUATE),
    "the report": ("seqgen.evaluation.report.as_markdown", EVALUATE),
    "predicting": ("seqgen.prediction.predict._in_picture", PREDICT),
    "writing predictions": ("seqgen.prediction.predict.FramePrediction.as_json", PREDICT),
    "doctor": ("seqgen.doctor._video", "doctor"),
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A bank, a data set and a trained network."""
    folder = tmp_path_factory.mktemp("made")
    np.savez(folder / "poses.npz", joints_m=load_built_in_bank(1500).joints_m[:200])
    words = GENERATE.replace("--sequences 1", "--sequences 4").replace("--split.val 0", "--split.train 2 --split.val 2").replace("--output.preview 1", "--output.preview 0")
    places = {"poses": folder / "poses.npz", "clips": folder / "clips", "run": folder / "run"}
    assert ended(words, out=places["clips"])[0] == 0
    assert ended(TRAIN, **places, out=places["run"])[0] == 0
    return places


def ended(words: str, **places: Path) -> tuple[int, str]:
    """Exit code of a command, and what the interpreter prints of what passed through `main`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["seqgen", *(word.format(**places) for word in words.split())])
        try:
            main()
        except SystemExit as stopped:
            return stopped.code or 0, ""
        except Exception:
            return 1, traceback.format_exc()  # what the interpreter does with it
    raise AssertionError("main never returns")


def fault(kind: type[Exception]) -> object:
    def raise_it(*_: object, **__: object) -> NoReturn:
        raise kind("a fault of ours")

    return raise_it


@pytest.mark.parametrize(("place", "number"), [pytest.param(place, number, marks=[pytest.mark.slow] if number % 2 else []) for number, place in enumerate(PLACES)])
def test_a_fault_of_ours_keeps_its_traceback(
    place: str, number: int, made: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """One kind of fault each, another at the next place; with nothing in the cache where that is what is built."""
    (target, words), kind = PLACES[place], KINDS[number % len(KINDS)]
    if words == BANK:
        monkeypatch.setenv("SEQGEN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(target, fault(kind))
    code, said = ended(words, **{**made, "out": tmp_path / "out"})
    assert code == 1, capfd.readouterr().err
    assert said.startswith("Traceback") and kind.__name__ in said and "a fault of ours" in said and "raise_it" in said
    assert not (tmp_path / "out" / "dataset.json").exists()


def test_after_a_fault_the_same_command_continues(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also after one that came when the index was already there."""
    for target in ("seqgen.dataset.shards._tar_header", "seqgen.pipeline.finish.write_manifest"):
        with monkeypatch.context() as patch:
            patch.setattr(target, fault(KeyError))
            assert ended(GENERATE, out=tmp_path / "out")[0] == 1
    assert ended(GENERATE, out=tmp_path / "out") == (0, "")
    assert json.loads((tmp_path / "out" / "dataset.json").read_text(encoding="utf-8"))["counts"]["sequences"] == 1


@pytest.mark.parametrize(("target", "words"), [PLACES["rasterising"], PLACES["decoding labels"]])
def test_the_interpreter_prints_it(target: str, words: str, made: dict[str, Path], tmp_path: Path) -> None:
    """As a user sees it."""
    module, _, name = target.rpartition(".")
    module, owner = (module.rpartition(".")[0], "." + module.rpartition(".")[2]) if module[module.rindex(".") + 1].isupper() else (module, "")
    argv = ["seqgen", *(word.format(**{**made, "out": tmp_path / "out"}) for word in words.split())]
    script = f"import sys, {module} as m\nm{owner}.{name} = lambda *a, **k: {{}}['a fault of ours']\nsys.argv = {argv!r}\nfrom seqgen.cli import main\nmain()"
    process = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert process.returncode == 1 and "Traceback" in process.stderr and "KeyError: 'a fault of ours'" in process.stderr
