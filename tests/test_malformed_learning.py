"""Malformed inputs of `preview`, `evaluate`, `predict`, `finetune` and `train`: checkpoints, weights, archives, labelled folders, pictures, clouds. As test_malformed.py says."""

import io
import json
import pickle
import shutil
import struct
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from malformed import (
    BAD_PICTURES,
    Made,
    Touch,
    bomb_npy,
    call,
    check_refused,
    edited,
    harm,
    header,
    lying_jpeg,
    lying_npy,
    npy,
    pickled,
    picture,
    png,
    put,
    replaced,
    safetensors,
    zipped,
)
from real_sets import write_folder
from safetensors.torch import load_file, save_file
from sequences import write_data_set

from seqgen.estimators.checkpoint import RECORD_NAME, WEIGHTS_NAME, new_estimator, save_estimator
from seqgen.estimators.seqhand.estimator import SeqHandConfig
from seqgen.estimators.srn.estimator import SrnConfig
from seqgen.estimators.views.crop import InputConfig
from seqgen.estimators.views.cube import CubeConfig
from seqgen.files import file_digest

Harm = Callable[[Path], object]
Row = tuple[Callable[[Path, Path], Made], str]  # of the sound folder and one to write to; the pattern of the line
SHARD = "shards/train-000000.tar"
CAMERA = ("--intrinsics", "60,60,32,24")


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set in `clips`, checkpoints in `seqhand` and `srn`, labelled pictures in `labelled`."""
    folder = tmp_path_factory.mktemp("sound")
    write_data_set(folder / "clips", pictures=("flow_px",))
    torch.manual_seed(0)
    save_estimator(folder / "seqhand", new_estimator(SeqHandConfig(backbone="resnet18", width=0.125)), InputConfig(size=48), {})
    save_estimator(folder / "srn", new_estimator(SrnConfig(width=0.125)), CubeConfig(size=64), {})
    write_folder(folder / "labelled")
    return folder


def injured(name: str, change: Harm, words: Callable[[Path, Path], Made], said: str) -> Row:
    """A copy of a sound folder after a change."""

    def made(sound: Path, folder: Path) -> Made:
        shutil.copytree(sound / name, folder / name)
        change(folder / name)
        return words(folder / name, sound)

    return made, said


# --- archives ---


def archive(change: Harm, said: str) -> Row:
    return injured("clips", change, lambda clips, _: ["preview", clips, "--sequences", "0"], said)


def evaluated(change: Harm, said: str) -> Row:
    return injured("clips", change, lambda clips, sound: ["evaluate", sound / "seqhand", clips, "--split", "train"], said)


def first(*blocks: bytes) -> Harm:
    """Blocks before the first header of a shard."""
    return lambda clips: (clips / SHARD).write_bytes(b"".join(blocks) + (clips / SHARD).read_bytes())


def last(*blocks: bytes) -> Harm:
    """Blocks behind the last member of a shard, before its end."""

    def change(clips: Path) -> None:
        with tarfile.open(clips / SHARD) as whole:
            end = max(info.offset_data + -(-info.size // 512) * 512 for info in whole)
        content = (clips / SHARD).read_bytes()
        (clips / SHARD).write_bytes(content[:end] + b"".join(blocks) + content[end:])

    return change


def member(name: str, data: bytes | None) -> Harm:
    return lambda clips: replaced(clips / SHARD, f"00000000.{name}", data)


def meta(**changed: object) -> Harm:
    def change(clips: Path) -> None:
        with tarfile.open(clips / SHARD) as whole:
            content = json.loads(whole.extractfile("00000000.meta.json").read())
        member("meta.json", json.dumps({**content, **changed}).encode())(clips)

    return change


KEY = "00000000"
DAMAGED = f"{KEY}.labels.npz is damaged: "
HEADERS = {
    "a way out of the folder": header("../../evil.txt", 4) + b"evil" + bytes(508),
    "an absolute name": header("/etc/cron.d/evil", 4) + b"evil" + bytes(508),
    "a symbolic link": header(f"{KEY}.meta.json", kind=tarfile.SYMTYPE, link="/etc/passwd"),
    "a hard link": header(f"{KEY}.meta.json", kind=tarfile.LNKTYPE, link="/etc/passwd"),
    "a device": header(f"{KEY}.meta.json", kind=tarfile.CHRTYPE),
    "a pipe": header(f"{KEY}.meta.json", kind=tarfile.FIFOTYPE),
    "a folder": header(f"{KEY}.meta.json", kind=tarfile.DIRTYPE),
    "a member of eight gigabytes": header(f"{KEY}.meta.json", 8 * 2**30 - 1),
    "a member of exabytes": header(f"{KEY}.meta.json", 2**60),
    "a long name of eight gigabytes": header("././@LongLink", 8 * 2**30 - 1, kind=b"L"),
    "a header for headers": header("pax", 8 * 2**30 - 1, kind=b"x"),
    "a global header": header("pax", 512, kind=b"g") + b"30 path=../../etc/passwd\n".ljust(512, b"\0"),
    "a file with holes": header(f"{KEY}.meta.json", 8, kind=b"S"),
    "a thousand headers for headers": header("pax", 0, kind=b"x") * 1000,
}
ARCHIVES: dict[str, Row] = {
    **{f"first {name}": archive(first(data), r"train-000000\.tar: member .*(plain file|claims|no member of a sequence)") for name, data in HEADERS.items()},
    **{f"last {name}": archive(last(data), r"train-000000\.tar: (member .*(plain file|claims|no member of a sequence)|damaged|cut off)") for name, data in HEADERS.items()},
    "a shard of text": archive(lambda clips: put(clips, SHARD, "no tar" * 1000), r"train-000000\.tar: not a tar file"),
    "an empty shard": archive(lambda clips: put(clips, SHARD, b""), r"train-000000\.tar"),
    "a compressed shard": archive(lambda clips: put(clips, SHARD, b"\x1f\x8b\x08" + bytes(2000)), r"train-000000\.tar: not a tar file"),
    "a shard that is a folder": archive(lambda clips: [(clips / SHARD).unlink(), put(clips, SHARD + "/x", "")], r"train-000000\.tar"),
    "labels: text": archive(member("labels.npz", b"no archive"), DAMAGED),
    "labels: a zip bomb": archive(member("labels.npz", zipped({"joints_m.npy": bomb_npy(30 * 2**20, (3, 2**20, 10))})), DAMAGED + "it unpacks to"),
    "labels: a giant shape": archive(member("labels.npz", zipped({"joints_m.npy": lying_npy((10**12, 21, 3))})), DAMAGED + "its header says .*joints_m"),
    "labels: objects": archive(member("labels.npz", zipped({"joints_m.npy": npy(np.array([{}], object), objects=True)})), DAMAGED + "Object arrays"),
    "labels: an unknown array": archive(member("labels.npz", zipped({"evil.npy": npy(np.zeros(3))})), DAMAGED + "unknown array evil"),
    "labels: an array too few": archive(member("labels.npz", zipped({})), DAMAGED + ".*missing"),
    "flow: a giant shape": archive(member("000.flow.npy", lying_npy((10**9, 10**9, 2), "<f4")), f"{KEY}.000.flow.npy is damaged: its header says"),
    "flow: objects": archive(member("000.flow.npy", npy(np.array([{}], object), objects=True)), f"{KEY}.000.flow.npy is damaged: Object arrays"),
    "flow: nothing": archive(member("000.flow.npy", b""), f"{KEY}.000.flow.npy is damaged"),
    "depth: a bomb": archive(member("001.depth.png", png(50_000, 50_000, pixels=b"", depth=16, colours=0)), f"{KEY}.001.depth.png is damaged: its header says"),
    "depth: a picture of another size": archive(member("001.depth.png", png(8000, 8000, pixels=b"", depth=16, colours=0)), "its header says 8000 x 8000 pixels, expected 32 x 24"),
    "depth: a program in PostScript": archive(member("001.depth.png", BAD_PICTURES["a program in PostScript"][0]), f"{KEY}.001.depth.png is damaged"),
    "rgb: a JPEG that lies": archive(member("002.rgb.jpg", lying_jpeg(60_000, 60_000)), f"{KEY}.002.rgb.jpg is damaged: its header says"),
    "parts: colours": archive(member("002.parts.png", picture("PNG", (32, 24))), f"{KEY}.002.parts.png is damaged: it is uint8 of shape"),
    "meta: no JSON": archive(member("meta.json", b"{"), f"{KEY}.meta.json is damaged"),
    "meta: lists within lists": archive(member("meta.json", b"[" * 100_000), f"{KEY}.meta.json is damaged"),
    "meta: a million millions of frames": archive(meta(frames=10**12), f"{KEY}.meta.json says 1000000000000 frames"),
    "meta: fewer than no frames": archive(meta(frames=-1), f"{KEY}.meta.json is damaged: .*frames"),
    "meta: no frames a second": archive(meta(fps=float("nan")), f"{KEY}.meta.json is damaged: meta.fps"),
    "meta: an unknown key": archive(meta(evil=1), f"{KEY}.meta.json is damaged: .*evil"),
    "meta: of another sequence": archive(meta(key="00000001", index=1), f"{KEY}.meta.json is that of sequence 00000001"),
    "index: text": archive(lambda clips: put(clips, "index.parquet", "no table"), "index.parquet is damaged"),
    "index: cut short": archive(lambda clips: put(clips, "index.parquet", (clips / "index.parquet").read_bytes()[:-100]), "index.parquet is damaged"),
    "manifest: lists within lists": archive(lambda clips: put(clips, "dataset.json", "[" * 100_000), "dataset.json is damaged"),
    "manifest: a list": archive(lambda clips: put(clips, "dataset.json", "[1]"), "dataset.json was not written by seqgen"),
    "manifest: a shard elsewhere": archive(
        lambda clips: edited(clips / "dataset.json", lambda content: content["shards"][0].update(name="../../x.tar")), "dataset.json names a shard"
    ),
    "evaluated: a bomb among the colours": evaluated(member("000.rgb.jpg", png(50_000, 50_000, pixels=b"")), f"{SHARD}: {KEY}.000.rgb.jpg is damaged"),
    "evaluated: labels that are a zip bomb": evaluated(
        member("labels.npz", zipped({"joints_m.npy": bomb_npy(30 * 2**20, (3, 2**20, 10))})), f"{SHARD}: {KEY}.labels.npz is damaged: it unpacks to"
    ),
    "evaluated: a link among the members": evaluated(first(HEADERS["a symbolic link"]), "no plain file"),
}


# --- checkpoints and weights ---


def checkpoint(change: Harm, said: str) -> Row:
    return injured("seqhand", change, lambda given, sound: ["evaluate", given, sound / "clips", "--split", "train"], said)


def record(change: Callable[[dict], object]) -> Harm:
    return lambda given: edited(given / RECORD_NAME, change)


def weights(content: bytes) -> Harm:
    """Other weights, with their hash made anew."""

    def change(given: Path) -> None:
        put(given, WEIGHTS_NAME, content)
        record(lambda known: known["weights"].update(sha256=file_digest(given / WEIGHTS_NAME)))(given)

    return change


def not_finite(given: Path) -> None:
    tensors = load_file(given / WEIGHTS_NAME)
    name = sorted(name for name, tensor in tensors.items() if tensor.is_floating_point())[0]
    tensors[name][...] = torch.nan
    save_file(tensors, given / WEIGHTS_NAME)
    record(lambda known: known["weights"].update(sha256=file_digest(given / WEIGHTS_NAME)))(given)


def backbone(name: str, content: Callable[[Path], bytes], said: str) -> Row:
    """A file given to `finetune` as a checkpoint's folder would be, and to `evaluate` in place of the weights."""

    def made(sound: Path, folder: Path) -> Made:
        path = put(folder, name, content(folder))
        return ["evaluate", path, sound / "clips"]

    return made, said


