"""Whose a folder is and how far: claimed, continued, grown, refused; records of durable shards; two runs at once."""

import errno
import os
from pathlib import Path

import pytest
from sequences import CONFIG, ORIGIN, write_data_set, write_rows

from seqgen.dataset import hold
from seqgen.dataset.claim import Origin, claim_folder, identity_of, read_claim, sweep
from seqgen.dataset.hold import claim_alone, claim_together, hold_folder
from seqgen.dataset.progress import finished_shards, record_shard, recorded_shards
from seqgen.dataset.shards import ShardRecord, shard_name
from seqgen.errors import UserError
from seqgen.places import place_of

OTHER = Origin({"seed": 8, "sequences": 9, "clip": {"frames": 3, "size": (32, 24)}}, "of some assets")


def finished(directory: Path, planned: dict[str, range]) -> list[ShardRecord]:
    return list(finished_shards(directory, planned.get, ORIGIN.identity))


def test_claim_and_resume(tmp_path: Path) -> None:
    directory, name = tmp_path / "set", "train-000000.tar"
    assert claim_folder(directory, ORIGIN) == "new"
    assert claim_folder(directory, ORIGIN) == "unfinished"
    record, rows = write_rows(directory, name, range(3))
    record_shard(directory, record, rows, ORIGIN.identity)
    planned = {name: range(3), "train-000001.tar": range(3, 6)}.get
    assert list(finished_shards(directory, planned, ORIGIN.identity)) == [record]
    assert [found.rows for found in recorded_shards(directory, planned, ORIGIN.identity)] == [rows]
    assert not finished(directory, {name: range(4)})

    content = (directory / "shards" / name).read_bytes()
    for damaged in (content[:-1], content[:600] + b"x" + content[601:]):
        (directory / "shards" / name).write_bytes(damaged)
        assert not finished(directory, {name: range(3)})
    (directory / "shards" / name).unlink()
    assert not finished(directory, {name: range(3)})
    (directory / ".progress" / f"{name}.json").write_text("{")
    assert not finished(directory, {name: range(3)})


def test_continuing_keeps_recorded_shards_and_sweeps_the_others(tmp_path: Path) -> None:
    claim_folder(tmp_path, ORIGIN)
    for number in range(2):
        record, rows = write_rows(tmp_path, shard_name("train", number), [number])
        if number == 0:
            record_shard(tmp_path, record, rows, ORIGIN.identity)
    assert claim_folder(tmp_path, ORIGIN) == "unfinished"
    sweep(tmp_path)
    assert [path.name for path in (tmp_path / "shards").iterdir()] == ["train-000000.tar"]


def test_a_finished_data_set_is_left_alone_and_another_config_refused(tmp_path: Path) -> None:
    write_data_set(tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    assert claim_folder(tmp_path, ORIGIN) == "finished"
    with pytest.raises(UserError, match=r"\(seed is 7 there, 8 here\); .*--overwrite"):
        claim_folder(tmp_path, OTHER)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before

    (tmp_path / "notes.txt").write_text("mine")
    assert claim_folder(tmp_path, OTHER, overwrite=True) == "new"
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()) == [".progress/config.json", "notes.txt"]
    with pytest.raises(UserError, match="seed is 8 there, 7 here"):
        claim_folder(tmp_path, ORIGIN)


def test_a_folder_that_is_not_there_is_nobodys(tmp_path: Path) -> None:
    for missing in (tmp_path / "nowhere", place_of("memory://nowhere/at/all")):
        assert identity_of(missing) is None is identity_of(missing, at_work=True)
        with pytest.raises(UserError, match=r"nowhere.*: nothing is there, and no data set$"):
            read_claim(missing)


def test_whoever_asks_first_a_finished_and_an_unfinished_one_say_whose_they_are(tmp_path: Path) -> None:
    claim_folder(tmp_path / "unfinished", ORIGIN)
    write_data_set(tmp_path / "finished")
    assert [identity_of(tmp_path / name, at_work=at_work) for name in ("unfinished", "finished") for at_work in (True, False)] == [ORIGIN.identity] * 4


def test_other_assets_make_another_data_set(tmp_path: Path) -> None:
    write_data_set(tmp_path)
    with pytest.raises(UserError, match="made with another version or other files"):
        claim_folder(tmp_path, Origin(CONFIG, "of other assets"))


def test_overwriting_takes_the_previews_along(tmp_path: Path) -> None:
    write_data_set(tmp_path)
    for name in ("preview.png", "preview.gif", "mine.png"):
        (tmp_path / name).write_bytes(b"of the old data set")
    assert claim_folder(tmp_path, OTHER, overwrite=True) == "new"
    assert sorted(path.name for path in tmp_path.iterdir()) == [".progress", "mine.png", "shards"]


@pytest.mark.parametrize("text", ['{"config": [], "identity": "x"}', '{"config": {}, "identity": 1}', '{"config": {}}', "[]", "3", "null", "{", "\0", "[" * 100_000])
def test_a_damaged_claim_is_the_users_to_mend(tmp_path: Path, text: str) -> None:
    claim_folder(tmp_path, ORIGIN)
    (tmp_path / ".progress" / "config.json").write_text(text)
    with pytest.raises(UserError, match=r"config\.json is damaged") as error:
        claim_folder(tmp_path, ORIGIN)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("place", "words"),
    [("file/set", "Not a directory"), ("link", "a link to nothing"), ("x" * 300, "File name too long"), ("loop", "a link to nothing"), ("/proc/set", "")],
)
def test_places_where_nothing_can_be_made_are_refused_in_one_line(tmp_path: Path, place: str, words: str) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere" / "at all")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(UserError) as error:
        claim_folder(tmp_path / place, ORIGIN)
    assert str(error.value).startswith(f"{tmp_path / place}: no place for a data set ({words}") and "\n" not in str(error.value)


