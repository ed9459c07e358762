"""What no hash tells: content injured and all hashes made anew is found by `verify --deep`, with shard and key; what is found is mended, to the byte."""

import hashlib
import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from injuries import INJURIES
from runs import content, small_config

from seqgen.cli import run
from seqgen.dataset.encoding import decode_sequence, encode_sequence
from seqgen.dataset.index import index_row, read_index, read_origin
from seqgen.dataset.index_writer import write_index
from seqgen.dataset.manifest import MANIFEST_NAME, with_checksum
from seqgen.dataset.shards import read_members, sample_bytes, shard_spans
from seqgen.dataset.verify import Fault, verify_dataset
from seqgen.errors import UserError
from seqgen.files import file_digest
from seqgen.pipeline import generate
from seqgen.pipeline.assets import gather_assets
from seqgen.pipeline.deep import origin
from seqgen.pipeline.deep.again import remake
from seqgen.pipeline.deep.origin import reopen
from seqgen.pipeline.deep.verify import drawn_ids, repair, verify_deeply
from seqgen.pipeline.generate import open_sources
from seqgen.pipeline.run import generate_dataset

KEY, SHARD = "00000004", "train-000001.tar"
Members = dict[str, bytes]
EVERYTHING = {"optical_flow": True, "normals": True, "mask_amodal": True, "mask_visible": True}
CONFIG = small_config(clip={"frames": 5, "size": (128, 112)}, labels=EVERYTHING, sensor={"depth": "sr300"}, occluder={"share": 0.0}, flow={"median_step_mm": 3.0})
CONTENT = (
    *("a joint 1 mm aside", "a joint half a pixel aside", "joints of neighbouring frames swapped", "a visible flag flipped", "a finger bent by a hundredth"),
    *("translation 1 mm aside", "intrinsics scaled", "another world", "all labels of two frames swapped", "the other side", "the whole clip in a mirror"),
    *("depth of neighbouring frames swapped", "depth in millimetres", "depth in metres", "depth 1 mm deeper over the hand", "all pictures in a mirror"),
    *("parts in canonical order", "hand as arm", "masks exchanged", "normals inwards", "optical flow longer", "sensor depth in millimetres", "speed"),
)


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("sound") / "set"
    generate_dataset(CONFIG, directory)
    return directory


@pytest.fixture
def copy(sound: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sound, tmp_path / "set"))


def check(directory: Path) -> list[Fault]:
    return verify_deeply(directory, percent=0.0, rng=np.random.default_rng(0), say=lambda text: None, report=lambda done, total: None)


class Everything:
    def __contains__(self, name: str) -> bool:
        return True


def shards_of(directory: Path) -> dict[str, str]:
    return {row.key: row.shard for row in read_index(directory)}


def members_of(directory: Path, key: str) -> Members:
    path = directory / "shards" / shards_of(directory)[key]
    return read_members(path, shard_spans(path)[key], Everything())