TENSOR = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}
CHECKPOINTS: dict[str, Row] = {
    "record: lists within lists": checkpoint(lambda given: put(given, RECORD_NAME, "[" * 100_000), "estimator.json is damaged"),
    "record: binary": checkpoint(lambda given: put(given, RECORD_NAME, bytes(range(256))), "estimator.json is damaged"),
    "record: a number of five thousand digits": checkpoint(lambda given: put(given, RECORD_NAME, '{"version": ' + "9" * 5000 + "}"), "estimator.json is damaged"),
    "record: a list": checkpoint(lambda given: put(given, RECORD_NAME, "[1]"), "not a checkpoint of seqgen"),
    "record: a class to call": checkpoint(record(lambda known: known.update(estimator="os.system")), "os.system.* does not have"),
    "record: a name that is a list": checkpoint(record(lambda known: known.update(estimator=["seqhand"])), "does not have"),
    "record: a network of any width": checkpoint(record(lambda known: known["config"].update(width=1e9)), r"config: width = 1000000000\.0"),
    "record: no name of a network": checkpoint(record(lambda known: known.pop("estimator")), "network None"),
    "record: no width": checkpoint(record(lambda known: known["config"].update(width="wide")), "config: width"),
    "record: pictures of any size": checkpoint(record(lambda known: known["input"].update(size=10**9)), "estimator.json: size = 1000000000"),
    "record: an unknown key of the input": checkpoint(record(lambda known: known["input"].update(evil=1)), "estimator.json: unknown key evil"),
    "record: a folder": checkpoint(lambda given: [(given / RECORD_NAME).unlink(), put(given, f"{RECORD_NAME}/x", "")], "estimator.json"),
    "weights: changed": checkpoint(lambda given: put(given, WEIGHTS_NAME, (given / WEIGHTS_NAME).read_bytes()[:-4] + b"\0\0\0\1"), "sha256 differs"),
    "weights: a pickle": checkpoint(lambda given: weights(pickled({"a": Touch(harm(given.parent))}))(given), "weights.safetensors is missing or damaged"),
    "weights: a header of exabytes": checkpoint(weights(struct.pack("<Q", 2**60)), "weights.safetensors is missing or damaged"),
    "weights: none": checkpoint(weights(safetensors({})), "does not fit this network: .* is absent there"),
    "weights: of another network": checkpoint(weights(safetensors({"evil": TENSOR}, bytes(4))), "does not fit this network"),
    "weights: a shape that is not its bytes": checkpoint(weights(safetensors({"evil": {**TENSOR, "shape": [2**40]}}, bytes(4))), "weights.safetensors is missing or damaged"),
    "weights: no numbers": checkpoint(not_finite, "holds a number that is not finite"),
    "weights: a folder": checkpoint(lambda given: [(given / WEIGHTS_NAME).unlink(), put(given, f"{WEIGHTS_NAME}/x", "")], "weights.safetensors is missing or damaged"),
    "a file for a folder": backbone("last.pth", lambda folder: pickled(Touch(harm(folder))), "no checkpoint"),
    "finetune: a record of text": injured(
        "seqhand", lambda given: put(given, RECORD_NAME, "text"), lambda given, sound: ["finetune", "--from", given, "--data", sound / "clips"], "estimator.json is damaged"
    ),
    "finetune: another network's name": injured(
        "seqhand", record(lambda known: known.update(estimator="vgg")), lambda given, sound: ["finetune", "--from", given, "--data", sound / "clips"], "vgg.* does not have"
    ),
}


