"""A data set checked whole, as it lies in its folder: every hash, count, name, picture and label. What is wrong with one file does not stop the others.

    dataset.json, index.parquet ──> each by itself, then together ──> the names in the folder ──> every shard, read once
    an index over several data sets: its parts, each so, and that its rows are theirs

Nothing is changed. Does not know how clips are made: labels derived again come in as `inspect`.
"""

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import fields, replace
from typing import Any

from seqgen.dataset.encoding import sequence_schema
from seqgen.dataset.index import INDEX_NAME, IndexRow
from seqgen.dataset.manifest import MANIFEST_NAME, SHARD_FOLDER, SHARD_NAME, Part
from seqgen.dataset.merge import merged_rows
from seqgen.dataset.verify.clip import decode_clip
from seqgen.dataset.verify.papers import Papers, paper_faults, read_papers
from seqgen.dataset.verify.shard import Expected, Fault, Inspect, most_bytes, no_more, value_at, verify_shard
from seqgen.dataset.verify.walk import Clip, read_clips
from seqgen.errors import UserError
from seqgen.files import PARTIAL_GLOB, file_digest
from seqgen.places import Place
from seqgen.store_errors import StoreError

__all__ = ["Fault", "verify_dataset"]
Report = Callable[[int, int], None]


def verify_dataset(directory: Place, *, inspect: Inspect = no_more, report: Report = lambda checked, total: None) -> list[Fault]:
    """All faults of the finished data set in a folder, none for a sound one. A UserError where there is no data set.

    `inspect` is told each clip that has no fault by then and returns what else is wrong with it; `report` how many sequences of how many have been checked.
    """
    try:
        names = [path.name for path in directory.iterdir()]
    except StoreError:
        raise
    except OSError as error:
        raise UserError(f"{directory}: no folder with a data set ({error.strerror})") from error
    if not {MANIFEST_NAME, INDEX_NAME, SHARD_FOLDER} & set(names):
        raise UserError(f"{directory} holds no data set: neither {MANIFEST_NAME} nor {INDEX_NAME} nor {SHARD_FOLDER}")
    papers, faults = _verify_papers(directory)
    if _is_merged(papers):
        return faults + _verify_parts(directory, papers, inspect, report)
    return faults + _verify_shards(directory, papers, inspect, report)


def _verify_papers(directory: Place) -> tuple[Papers, list[Fault]]:
    papers, faults = read_papers(directory)
    return papers, [*faults, *paper_faults(papers)]


def _is_merged(papers: Papers) -> bool:
    """Whether it is an index over several data sets."""
    return bool(papers.manifest.parts) if papers.manifest else value_at(papers.origin, "parts") is not None


def _verify_shards(directory: Place, papers: Papers, inspect: Inspect, report: Report) -> list[Fault]:
    """The folder and the shards in it."""
    names, records = _shard_names(directory, papers), {shard.name: shard for shard in papers.manifest.shards} if papers.manifest else {}
    rows: dict[str, list[IndexRow]] = {}
    for row in papers.rows or ():
        rows.setdefault(row.shard, []).append(row)
    known = [Expected(records.get(name), tuple(rows.get(name, ())) if papers.rows is not None else None, papers.index_sound, papers.config, None) for name in names]
    schema = _schema(directory, names, known)
    faults, checked = [*_foreign_files(directory, names, papers)], 0
    due = [expected.record.sequences if expected.rows is None and expected.record else len(expected.rows or ()) for expected in known]
    for name, expected, count in zip(names, known, due, strict=True):
        faults += verify_shard(directory, name, replace(expected, schema=schema), inspect)
        checked += count
        report(checked, sum(due))
    return faults


def _shard_names(directory: Place, papers: Papers) -> list[str]:
    """The shards to look into: those of the manifest, unless only the index is sound or can be read; where neither can, those that are there."""
    if papers.manifest is not None and (papers.manifest_sound or papers.rows is None):
        names = [shard.name for shard in papers.manifest.shards]
    else:
        names = _files(directory / SHARD_FOLDER) if papers.rows is None else [row.shard for row in papers.rows]
    return [name for name in dict.fromkeys(names) if SHARD_NAME.fullmatch(name)]


