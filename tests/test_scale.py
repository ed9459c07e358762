"""What lets a data set of a million shards be made: index and manifest written as they stream, records that are believed, a loop that holds little."""

import heapq
import json
import pickle
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from runs import small_config
from sequences import ORIGIN, make_meta, write_data_set, write_rows

from seqgen.dataset import index_writer, progress
from seqgen.dataset.claim import claim_folder
from seqgen.dataset.index import INDEX_NAME, IndexRow, columns_of, index_row, read_index, read_rows, rows_of
from seqgen.dataset.index_writer import write_index, write_index_of
from seqgen.dataset.licences import Asset
from seqgen.dataset.manifest import FORMAT, MANIFEST_NAME, SCHEMA_VERSION, SHARD_FOLDER, build_manifest, is_as_written, read_manifest, with_checksum, write_manifest
from seqgen.dataset.progress import FinishedShard, finished_shards, read_records, record_shard
from seqgen.dataset.shards import ShardRecord, shard_name
from seqgen.dataset.tally import ShardTable, tally_of
from seqgen.pipeline import run
from seqgen.pipeline.loop import Done, make_shards
from seqgen.pipeline.plan import ShardPlan, plan_shards
from seqgen.pipeline.run import generate_dataset

NAME = "train-000000.tar"


def row(number: int) -> IndexRow:
    return index_row(make_meta(number), NAME, f"{number:064x}")


# Index


def cut_up(rows: list[IndexRow], cut: int) -> Iterator[dict]:
    return (columns_of(rows[start : start + cut]) for start in range(0, len(rows), cut))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 2), max_size=60), st.integers(1, 6), st.integers(1, 9))