# --- what is predicted and evaluated ---


def labels(change: Callable[[dict], object] | str | bytes, said: str) -> Row:
    def harmed(folder: Path) -> None:
        edited(folder / "labels.json", change) if callable(change) else put(folder, "labels.json", change)

    return injured("labelled", harmed, lambda folder, sound: ["evaluate", sound / "seqhand", folder], rf"labels\.json: .*{said}")


def picture_of_label(content: bytes, said: str) -> Row:
    return injured("labelled", lambda folder: put(folder, "0.png", content), lambda folder, sound: ["evaluate", sound / "seqhand", folder], rf"0\.png: .*{said}")


def predicted(name: str, content: bytes, said: str) -> Row:
    return lambda sound, folder: ["predict", sound / "seqhand", put(folder, f"in/{name}", content).parent, "--no-overlays"], said


def cloud(name: str, content: bytes, said: str) -> Row:
    return lambda sound, folder: ["predict", sound / "srn", put(folder, f"in/{name}", content), *CAMERA], said


LABELS: dict[str, Row] = {
    "labels: lists within lists": labels("[" * 100_000, "is no JSON"),
    "labels: a number of five thousand digits": labels('{"a": ' + "9" * 5000 + "}", "is no JSON"),
    "labels: binary": labels(bytes(range(256)), "is no JSON"),
    "labels: a picture outside": labels(lambda table: table.update({"../../x.png": table["0.png"]}), "outside of the folder"),
    "labels: an absolute picture": labels(lambda table: table.update({"/dev/zero": table["0.png"]}), "outside of the folder"),
    "labels: a mask outside": labels(lambda table: table["0.png"].update(mask="../x.png"), "0.png: mask: .*outside of the folder"),
    "labels: beyond all numbers": labels(lambda table: table["0.png"]["joints_m"].__setitem__(3, [10**400, 0, 0]), "0.png: joints_m: expected numbers"),
    "labels: beyond all sense": labels(lambda table: table["0.png"]["joints_m"].__setitem__(3, [1e30, 0, 1]), "0.png: joints_m: .*not finite"),
    "labels: text for a joint": labels(lambda table: table["0.png"]["joints_px"].__setitem__(3, "here"), "0.png: joints_px: expected numbers"),
    "labels: frames a second of no kind": labels(lambda table: table.update(fps="30"), "fps is '30'"),
    "labels: a clip of nothing": labels(lambda table: table.update(clips={"a": []}), "clip a is no list"),
    "labels: a folder": injured(
        "labelled",
        lambda folder: [(folder / "labels.json").unlink(), put(folder, "labels.json/x", "")],
        lambda folder, sound: ["evaluate", sound / "seqhand", folder],
        "labelled: ",
    ),
    "a labelled picture: text": picture_of_label(b"no picture", "cannot be decoded"),
    "a labelled picture: a bomb": picture_of_label(png(50_000, 50_000, pixels=b""), "pixels"),
    **{f"predicted: {name}": predicted("a.png", data, rf"a\.png: cannot be decoded .*({said})") for name, (data, said) in BAD_PICTURES.items()},
    "predicted: no video": (lambda sound, folder: ["predict", sound / "seqhand", put(folder, "in.mp4", "no video")], r"in\.mp4: cannot be decoded as a video"),
    "predicted: a playlist": (
        lambda sound, folder: ["predict", sound / "seqhand", put(folder, "in.mp4", "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nhttp://127.0.0.1:1/a.ts\n#EXT-X-ENDLIST\n")],
        r"in\.mp4: (cannot be decoded as a video|has no)",
    ),
}
ROWS = ARCHIVES | CHECKPOINTS | LABELS