def _schema(directory: Place, names: Sequence[str], known: Sequence[Expected]) -> dict[str, Any] | None:
    """What all clips have in common, from the first one that is as the index lists it, or if none is, as it should be."""
    for name, expected in zip(names, known, strict=True):
        if not (directory / SHARD_FOLDER / name).is_file():  # a pipe would be waited for
            continue
        digests = {row.key: row.sha256 for row in expected.rows or ()}
        with closing(read_clips(directory / SHARD_FOLDER / name, most_bytes(expected.config))) as found:
            for clip in found:
                if isinstance(clip, Clip) and clip.data is not None and (expected.rows is None or hashlib.sha256(clip.data).hexdigest() == digests.get(clip.key)):
                    sequence, faults = decode_clip(clip.key, dict(clip.files()))
                    if sequence is not None and not faults:
                        return sequence_schema(sequence)
    return None


def _foreign_files(directory: Place, names: Sequence[str], papers: Papers) -> Iterator[Fault]:
    """What a finished data set has no use for: anything else among the shards, and what a killed run left."""
    shards = directory / SHARD_FOLDER
    lost = [shard for shard in (papers.manifest.shards if papers.manifest else ()) if not (shards / shard.name).exists()]
    for name in _files(shards):
        if name not in names:
            path = shards / name
            alike = [shard for shard in lost if path.is_file() and path.stat().st_size == shard.bytes and file_digest(path) == shard.sha256]
            yield Fault(name, None, f"is {alike[0].name} under another name" if alike else "does not belong to the data set")
    for path in sorted(directory.glob(PARTIAL_GLOB)):
        yield Fault(path.name, None, "does not belong to the data set: half a file, which a killed run left")


def _files(folder: Place) -> list[str]:
    """The names in a folder, none where there is none."""
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


def _verify_parts(directory: Place, papers: Papers, inspect: Inspect, report: Report) -> list[Fault]:
    """The parts of an index over several data sets, by their folders as seen from here, and that its rows are theirs."""
    faults = [*_foreign_files(directory, [], papers)]
    if papers.manifest is None:
        return [*faults, Fault(MANIFEST_NAME, None, "where the parts of this index lie, it alone says; merge them again")]
    rows = []
    for part in papers.manifest.parts:
        theirs, found = _verify_part(directory / part.path, part, inspect, report)
        faults += [replace(fault, file=os.path.join(part.path, fault.file)) for fault in found]
        rows.append(theirs)
    if papers.rows is not None and None not in rows:
        faults += _rows_of_others(papers.rows, rows)
    return faults


def _verify_part(folder: Place, part: Part, inspect: Inspect, report: Report) -> tuple[tuple[IndexRow, ...] | None, list[Fault]]:
    """Rows and faults of one part."""
    if not folder.is_dir():
        return None, [Fault(MANIFEST_NAME, None, "is missing, with the whole folder: a part of the index")]
    papers, faults = _verify_papers(folder)
    if _is_merged(papers):
        return None, [*faults, Fault(MANIFEST_NAME, None, "is itself an index over several data sets")]
    if papers.manifest is not None and papers.manifest.identity != part.identity:
        faults.append(Fault(MANIFEST_NAME, None, "is of another data set than the one that was merged"))
    return papers.rows, faults + _verify_shards(folder, papers, inspect, report)


def _rows_of_others(rows: Sequence[IndexRow], parts: Sequence[Sequence[IndexRow]]) -> Iterator[Fault]:
    """Rows of an index that are not those of its parts, one part after the other."""
    try:
        due = merged_rows(parts)
    except UserError as error:
        yield Fault(INDEX_NAME, None, str(error))
        return
    if len(rows) != len(due):
        yield Fault(INDEX_NAME, None, f"lists {len(rows)} sequences, its parts have {len(due)}")
    for ours, theirs in zip(rows, due, strict=False):
        other = [field.name for field in fields(IndexRow) if getattr(ours, field.name) != getattr(theirs, field.name)]
        if other:
            yield Fault(INDEX_NAME, ours.key, f"sequence {ours.id}: {', '.join(other)} not as in its part {theirs.part}")
