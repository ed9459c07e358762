"""Stored data sets: open one and take its sequences, in order or by name. Needs no renderer, no Ray, no hand model.

    dataset = open_dataset("outputs/quickstart", split="train")
    for sequence in dataset: ...                # `HandSequence`s by rising index, read straight through
    dataset[0], dataset["00000042"]             # by position and by key, one read each
    dataset.manifest, dataset.rows              # what `dataset.json` and `index.parquet` say
"""

from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

from seqgen.dataset.index import IndexRow, read_index
from seqgen.dataset.manifest import SHARD_FOLDER, Manifest, read_manifest
from seqgen.dataset.sequence import HandSequence, Labels
from seqgen.dataset.shards import Span, read_shard, read_span, shard_spans
from seqgen.errors import UserError

__all__ = ["Dataset", "HandSequence", "Labels", "open_dataset"]


class Dataset:
    """The sequences of a data set (or of one split) in index order. Holds no open files, so it can be sent to other processes."""

    def __init__(self, directory: Path, manifest: Manifest, rows: list[IndexRow]) -> None:
        self.directory = directory
        self.manifest = manifest
        self.rows = rows
        self._positions = {row.key: position for position, row in enumerate(rows)}
        self._spans: dict[str, dict[str, Span]] = {}  # by shard, filled when one is first asked for

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[HandSequence]:
        last = {row.shard: row.key for row in self.rows}
        readers: dict[str, Iterator[HandSequence]] = {}  # a shard may go on where others of other splits end: open from its first row to its last
        with ExitStack() as opened:
            for row in self.rows:
                if row.shard not in readers:
                    readers[row.shard] = opened.enter_context(closing(read_shard(self._path(row.shard))))
                sequence = next(readers[row.shard], None)
                if sequence is None or sequence.key != row.key:
                    raise self._disagreement(row.shard)
                yield sequence
                if row.key == last[row.shard] and next(readers[row.shard], None) is not None:
                    raise self._disagreement(row.shard)

    def __getitem__(self, item: int | str) -> HandSequence:
        """The sequence at a position (from the end if negative) or of a key."""
        row = self.rows[self._positions[item] if isinstance(item, str) else item]
        if row.shard not in self._spans:
            self._spans[row.shard] = shard_spans(self._path(row.shard))
        if row.key not in self._spans[row.shard]:
            raise self._disagreement(row.shard)
        return read_span(self._path(row.shard), self._spans[row.shard][row.key])

    def _disagreement(self, shard: str) -> UserError:
        return UserError(f"{self._path(shard)} does not hold the sequences that the index lists for it; fetch or generate the data set again")

    def _path(self, shard: str) -> Path:
        return self.directory / SHARD_FOLDER / shard


def open_dataset(directory: str | Path, split: str | None = None) -> Dataset:
    """The finished data set in a folder, whole or one split of it."""
    directory = Path(directory)
    manifest, rows = read_manifest(directory), read_index(directory)
    if split is not None and split not in manifest.counts["splits"]:
        raise UserError(f"{directory} has no split {split!r}; it has {', '.join(manifest.counts['splits'])}")
    return Dataset(directory, manifest, [row for row in rows if split in (None, row.split)])
