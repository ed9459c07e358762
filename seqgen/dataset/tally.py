"""What a manifest says of very many clips and shards, gathered as they pass: counts over the rows of an index, and the records of shards in 50 bytes each.

A data set of a million shards has a hundred million rows; neither fits into memory as records.
"""

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

from seqgen.dataset.index import Columns, IndexRow, columns_of
from seqgen.dataset.shards import ShardRecord, shard_name
from seqgen.splits import SPLITS

PACKED = np.dtype([("split", "u1"), ("number", "u4"), ("sequences", "u4"), ("bytes", "u8"), ("sha256", "V32")])


class Tally:
    """Counts over the rows that it has been told: all, by split, and those that a manifest gives shares of."""

    def __init__(self) -> None:
        self.sequences, self.frames_outside, self.shareable = 0, 0, 0
        self.splits: Counter[str] = Counter()
        self.having: Counter[str] = Counter({"left": 0, "arm": 0, "occluder": 0})

    def add(self, columns: Columns) -> None:
        """Counts these rows too."""
        self.sequences += len(columns["id"])
        self.frames_outside += sum(columns["frames_outside"])
        self.shareable += sum(columns["shareable"])
        self.splits.update(columns["split"])
        self.having["left"] += columns["side"].count("left")
        for name in ("arm", "occluder"):
            self.having[name] += len(columns[name]) - columns[name].count("none")


def tally_of(rows: Iterable[IndexRow]) -> Tally:
    """The counts over some rows."""
    tally = Tally()
    tally.add(columns_of(rows))
    return tally


class ShardTable(Sequence[ShardRecord]):
    """Records of shards, each at a place of its own."""

    def __init__(self, length: int) -> None:
        self._packed = np.zeros(length, PACKED)

    def __len__(self) -> int:
        return len(self._packed)

    def __getitem__(self, place: int) -> ShardRecord:
        split, number, sequences, size, sha256 = self._packed[place].tolist()
        return ShardRecord(shard_name(SPLITS[split], number), SPLITS[split], sequences, size, bytes(sha256).hex())

    def put(self, place: int, shard: ShardRecord) -> None:
        """Keeps the record of the shard at a place. ValueErrors for one that is not named as its split and a number."""
        number = int(shard.name.removesuffix(".tar").rpartition("-")[2])
        if shard_name(shard.split, number) != shard.name:
            raise ValueError(f"{shard.name!r} is no shard of the split {shard.split!r}")
        self._packed[place] = (SPLITS.index(shard.split), number, shard.sequences, shard.bytes, np.void(bytes.fromhex(shard.sha256)))