def test_streams_are_merged_into_the_rows_by_id(tmp_path_factory: pytest.TempPathFactory, dealt: list[int], cut: int, group: int) -> None:
    """Rows dealt to three streams, cut into blocks: the bytes are those that the stock writer makes of the sorted table with row groups of this size."""
    path, other = tmp_path_factory.mktemp("index"), tmp_path_factory.mktemp("stock") / "stock.parquet"
    rows = [row(number) for number in range(len(dealt))]
    streams = [[one for one, stream in zip(rows, dealt, strict=True) if stream == number] for number in range(3)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(index_writer, "ROW_GROUP", group)
        patch.setattr(index_writer, "PACKED_AT_ONCE", 3)
        write_index_of(path, [cut_up(stream, cut) for stream in streams], {"a": 1})
    assert read_index(path) == rows
    schema = pq.read_schema(path / INDEX_NAME)
    pq.write_table(pa.Table.from_pylist([asdict(one) for one in rows], schema), other, compression="zstd", row_group_size=group)
    assert (path / INDEX_NAME).read_bytes() == other.read_bytes()
    assert pq.read_metadata(path / INDEX_NAME).num_row_groups == max(1, -(-len(rows) // group))


@pytest.mark.parametrize("apart", [0, 1, 5])
def test_an_id_that_two_streams_have_is_refused(tmp_path: Path, apart: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index_writer, "ROW_GROUP", 2)
    one, other = [columns_of([row(number)]) for number in range(6)], [columns_of([row(number)]) for number in (apart, 9)]
    with pytest.raises(ValueError, match="same id"):
        write_index_of(tmp_path, [one, other], {})
    assert not list(tmp_path.iterdir())


def test_rows_are_columns_until_they_are_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index_writer, "ROW_GROUP", 4)
    due = [replace(row(number), split="val" if number % 3 == 0 else "train", shard=shard_name("train", number // 5)) for number in range(11)]
    write_index(tmp_path, due, {})
    rows = read_rows(tmp_path)
    assert list(rows) == [rows[place] for place in range(11)] == due and rows[-1] == due[-1] and list(rows[8:1:-3]) == due[8:1:-3]
    assert list(rows.of_split("val")) == due[::3] and rows.keys() == [one.key for one in due] and rows.places() == {(0, one.shard) for one in due}
    assert [len(read_rows(tmp_path, first=first)) for first in (1, 4, 5, 8, 9, 99)] == [4, 4, 8, 8, 11, 11] and list(read_rows(tmp_path, first=5)) == due[:8]
    assert list(pickle.loads(pickle.dumps(rows))) == due
    with pytest.raises(IndexError):
        rows[11]


def test_columns_and_rows_are_the_same() -> None:
    rows = [row(number) for number in range(5)]
    assert rows_of(columns_of(rows)) == rows and rows_of(columns_of([])) == []


# Manifest


@pytest.mark.parametrize("shards", [0, 1, 3])
@pytest.mark.parametrize("packed", [False, True])
def test_a_manifest_that_streams_is_the_one_written_at_once(tmp_path: Path, shards: int, packed: bool) -> None:
    rows = [row(number) for number in range(4)]
    write_index(tmp_path, rows, {})
    records = [ShardRecord(shard_name("val", number), "val", 2, 7, f"{number:064x}") for number in range(shards)]
    (tmp_path / SHARD_FOLDER).mkdir()
    for record in records:
        (tmp_path / SHARD_FOLDER / record.name).write_bytes(b"7 bytes")
    table = ShardTable(shards)
    for place, record in enumerate(records):
        table.put(place, record)
    about = {"assets": [Asset("poses", "“built” \\ in\n", "CC0-1.0", "made up")], "left_out": {}, "index": index_writer.describe_index(tmp_path), "run": {"machine": "ours"}}
    manifest = build_manifest({"a": [1.5, None]}, "of it", seed=1, frames=3, shards=table if packed else records, rows=rows, **about)
    write_manifest(tmp_path, manifest)
    due = with_checksum({"format": FORMAT, "schema_version": SCHEMA_VERSION, **asdict(replace(manifest, shards=tuple(records)))})
    assert (tmp_path / MANIFEST_NAME).read_text(encoding="utf-8") == due
    assert is_as_written(tmp_path) and read_manifest(tmp_path).shards == tuple(records)
    data = (tmp_path / MANIFEST_NAME).read_bytes()
    for place in range(0, len(data), 37):
        (tmp_path / MANIFEST_NAME).write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
        assert not is_as_written(tmp_path)


def test_the_tally_counts_rows() -> None:
    rows = [row(number) for number in range(11)]
    tally = tally_of(rows)
    tally.add(columns_of([row(11)]))
    rows.append(row(11))
    assert (tally.sequences, dict(tally.splits), tally.frames_outside) == (12, {"train": 12}, sum(one.frames_outside for one in rows))
    assert tally.having == {"left": 0, "arm": sum(one.arm != "none" for one in rows), "occluder": sum(one.occluder != "none" for one in rows)}
    assert tally.shareable == sum(one.shareable for one in rows) == 6


# Records


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    claim_folder(tmp_path, ORIGIN)
    record, rows = write_rows(tmp_path, NAME, range(3))
    record_shard(tmp_path, record, rows, ORIGIN.identity, just_written=True)
    return tmp_path


def the_record(directory: Path) -> FinishedShard | None:
    [record] = read_records(directory, [(NAME, range(3))], ORIGIN.identity)
    return record


def finished(directory: Path) -> list[str]:
    return [shard.name for shard in finished_shards(directory, {NAME: range(3)}.get, ORIGIN.identity)]


def test_a_shard_is_not_read_again_while_its_time_stamp_stays(recorded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "file_digest", lambda path: pytest.fail("read again"))
    assert finished(recorded) == [NAME]


def test_a_shard_that_was_touched_is_hashed(recorded: Path) -> None:
    path = recorded / SHARD_FOLDER / NAME
    data = path.read_bytes()
    path.write_bytes(data)
    assert finished(recorded) == [NAME]
    path.write_bytes(data[:700] + bytes([data[700] ^ 1]) + data[701:])
    assert finished(recorded) == []


@pytest.mark.parametrize("change", [{"modified_ns": "x"}, {"rows": {}}, {"rows": []}, {"shard": {}}, {"identity": "of others"}, {"rows": {"id": 3}}, {"rows": {"id": [0, 1]}}])
def test_a_damaged_record_vouches_for_nothing(recorded: Path, change: dict) -> None:
    path = recorded / ".progress" / f"{NAME}.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    if "modified_ns" in change:
        assert finished(recorded) == [NAME]  # by its hash
    else:
        assert finished(recorded) == [] and the_record(recorded) is None


def test_a_record_says_once_what_all_clips_have(recorded: Path) -> None:
    told = json.loads((recorded / ".progress" / f"{NAME}.json").read_text())["rows"]
    assert told["id"] == [0, 1, 2] and told["hand"] == "open" and told["shard"] == NAME and len(told["sha256"]) == 3
    assert the_record(recorded).rows == read_index_of(recorded)


def read_index_of(directory: Path) -> list[IndexRow]:
    """The rows of the clips that lie in the shard, from the clips themselves."""
    other = directory / "other"
    _, rows = write_rows(other, NAME, range(3))
    return rows


def test_a_resumed_run_reads_no_shard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = small_config(sequences=4, clip={"frames": 2, "size": (48, 40)}, output={"sequences_per_shard": 2})

    def interrupt(told: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        generate_dataset(config, tmp_path, report=interrupt)
    monkeypatch.setattr(progress, "file_digest", lambda path: pytest.fail("read again"))
    assert generate_dataset(config, tmp_path).made == 2


# The loop


class Nodes:
    """Workers that take times of their own over shards, as a clock of ours tells; some of them die or raise."""

    failures = 0

    def __init__(self, size: int, seed: int) -> None:
        self.size, self.rng, self.now = size, np.random.default_rng(seed), 0.0
        self.ends: list[tuple[float, int, int, ShardPlan | None]] = []
        self.started = self.most = self.given = 0

    def start(self) -> None:
        self._push(self.started, None)
        self.started += 1

    def give(self, worker: int, plan: ShardPlan) -> None:
        assert worker not in [busy for _, _, busy, _ in self.ends]
        self._push(worker, plan)

    def _push(self, worker: int, plan: ShardPlan | None) -> None:
        self.given += 1
        heapq.heappush(self.ends, (self.now + self.rng.exponential(), self.given, worker, plan))
        self.most = max(self.most, sum(plan is not None for *_, plan in self.ends))

    def wait(self) -> list[Done]:
        return [self._end() for _ in range(min(len(self.ends), int(self.rng.integers(1, 4))))]

    def _end(self) -> Done:
        self.now, _, worker, plan = heapq.heappop(self.ends)
        fate = self.rng.random()
        if plan and fate < 0.1:
            self.failures += 1
            return Done(None, plan, told="died")
        if plan and fate < 0.2:
            return Done(worker, plan, error=ZeroDivisionError("raised"), told="raised")
        return Done(worker, plan, ShardRecord(plan.name, "train", 1, 1, "00" * 32) if plan else None)


@pytest.mark.parametrize("seed", range(5))
def test_every_shard_is_made_or_set_aside_once_and_few_are_held(seed: int) -> None:
    pool, drawn = Nodes(7, seed), 0
    most_ahead = 0

    def plans() -> Iterator[ShardPlan]:
        nonlocal drawn
        for number in range(500):
            drawn += 1
            yield ShardPlan(shard_name("train", number), (number,))

    names = []
    for made in make_shards(plans(), pool, seed=0):
        names.append(made.name)
        most_ahead = max(most_ahead, drawn - len(names))
    assert sorted(names) == [shard_name("train", number) for number in range(500)]
    assert pool.most <= 7 and pool.started == 7 + pool.failures > 7
    assert most_ahead < 150  # under way, and those that failed and wait


@pytest.mark.parametrize("error", [OSError(28, "No space left on device")])
def test_a_full_disk_stops_the_loop(error: OSError) -> None:
    class Full(Nodes):
        def _end(self) -> Done:
            done = super()._end()
            return replace(done, record=None, error=error, told="full") if done.plan else done

    with pytest.raises(OSError, match="No space left"):
        list(make_shards(plan_shards(small_config(sequences=100)), Full(3, 0), seed=0))


def test_the_folder_is_listed_not_the_plan(tmp_path: Path) -> None:
    """A run over a hundred million sequences in a folder with three durable shards asks for three plans."""
    write_data_set(tmp_path / "set")
    directory = tmp_path / "run"
    claim_folder(directory, ORIGIN)
    record, rows = write_rows(directory, NAME, range(3))
    record_shard(directory, record, rows, ORIGIN.identity, just_written=True)
    asked: list[str] = []

    def planned(name: str) -> None:
        asked.append(name)

    assert list(finished_shards(directory, planned, ORIGIN.identity)) == [] and asked == [NAME]


def test_what_failed_is_counted_and_the_first_are_named() -> None:
    failed = run._Failed()
    for number in range(1000):
        failed.add(progress.FailedShard(shard_name("train", number), (number,), 0, 3, f"traceback {number}"))
    told = failed.told()
    assert told.startswith("1000 shards could not be made: train-000000.tar (sequences 0 to 0, seed 0); ") and "train-000004.tar" in told
    assert "; and 995 more; " in told and "train-000005.tar" not in told and told.endswith("\ntraceback 0") and len(failed.first) == 5
