"""Stored data sets: open one and take its sequences, in order or by name. Needs no renderer, no Ray, no hand model.

    dataset = open_dataset("outputs/quickstart", split="train")
    for sequence in dataset: ...                # `HandSequence`s by rising index, read straight through
    dataset[0], dataset["00000042"]             # by position and by key, one read each
    dataset.manifest, dataset.rows              # what `dataset.json` and `index.parquet` say
    dataset.shard_path(dataset.rows[0])         # where a sequence lies

An index over several data sets (`seqgen.dataset.merge`) is opened and read like one. There a sequence has the key that it has in its part, so a key may be there twice.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from functools import cached_property

from seqgen.dataset.index import INDEX_NAME, IndexRow, IndexRows, read_rows
from seqgen.dataset.manifest import SHARD_FOLDER, SHARD_NAME, Manifest, part_folders, read_manifest
from seqgen.dataset.sequence import HandSequence, Labels
from seqgen.dataset.shards import Span, read_shard, read_span, shard_spans
from seqgen.errors import UserError
from seqgen.places import Place, place_of

__all__ = ["Dataset", "HandSequence", "Labels", "open_dataset"]


class Dataset:
    """The sequences of a data set (or of one split) in index order. Holds no open files, so it can be sent to other processes.

    `folders`: those with the shards, by the `part` of a row: `directory` alone, but for an index over several data sets.
    """

    def __init__(self, directory: Place, manifest: Manifest, rows: Sequence[IndexRow]) -> None:
        self.directory = directory
        self.manifest = manifest
        self.rows = rows
        self.folders = part_folders(directory, manifest)
        places = rows.places() if isinstance(rows, IndexRows) else {(row.part, row.shard) for row in rows}
        self._paths = {place: self._path(*place) for place in places}
        self._spans: dict[Place, dict[str, Span]] = {}  # by shard, filled when one is first asked for

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[HandSequence]:
        last = {self.shard_path(row): row.id for row in self.rows}
        readers: dict[Place, Iterator[HandSequence]] = {}  # a shard may go on where others of other splits end: open from its first row to its last
        with ExitStack() as opened:
            for row in self.rows:
                path = self.shard_path(row)
                if path not in readers:
                    readers[path] = opened.enter_context(closing(read_shard(path)))
                sequence = next(readers[path], None)
                if sequence is None or sequence.key != row.key:
                    raise _disagreement(path)
                yield sequence
                if row.id == last[path] and next(readers[path], None) is not None:
                    raise _disagreement(path)

    def __getitem__(self, item: int | str) -> HandSequence:
        """The sequence at a position (from the end if negative) or of a key; a UserError for a key that several parts have."""
        row = self.rows[self._position(item) if isinstance(item, str) else item]
        path = self.shard_path(row)
        if path not in self._spans:
            self._spans[path] = shard_spans(path)
        if row.key not in self._spans[path]:
            raise _disagreement(path)
        return read_span(path, self._spans[path][row.key])

    def shard_path(self, row: IndexRow) -> Place:
        """The shard in which the sequence of one of `rows` lies."""
        return self._paths[row.part, row.shard]

    @cached_property
    def _positions(self) -> dict[str, int]:
        keys = self.rows.keys() if isinstance(self.rows, IndexRows) else [row.key for row in self.rows]
        return {key: position for position, key in enumerate(keys)}

    def _position(self, key: str) -> int:
        position = self._positions[key]
        if len(self._positions) < len(self.rows):
            places = [place for place, row in enumerate(self.rows) if row.key == key]
            if len(places) > 1:
                raise UserError(f"{self.directory}: several of its parts have a sequence {key}; take it by its position: {', '.join(map(str, places))}")
        return position

    def _path(self, part: int, shard: str) -> Place:
        """Where a shard lies; an index from outside must not lead out of the folders."""
        if not 0 <= part < len(self.folders) or not SHARD_NAME.fullmatch(shard):
            raise UserError(f"{self.directory / INDEX_NAME} names a shard {shard!r} in part {part}, which seqgen would not; fetch or generate it again")
        return self.folders[part] / SHARD_FOLDER / shard


def _disagreement(path: Place) -> UserError:
    return UserError(f"{path} does not hold the sequences that the index lists for it; fetch or generate the data set again")


def open_dataset(directory: str | Place, split: str | None = None) -> Dataset:
    """The finished data set in a folder, or at the URL of a store, whole or one split of it."""
    directory = place_of(directory)
    manifest, rows = read_manifest(directory), read_rows(directory)
    if split is not None and split not in manifest.counts["splits"]:
        raise UserError(f"{directory} has no split {split!r}; it has {', '.join(manifest.counts['splits'])}")
    return Dataset(directory, manifest, rows if split is None else rows.of_split(split))
