"""`index.parquet`: one row a sequence, sorted by id, to choose from a data set without opening its shards. The same rows give the same bytes.

    id       int64     index of the sequence           key       string    its name in the shard
    shard    string    file under shards/              split     string
    part     int64     0; in an index over several data sets, in which of them the shard lies: see below
    group    int64     the first of the clips that show one motion at one time from several cameras; -1 in a data set of one camera a motion
    view     int64     which of those cameras
    viewpoint, hand, side, skin, arm, background, occluder, camera, camera_model, sensor, depth_sensor     strings, as in meta.json
    frames_outside     int64, in how many frames a part of the hand is outside the picture
    speed    float64   mean joint step, mm a frame
    pose_licence, hand_licence, photo_licence           strings; shareable bool: they and those of skin and occluder allow passing the pictures on
    sha256             string, of the sequence's bytes in its shard, from its first header to the end of its last member

A row's shard is the file shards/<shard>. Where `parts` of dataset.json is not empty it is <path>/shards/<shard>, with the path of parts[part] as seen from this folder; the
same key may then be in several parts, and the id alone tells sequences apart:

    parts = json.load(open("merged/dataset.json"))["parts"]
    index = pandas.read_parquet("merged/index.parquet")
    files = [os.path.join("merged", parts[part]["path"], "shards", shard) for part, shard in zip(index["part"], index["shard"])]

The file's own metadata hold, under `seqgen`, what the data set was made from: a data set whose dataset.json is lost can be made whole from it.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from operator import attrgetter
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from seqgen.dataset.licences import OPEN_LICENCES
from seqgen.errors import UserError
from seqgen.places import Place
from seqgen.remote import RemotePath
from seqgen.store_errors import StoreError

if TYPE_CHECKING:
    import pyarrow

INDEX_NAME = "index.parquet"
ORIGIN_KEY = "seqgen"  # in the file's metadata
ROW_BYTES = 32  # at least: what no packing makes of a hash
NO_GROUP = -1  # not null: readers that know no null integers would make floats of the column


@dataclass(frozen=True, slots=True)
class IndexRow:
    """What the index says of one sequence. There may be millions."""

    id: int
    key: str
    shard: str
    part: int
    split: str
    group: int
    view: int
    viewpoint: str
    hand: str
    side: str
    skin: str
    arm: str
    background: str
    occluder: str
    speed: float
    camera: str
    camera_model: str
    frames_outside: int
    sensor: str
    depth_sensor: str
    pose_licence: str
    hand_licence: str
    photo_licence: str
    shareable: bool
    sha256: str


COLUMNS = tuple(field.name for field in fields(IndexRow))
Columns = dict[str, list[Any]]  # by name, the values of rows: of a shard, or of a row group


def index_row(meta: dict[str, Any], shard: str, sha256: str) -> IndexRow:
    """The row of a sequence that lies in `shard` as bytes of that hash."""
    licences = meta["licences"]
    return IndexRow(
        id=meta["index"],
        key=meta["key"],
        shard=shard,
        part=0,
        split=meta["split"],
        group=NO_GROUP if meta["group"] is None else meta["group"],
        view=meta["camera"]["view"],
        viewpoint=meta["camera"]["viewpoint"],
        hand=meta["hand"]["kind"],
        side=meta["hand"]["side"],
        skin=meta["skin"]["tone"],
        arm=meta["arm"]["kind"],
        background=meta["background"]["name"],
        occluder=meta["occluder"]["kind"],
        speed=meta["flow"]["mm_per_frame"],
        camera=meta["camera"]["kind"],
        camera_model=meta["camera"]["model"],
        frames_outside=meta["camera"]["frames_outside"],
        sensor=meta["sensor"]["kind"],
        depth_sensor=meta["sensor"]["depth"],
        pose_licence=licences["poses"],
        hand_licence=licences["hand"],
        photo_licence=licences["background"],
        shareable=all(licence in OPEN_LICENCES for licence in licences.values()),
        sha256=sha256,
    )


def columns_of(rows: Iterable[IndexRow]) -> Columns:
    """Rows as columns."""
    values = list(zip(*map(attrgetter(*COLUMNS), rows), strict=True)) or [()] * len(COLUMNS)
    return {name: list(column) for name, column in zip(COLUMNS, values, strict=True)}


def rows_of(columns: Columns) -> list[IndexRow]:
    """Columns as rows."""
    return [IndexRow(*values) for values in zip(*(columns[name] for name in COLUMNS), strict=True)]


class IndexRows(Sequence[IndexRow]):
    """The rows of an index, kept as columns (230 bytes a row) and made into records as they are asked for: a list of a million would take three gigabytes."""

    def __init__(self, table: "pyarrow.Table") -> None:
        self._table = table

    def __len__(self) -> int:
        return self._table.num_rows

    @overload
    def __getitem__(self, place: int) -> IndexRow: ...
    @overload
    def __getitem__(self, place: slice) -> "IndexRows": ...
    def __getitem__(self, place: int | slice) -> "IndexRow | IndexRows":
        if isinstance(place, slice):
            return IndexRows(self._table.take(np.arange(len(self))[place]))
        [row] = rows_of(self._table.slice(range(len(self))[place], 1).to_pydict())
        return row

    def __iter__(self) -> Iterator[IndexRow]:
        for batch in self._table.to_batches(max_chunksize=1024):
            yield from rows_of(batch.to_pydict())

    def of_split(self, split: str) -> "IndexRows":
        """Those of one split."""
        import pyarrow.compute as pc

        return IndexRows(self._table.filter(pc.equal(self._table["split"], split)))

    def places(self) -> set[tuple[int, str]]:
        """The shards that they name, each with its part."""
        pairs = self._table.select(["part", "shard"]).group_by(["part", "shard"]).aggregate([]).to_pydict()
        return set(zip(pairs["part"], pairs["shard"], strict=True))

    def keys(self) -> list[str]:
        """All keys, in their order."""
        return self._table["key"].to_pylist()


def read_index(directory: Place) -> list[IndexRow]:
    """The rows, sorted by id."""
    return list(read_rows(directory))


def read_rows(directory: Place, *, first: int | None = None) -> IndexRows:
    """The same, not made into records yet; no more than the row groups that hold the `first` so many of them, where that is given."""
    import pyarrow as pa

    path = directory / INDEX_NAME
    table = _read_table(path, first)
    try:
        table.validate(full=True)
    except pa.ArrowException as error:
        raise UserError(f"{path} is damaged ({error}); fetch or generate it again") from error
    repeated = [field.name for field in table.schema if field.type == pa.string() and field.name not in ("key", "sha256")]
    columns = [table[name].dictionary_encode() if name in repeated else table[name] for name in COLUMNS]
    return IndexRows(pa.table(columns, names=list(COLUMNS)).unify_dictionaries())


def read_origin(directory: Place) -> dict[str, Any]:
    """What the index says that the data set was made from."""
    path = directory / INDEX_NAME
    metadata = _read_table(path).schema.metadata or {}
    try:
        origin = json.loads(metadata[ORIGIN_KEY.encode()])
        if not isinstance(origin, dict):
            raise ValueError("its origin is no record")
    except (KeyError, ValueError, RecursionError) as error:
        raise UserError(f"{path} is damaged ({error}); fetch or generate it again") from error
    return origin


def _read_table(path: Place, first: int | None = None) -> "pyarrow.Table":
    import pyarrow as pa
    import pyarrow.parquet as pq
    from pyarrow.fs import LocalFileSystem

    try:  # by its name or from memory: of a Python file that its threads read from, pyarrow aborts half of the processes that end soon after (seen beside torch)
        kept = path.read_bytes() if isinstance(path, RemotePath) else None
        where, how = (str(path.absolute()), {"filesystem": LocalFileSystem()}) if kept is None else (pa.BufferReader(kept), {})
        rows, size = pq.read_metadata(where, **how).num_rows, path.stat().st_size if kept is None else len(kept)
        if rows * ROW_BYTES > size:
            raise UserError(f"{path} is damaged (it claims {rows:,} rows, which {size:,} bytes cannot hold); fetch or generate it again")
        table = pq.read_table(where, **how) if first is None else _first_groups(pq.ParquetFile(where, **how), first)
    except FileNotFoundError:
        raise UserError(f"{path} is missing: not a finished data set; run the generating command again") from None
    except StoreError:
        raise
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is damaged ({error}); fetch or generate it again") from error
    if not table.schema.equals(index_schema()):
        raise UserError(f"{path} has columns {', '.join(table.schema.names)}, expected {', '.join(index_schema().names)}: written by another version of seqgen")
    return table


def _first_groups(file: "pyarrow.parquet.ParquetFile", rows: int) -> "pyarrow.Table":
    """The row groups from the first on that hold so many rows."""
    held = np.cumsum([0, *(file.metadata.row_group(number).num_rows for number in range(file.num_row_groups))])
    with file:
        return file.read_row_groups(np.flatnonzero(held[:-1] < rows).tolist())


def index_schema() -> "pyarrow.Schema":
    """The columns, from the fields of the row."""
    import pyarrow as pa

    types = {int: pa.int64(), float: pa.float64(), str: pa.string(), bool: pa.bool_()}
    return pa.schema([pa.field(field.name, types[field.type], nullable=False) for field in fields(IndexRow)])