@pytest.mark.parametrize(("number", "words"), [(errno.ENOSPC, "No space left on device"), (errno.EROFS, "Read-only file system"), (errno.EACCES, "Permission denied")])
def test_a_full_or_locked_disk_is_named_at_the_door(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, words: str) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number), "some/where")

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(UserError, match=rf"set: no place for a data set \({words}\); choose another --out"):
        claim_folder(tmp_path / "set", ORIGIN)


def test_a_finished_data_set_that_lost_a_shard_is_no_success(tmp_path: Path) -> None:
    write_data_set(tmp_path)
    (tmp_path / "shards" / "val-000000.tar").unlink()
    with pytest.raises(UserError, match=r"val-000000.tar is missing or cut off"):
        claim_folder(tmp_path, ORIGIN)


@pytest.mark.parametrize("overwrite", [False, True])
def test_foreign_folders_are_refused(tmp_path: Path, overwrite: bool) -> None:
    (tmp_path / "thesis.tex").write_text("mine")
    (tmp_path / "shards").mkdir()
    (tmp_path / "shards" / "train-000000.tar").write_text("mine")
    with pytest.raises(UserError, match=r"holds other files \(shards, thesis\.tex\) and no data set"):
        claim_folder(tmp_path, ORIGIN, overwrite=overwrite)
    with pytest.raises(UserError, match="is a file"):
        claim_folder(tmp_path / "thesis.tex", ORIGIN, overwrite=overwrite)
    assert (tmp_path / "shards" / "train-000000.tar").read_text() == "mine"


# Several runs


def test_alone_and_together(tmp_path: Path) -> None:
    with hold_folder(tmp_path) as first, hold_folder(tmp_path) as second, hold_folder(tmp_path) as third:
        assert first.alone() and not second.alone() and not second.together()
        assert first.together() and second.together() and not third.alone()
        first.release()
        assert not third.alone()
        second.release()
        assert third.alone()


def test_runs_together_do_not_change_whose_the_folder_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hold, "WAIT_S", 0.3)
    larger = ORIGIN.of(20)
    with hold_folder(tmp_path) as first, hold_folder(tmp_path) as second, hold_folder(tmp_path) as third:
        assert claim_together(first, ORIGIN) == claim_together(second, ORIGIN) == "unfinished"
        for other in (larger, OTHER):
            with pytest.raises(UserError, match="runs are at work here alone, or on another config or number of sequences"):
                claim_together(third, other)
        with pytest.raises(UserError, match="another run is writing here"):
            claim_alone(third, ORIGIN)
        first.release()
        second.release()
        assert claim_together(third, larger) == "unfinished" and identity_of(tmp_path) == larger.identity


def test_without_locks_only_old_leftovers_are_swept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EBADF, "no locks here")

    monkeypatch.setattr(hold.fcntl, "flock", refuse)
    with hold_folder(tmp_path) as held:
        assert claim_alone(held, ORIGIN) == "new" and not held.works
        (tmp_path / "shards").mkdir()
        young, old = (tmp_path / "shards" / f".{name}.partial-1-2" for name in ("young", "old"))
        for path in (young, old, tmp_path / "shards" / "train-000000.tar"):
            path.write_text("half")
        os.utime(old, (0, 0))
        held.sweep()
        held.sweep_at_the_end()
    assert young.exists() and not old.exists() and (tmp_path / "shards" / "train-000000.tar").exists()


def test_files_that_are_not_ours_are_not_swept(tmp_path: Path) -> None:
    claim_folder(tmp_path, ORIGIN)
    (tmp_path / "shards" / "train-000001.tar").mkdir(parents=True)
    for name in ("my-backup.tar", "train-000000.tar", "train-000000.tar.bak"):
        (tmp_path / "shards" / name).write_text("mine")
    sweep(tmp_path)
    assert sorted(path.name for path in (tmp_path / "shards").iterdir()) == ["my-backup.tar", "train-000000.tar.bak", "train-000001.tar"]


@pytest.mark.parametrize("name", ["index.parquet", "dataset.json"])
def test_nothing_grows_from_papers_that_were_changed(tmp_path: Path, name: str) -> None:
    write_data_set(tmp_path)
    data = bytearray((tmp_path / name).read_bytes())
    place = data.index(b'"shares"') + 20 if name == "dataset.json" else len(data) // 3
    data[place] ^= 1
    (tmp_path / name).write_bytes(data)
    with pytest.raises(UserError, match=r"has been changed since it was written; `seqgen verify .* --repair` makes it again|is damaged"):
        claim_folder(tmp_path, ORIGIN.of(20))
    assert (tmp_path / "dataset.json").exists() and (tmp_path / "index.parquet").exists()


def test_a_lost_manifest_names_its_remedy(tmp_path: Path) -> None:
    write_data_set(tmp_path)
    (tmp_path / "dataset.json").unlink()
    with pytest.raises(UserError, match=r"a data set without its dataset\.json; `seqgen verify .* --repair` makes it again"):
        claim_folder(tmp_path, ORIGIN)
