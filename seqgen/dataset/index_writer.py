"""Writes `index.parquet` (see `seqgen.dataset.index`): of rows, or of streams of columns, with a row group of them in memory. The same rows give the same bytes."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Int64

from seqgen.dataset.index import COLUMNS, INDEX_NAME, ORIGIN_KEY, Columns, IndexRow, columns_of, index_schema
from seqgen.files import file_digest, written_aside
from seqgen.places import Place

if TYPE_CHECKING:
    import pyarrow

ROW_GROUP = 2**16  # rows that are packed together: what the writer of a large index holds in memory
PACKED_AT_ONCE = 4096


@dataclass(frozen=True)
class IndexRecord:
    """What is known of a written index: its size and its hash in hex."""

    bytes: int
    sha256: str


def write_index(directory: Place, rows: Iterable[IndexRow], origin: Mapping[str, Any]) -> IndexRecord:
    """Writes the index, whatever the order the rows come in. `origin` (plain JSON values) is what the data set was made from."""
    ordered = sorted(rows, key=lambda row: row.id)
    parts = (columns_of(ordered[start : start + ROW_GROUP]) for start in range(0, len(ordered), ROW_GROUP))
    return write_index_of(directory, [parts], origin)


def write_index_of(directory: Place, streams: Sequence[Iterable[Columns]], origin: Mapping[str, Any]) -> IndexRecord:
    """The same from any number of streams of columns, each by rising id, with no more than a row group of them in memory (and a shard of each stream)."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = index_schema().with_metadata({ORIGIN_KEY: json.dumps(origin, sort_keys=True, allow_nan=False)})
    last = -1
    with written_aside(directory / INDEX_NAME) as aside:
        with open(aside, "xb") as file, pq.ParquetWriter(file, schema, compression="zstd") as writer:  # pyarrow takes a path like exp:1/... for an address
            for group in _merged(streams, schema):
                last = _check_rising(group["id"].to_numpy(), last)
                writer.write_table(group)
                del group  # before the next one is gathered
                pa.default_memory_pool().release_unused()
        return IndexRecord(aside.stat().st_size, file_digest(aside))


def _merged(streams: Sequence[Iterable[Columns]], schema: "pyarrow.Schema") -> Iterator["pyarrow.Table"]:
    """The rows of all streams by rising id, ROW_GROUP at a time and the rest, or nothing, at the end."""
    live = {number: iter(stream) for number, stream in enumerate(streams)}
    reached = dict.fromkeys(live, -1)  # by stream, the id up to which all is there
    waiting, look = _Waiting(schema), ROW_GROUP
    written = False
    while live:
        number = min(live, key=reached.__getitem__)
        columns = next(live[number], None)
        if columns is None:
            del live[number], reached[number]
            continue
        waiting.add(columns)
        reached[number] = columns["id"][-1]
        if len(waiting) >= look:
            table = waiting.take()
            whole = int(np.searchsorted(table["id"].to_numpy(), min(reached.values()), side="right")) // ROW_GROUP * ROW_GROUP
            for start in range(0, whole, ROW_GROUP):
                yield table.slice(start, ROW_GROUP)
                written = True
            waiting.put_back(table.slice(whole))
            del table
            look = max(ROW_GROUP, len(waiting) + ROW_GROUP // 8)
    table = waiting.take()
    if len(table) or not written:
        yield from (table.slice(start, ROW_GROUP) for start in range(0, max(1, len(table)), ROW_GROUP))


def _check_rising(ids: Int64[np.ndarray, " rows"], last: int) -> int:
    """The last of ids that are larger than the last before them, each than the one before it."""
    if len(ids) and (ids[0] <= last or (np.diff(ids) <= 0).any()):
        raise ValueError("two rows of the index have the same id")
    return int(ids[-1]) if len(ids) else last


class _Waiting:
    """Rows whose turn has not come, packed by the thousand: as Python values they take ten times as much."""

    def __init__(self, schema: "pyarrow.Schema") -> None:
        self._schema = schema
        self._fresh: Columns = {name: [] for name in COLUMNS}
        self._packed: dict[str, list[pyarrow.Array]] = {name: [] for name in COLUMNS}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, columns: Columns) -> None:
        for name, values in self._fresh.items():
            values += columns[name]
        self._count += len(columns["id"])
        if len(self._fresh["id"]) >= PACKED_AT_ONCE:
            self._pack()

    def put_back(self, table: "pyarrow.Table") -> None:
        for name, arrays in self._packed.items():
            arrays.append(table[name].take(np.arange(len(table))).combine_chunks())  # a slice would keep all of it in memory
        self._count += len(table)

    def take(self) -> "pyarrow.Table":
        """All of them, sorted by id. Column by column, so that there is no second copy of all."""
        import pyarrow as pa

        self._pack()
        order = np.argsort(pa.concat_arrays(self._packed["id"]).to_numpy(), kind="stable")
        columns = []
        for name in COLUMNS:
            columns.append(pa.concat_arrays(self._packed[name]).take(order))
            self._packed[name] = []
        self._count = 0
        return pa.table(columns, schema=self._schema)

    def _pack(self) -> None:
        import pyarrow as pa

        for field in self._schema:
            self._packed[field.name].append(pa.array(self._fresh[field.name], field.type))
        self._fresh = {name: [] for name in COLUMNS}


def describe_index(directory: Place) -> IndexRecord:
    """The record of the index that lies in a folder."""
    path = directory / INDEX_NAME
    return IndexRecord(path.stat().st_size, file_digest(path))