def inject(directory: Path, injured: dict[str, Members]) -> None:
    """Puts other members under these keys and makes all hashes anew, as somebody would who means it."""
    rows = {row.key: row for row in read_index(directory)}
    told = json.loads((directory / MANIFEST_NAME).read_text())
    del told["checksum"]
    for record in told["shards"]:
        path = directory / "shards" / record["name"]
        samples = {key: sample_bytes(key, (injured.get(key) or members_of(directory, key)).items()) for key in shard_spans(path)}
        data = b"".join(samples.values())
        path.write_bytes(data + bytes(-(-(len(data) + 1024) // 10240) * 10240 - len(data)))
        record |= {"bytes": path.stat().st_size, "sha256": file_digest(path)}
        for key in samples.keys() & injured.keys():
            rows[key] = index_row(json.loads(injured[key]["meta.json"]), record["name"], hashlib.sha256(samples[key]).hexdigest())
    told["index"] = asdict(write_index(directory, rows.values(), read_origin(directory)))
    (directory / MANIFEST_NAME).write_text(with_checksum(told))


def after(name: str, members: Members, key: str) -> Members:
    """A clip's members after an injury; colours keep their bytes."""
    clip = INJURIES[name].inflict(decode_sequence(key, members))
    return {**dict(encode_sequence(clip, jpeg_quality=95)), **{name: data for name, data in members.items() if name.endswith("rgb.jpg")}}


def swap(members: Members, first: str, second: str) -> Members:
    return {**members, first: members[second], second: members[first]}


def test_a_sound_data_set_has_no_faults(sound: Path) -> None:
    assert check(sound) == []


def test_hashes_made_anew_hide_what_nothing_is_wrong_with(copy: Path, sound: Path) -> None:
    inject(copy, {KEY: members_of(sound, KEY)})
    assert content(copy) == content(sound)


@pytest.mark.parametrize("names", [CONTENT[::3], *(pytest.param(CONTENT[start::3], marks=pytest.mark.slow) for start in (1, 2))], ids=lambda names: names[0])
def test_injuries_of_content_are_found_and_mended(names: tuple[str, ...], copy: Path, sound: Path) -> None:
    """One in each of eight clips."""
    shards = shards_of(sound)
    injured = dict(zip(shards, names, strict=False))
    inject(copy, {key: after(name, members_of(sound, key), key) for key, name in injured.items()})
    faults = check(copy)
    for key, name in injured.items():
        assert any((fault.file, fault.key) == (shards[key], key) and INJURIES[name].named in fault.what for fault in faults), (name, faults)
    assert {fault.key for fault in faults} <= {*injured, None}
    assert_mended(copy, sound, faults)


def test_colours_and_exchanged_clips_are_found_and_mended(copy: Path, sound: Path) -> None:
    """Two frames swapped, and a frame of another clip, found by making them again: files and hashes in order, labels true. And one clip's members under another's key."""
    first, second, third, fourth = (members_of(sound, f"{n:08d}") for n in range(4))
    swapped, foreign = swap(first, "000.rgb.jpg", "001.rgb.jpg"), {**second, "002.rgb.jpg": fourth["002.rgb.jpg"]}
    inject(copy, {"00000000": swapped, "00000001": foreign})
    assert verify_dataset(copy) == []
    inject(copy, {"00000000": swapped, "00000001": foreign, "00000002": {**fourth, "meta.json": third["meta.json"]}})
    faults = check(copy)
    assert {fault.key for fault in faults} == {"00000000", "00000001", "00000002"}
    assert [fault.what for fault in faults if fault.key != "00000002"] == [f"made again it differs in {name}" for name in ("000.rgb.jpg, 001.rgb.jpg", "002.rgb.jpg")]
    assert_mended(copy, sound, faults)


def assert_mended(copy: Path, sound: Path, faults: list[Fault]) -> None:
    said: list[str] = []
    repair(copy, faults, workers=0, say=said.append)
    assert content(copy) == content(sound) and check(copy) == []
    told, before = (json.loads((place / MANIFEST_NAME).read_text()) for place in (copy, sound))
    assert {name for name in told if told[name] != before[name]} <= {"run", "checksum"}


def test_exactly_the_bad_shards_are_made_again(copy: Path, sound: Path) -> None:
    path = copy / "shards" / SHARD
    path.write_bytes(path.read_bytes()[:-2000])
    (copy / "shards" / "val-000000.tar").unlink()
    before = {other.name: other.stat().st_mtime_ns for other in (copy / "shards").iterdir() if other != path}
    said: list[str] = []
    repair(copy, verify_dataset(copy), workers=0, say=said.append)
    assert f"making again: {SHARD}, val-000000.tar" in said
    assert content(copy) == content(sound)
    assert before.items() <= {other.name: other.stat().st_mtime_ns for other in (copy / "shards").iterdir()}.items()


def test_strangers_are_set_aside_and_copies_removed(copy: Path, sound: Path) -> None:
    shards = copy / "shards"
    shutil.copy(shards / SHARD, shards / "train-000007.tar")
    (shards / "train-000000.tar").rename(shards / "first.tar")
    (shards / "notes.txt").write_text("mine")
    (shards / ".train-000001.tar.partial-1-2").write_text("half")
    (copy / ".set-aside").mkdir()
    (copy / ".set-aside" / "notes.txt").write_text("set aside before")
    repair(copy, verify_dataset(copy), workers=0, say=lambda text: None)
    assert content(copy) == content(sound) and check(copy) == []
    assert sorted(path.name for path in (copy / ".set-aside").iterdir()) == ["first.tar", "notes.txt", "notes.txt.1"]
    assert (copy / ".set-aside" / "notes.txt").read_text() == "set aside before"


@pytest.mark.parametrize("lost", ["dataset.json", "index.parquet"])
@pytest.mark.parametrize("how", ["lost", "cut", "flipped"])
def test_the_papers_are_made_again(lost: str, how: str, copy: Path, sound: Path) -> None:
    path = copy / lost
    data = path.read_bytes()
    path.unlink()
    if how != "lost":
        path.write_bytes(data[: len(data) // 2] if how == "cut" else data[:100] + bytes([data[100] ^ 1]) + data[101:])
    faults = verify_dataset(copy)
    assert lost in {fault.file for fault in faults}
    repair(copy, faults, workers=0, say=lambda text: None)
    assert content(copy) == content(sound) and verify_dataset(copy) == []


def test_a_repair_that_is_killed_goes_on(copy: Path, sound: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from seqgen.pipeline.deep import verify

    (copy / "shards" / SHARD).unlink()
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(verify, "generate_dataset", interrupted)
        repair(copy, verify_dataset(copy), workers=0, say=lambda text: None)
    repair(copy, verify_dataset(copy), workers=0, say=lambda text: None)
    assert content(copy) == content(sound)


def interrupted(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


def test_one_clip_is_made_again_bit_for_bit(sound: Path) -> None:
    reopened = reopen(sound, lambda text: None)
    assert reopened.differences == ()
    sources = open_sources(reopened.assets, reopened.config)
    for row in read_index(sound):
        remade = remake(row.id, sources, reopened.config)
        assert remade.members == members_of(sound, row.key) and remade.sha256 == row.sha256


def test_another_platform_is_named_and_its_bytes_count_for_nothing(copy: Path) -> None:
    told = json.loads((copy / MANIFEST_NAME).read_text())
    del told["checksum"]
    told["run"]["earlier"] = [{**told["run"], "versions": {**told["run"]["versions"], "torch": "1.0"}}]  # of one of the machines that made it
    (copy / MANIFEST_NAME).write_text(with_checksum(told))
    inject(copy, {KEY: swap(members_of(copy, KEY), "000.rgb.jpg", "001.rgb.jpg")})
    said: list[str] = []
    assert verify_deeply(copy, percent=0.0, rng=np.random.default_rng(0), say=said.append, report=lambda done, total: None) == []
    assert any("1 of 10 came out with other bytes" in text and "torch 1.0 there" in text for text in said)


@pytest.fixture
def from_a_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data set of a config with device = cuda, which says that a GPU drew it, on a machine without one."""

    def no_cuda(device: str) -> None:
        if device != "cpu":
            raise UserError(f"device {device}: not found")

    monkeypatch.setattr(origin, "check_device", no_cuda)
    tiny = {"sequences": 4, "clip": {"frames": 2, "size": (48, 40)}, "split": {"train": 2, "val": 1, "test": 1}}
    generate_dataset(small_config(**tiny), tmp_path / "set", content=small_config(**tiny, device="cuda").content())
    told = json.loads((tmp_path / "set" / MANIFEST_NAME).read_text())
    del told["checksum"]
    told["run"]["machine"]["device"] = "cuda"
    (tmp_path / "set" / MANIFEST_NAME).write_text(with_checksum(told))
    return tmp_path / "set"


def test_what_a_gpu_made_is_checked_and_mended_without_one(from_a_gpu: Path) -> None:
    before, identity, said = content(from_a_gpu), read_origin(from_a_gpu), list[str]()
    assert identity["config"]["device"] == "cuda" and reopen(from_a_gpu, said.append).differences == ("render device cuda there, cpu here",)
    assert check(from_a_gpu) == [] and any("made with device = cuda, done on the CPU here" in text for text in said)
    (from_a_gpu / "shards" / "val-000000.tar").unlink()
    repair(from_a_gpu, verify_dataset(from_a_gpu), workers=0, say=said.append)
    assert content(from_a_gpu) == before and read_origin(from_a_gpu) == identity and verify_dataset(from_a_gpu) == []
    assert json.loads((from_a_gpu / MANIFEST_NAME).read_text())["run"]["machine"]["device"] == "cpu"


def test_one_clip_of_what_a_gpu_made_is_made_again_without_one(from_a_gpu: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["generate", str(from_a_gpu), "--sequence", "1", "--out", str(tmp_path / "clip")]) == 0
    assert "made on another platform: render device cuda there, cpu here" in capsys.readouterr().out


def test_a_device_that_is_not_there_is_told_before_anything_goes_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    config, moved = small_config(), []

    def no_cuda(*_: object, **__: object) -> None:
        raise UserError("device cuda: not found")

    monkeypatch.setattr(generate, "load_renderer", no_cuda)
    monkeypatch.setattr(generate, "encoder_of", lambda *_: moved.append("encoder"))
    with pytest.raises(UserError, match="device cuda: not found"):
        open_sources(gather_assets(config), config.model_copy(update={"device": "cuda"}))
    monkeypatch.setattr(generate, "load_renderer", lambda *_, **__: None)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(UserError, match="device cuda: Warp finds it, torch does not"):
        open_sources(gather_assets(config), config.model_copy(update={"device": "cuda"}))
    assert not moved


def test_other_assets_are_named(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gathered = origin.gather_assets

    def others(config, say):
        assets = gathered(config, say)
        return replace(assets, encoder={name: array + 1 for name, array in assets.encoder.items()}, digests={**assets.digests, "encoder": "of another"})

    monkeypatch.setattr(origin, "gather_assets", others)
    with pytest.raises(UserError, match=r"dataset\.json: made from other assets than those here \(encoder.*\); the same bytes need the same again"):
        reopen(copy, lambda text: None)


@pytest.mark.parametrize(("sequences", "percent", "count"), [(10, 1.0, 10), (10_000, 1.0, 100), (50_000, 1.0, 500), (1000, 100.0, 1000)])
def test_a_percent_but_a_hundred_at_least(sequences: int, percent: float, count: int) -> None:
    ids = drawn_ids(sequences, percent, np.random.default_rng(0))
    assert len(set(ids)) == len(ids) == count and ids == sorted(ids)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(60))
def test_damage_anywhere_is_mended(seed: int, copy: Path, sound: Path) -> None:
    """A byte flipped, a file cut off, lost, or exchanged with another one."""
    rng = np.random.default_rng(seed)
    shards = sorted((copy / "shards").iterdir())
    files = [*shards, copy / "index.parquet", copy / MANIFEST_NAME]
    path = files[seed % len(files)]
    data, place = bytearray(path.read_bytes()), int(rng.integers(path.stat().st_size))
    data[place] ^= 1 << int(rng.integers(8))
    manner = ("flipped", "cut", "lost", "exchanged")[int(rng.integers(4))]
    if manner == "lost":
        path.unlink()
    elif manner == "exchanged" and path in shards:
        other = shards[(seed + 1) % len(shards)] if shards[(seed + 1) % len(shards)] != path else shards[0]
        path.write_bytes(other.read_bytes())
    else:
        path.write_bytes(data[:place] if manner == "cut" else data)
    faults = verify_dataset(copy)
    assert path.name in {fault.file for fault in faults}
    repair(copy, faults, workers=0, say=lambda text: None)
    assert content(copy) == content(sound) and verify_dataset(copy) == []