@pytest.mark.parametrize("name", ROWS)
def test_a_malformed_input_is_one_line(name: str, sound: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> None:
    make, pattern = ROWS[name]
    (tmp_path / "given").mkdir()
    check_refused(make(sound, tmp_path / "given"), pattern, tmp_path / "out", capsys, caplog)
    assert not harm(tmp_path / "given").exists()


CLOUDS = {
    "npy: a giant shape": ("a.npy", lying_npy((10**12, 3)), "its header says"),
    "npy: objects": ("a.npy", npy(np.array([{}], object), objects=True), "Object arrays"),
    "npy: text": ("a.npy", b"no array", "no header of an array"),
    "ply: text": ("a.ply", b"no cloud", "header claims"),
    "ply: a million millions of points": ("a.ply", b"ply\nformat ascii 1.0\nelement vertex 1000000000000\nproperty float x\nend_header\n", "header claims 1000000000000 points"),
    "png: a bomb": ("a.png", png(50_000, 50_000, pixels=b"", depth=16, colours=0), "pixels"),
    "png: a program in PostScript": ("a.png", BAD_PICTURES["a program in PostScript"][0], "cannot be decoded"),
}


@pytest.mark.parametrize("name", CLOUDS)
def test_depth_that_cannot_be_used_is_said_in_a_line(name: str, sound: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of a frame of depth one line says why it is skipped; when there is no other, the last one says so again and the exit code is 2."""
    file, content, said = CLOUDS[name]
    assert call("predict", sound / "srn", put(tmp_path, file, content), *CAMERA, "--out", tmp_path / "out") == 2
    skipped, line = capsys.readouterr().err.splitlines()
    assert skipped.startswith(f"{file}: skipped: ") and said in skipped and line.startswith("seqgen: ") and said in line


def test_the_same_inputs_unharmed_are_taken(sound: Path, tmp_path: Path) -> None:
    assert call("preview", sound / "clips", "--sequences", "0", "--out", tmp_path / "preview") == 0
    assert call("evaluate", sound / "seqhand", sound / "clips", "--split", "train", "--out", tmp_path / "report") == 0
    assert call("evaluate", sound / "seqhand", sound / "labelled", "--out", tmp_path / "of labels") == 0
    put(tmp_path, "in/a.jpg", picture())
    assert call("predict", sound / "seqhand", tmp_path / "in", "--no-overlays", "--out", tmp_path / "predicted") == 0


def zip_of_weights(name: str, data: bytes) -> bytes:
    """As torch writes its checkpoints, but packed."""
    return zipped({f"a/{name}": data, "a/version": b"3\n"})


WEIGHTS = {
    "a pickle": (lambda folder: pickled({"conv1.weight": Touch(harm(folder))}), "holds more than tensors; nothing was run"),
    "an old pickle": (lambda folder: pickle.dumps({"conv1.weight": Touch(harm(folder))}, 2), "which is no tensor; nothing was run"),
    "a checkpoint with code": (lambda folder: torch_bytes({"conv1.weight": Touch(harm(folder))}), "which is no tensor; nothing was run"),
    "a whole network": (lambda folder: torch_bytes(torch.nn.Linear(2, 2)), "which is no tensor; nothing was run"),
    "a zip bomb": (lambda folder: zip_of_weights("data/0", bytes(2**24)), "unpack to"),
    "numbers": (lambda folder: torch_bytes({"a": 1}), "not a plain table of tensors"),
    "a list": (lambda folder: torch_bytes([torch.zeros(1)]), "not a plain table of tensors"),
    "numbers for names": (lambda folder: torch_bytes({1: torch.zeros(1)}), "not a plain table of tensors"),
    "text": (lambda folder: b"no weights", "not a file of weights"),
    "nothing": (lambda folder: b"", "not a file of weights"),
}


def torch_bytes(value: object) -> bytes:
    stream = io.BytesIO()
    torch.save(value, stream)
    return stream.getvalue()


@pytest.mark.parametrize("name", WEIGHTS)
def test_weights_for_a_backbone(name: str, sound: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is left of the run but the note whose folder it is, which gives way to the next."""
    content, said = WEIGHTS[name]
    path = put(tmp_path, "w.pth", content(tmp_path))
    few = "--data.reading.frames 3 --data.reading.batch 2 --data.reading.readers 0 --input.size 48 --model.width 0.125 --run.threads 1 --data.validation-clips 0".split()
    assert call("train", "seqhand_small", "--data", sound / "clips", "--backbone-weights", path, *few, "--out", tmp_path / "out") == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("seqgen: ") and "w.pth: " in line and said in line
    assert not harm(tmp_path).exists() and not (tmp_path / "out").exists()
