"""One index over several data sets of one schema: `seqgen export --merge A B --out C`. No shard is copied or touched.

    C/index.parquet     the rows of A, then those of B: `id` runs from 0, `group` goes with it, `part` says whose shard it is; all else as it was
    C/dataset.json      parts: where A and B are as seen from C, and what they are; config: what theirs have in common but for `sequences`; shards: none

`seqgen.dataset.open_dataset` reads C as it reads A. A part may itself be such an index: its parts are taken in its place. The index comes first and the manifest last;
killed between, the same command finishes it. Within its shard a sequence keeps what it says of itself: key, index and group are those that it has in its part.
Knows nothing of how data sets are made.
"""

import logging
import os
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any, TypeVar

from seqgen.config import config_digest
from seqgen.dataset import Dataset, open_dataset
from seqgen.dataset.claim import no_place, sweep_partial
from seqgen.dataset.encoding import sequence_schema
from seqgen.dataset.hold import held_alone
from seqgen.dataset.index import INDEX_NAME, NO_GROUP, IndexRow, read_origin
from seqgen.dataset.index_writer import describe_index, write_index
from seqgen.dataset.manifest import MANIFEST_NAME, Manifest, Part, build_manifest, is_as_written, missing_files, read_manifest, write_manifest
from seqgen.dataset.provenance import describe_machine
from seqgen.errors import UserError
from seqgen.files import PARTIAL_GLOB, storage_named

DEALT = ("poses", "background", "skin")  # kinds of assets that the splits of a data set share out among them
SAME_CLIPS = ("sequences", "output")  # settings that leave the first clips of a data set as they are
Told = TypeVar("Told")
log = logging.getLogger(__name__)


def merge_datasets(folders: Sequence[Path], out: Path) -> Manifest:
    """Makes the folder `out`, empty or new, an index over the data sets in `folders`, in their order; does nothing where the same one is there whole.

    A UserError for fewer than two, for one that is unfinished or damaged, of another schema than the first, or with clips of another; and for an `out` that holds
    anything else or lies in one of them.
    """
    datasets = [dataset for folder in folders for dataset in _open_parts(folder, out)]
    if len(datasets) < 2:
        raise UserError(f"{', '.join(map(str, folders)) or 'no folder'}: one index goes over two or more data sets; name them all after --merge")
    _check_distinct(datasets)
    schema = _one_schema(datasets)
    _warn_of_leaks(datasets)
    try:
        out.mkdir(parents=True, exist_ok=True)
        with storage_named(out), held_alone(out):
            return _write(out, datasets, schema["frames"])
    except OSError as error:
        raise no_place(out, error) from error


def merged_rows(parts: Sequence[Sequence[IndexRow]]) -> list[IndexRow]:
    """The rows of an index over data sets that have these."""
    rows: list[IndexRow] = []
    for number, own in enumerate(parts):
        ids = {NO_GROUP: NO_GROUP, **{row.id: len(rows) + place for place, row in enumerate(own)}}
        lost = [row for row in own if row.group not in ids]
        if lost:
            raise UserError(f"{INDEX_NAME} of part {number}: sequence {lost[0].key} is of the group of {lost[0].group}, which is not there; fetch or generate the data set again")
        rows += [replace(row, id=ids[row.id], group=ids[row.group], part=number) for row in own]
    return rows


def _open_parts(folder: Path, out: Path) -> list[Dataset]:
    """The data set in a folder, or those that the index there goes over, each whole and not where the merged index is to be."""
    dataset = open_dataset(folder)
    _check_whole(dataset)
    for place in (folder, *dataset.folders):
        if _real(place) in (_real(out), *_real(out).parents):
            raise UserError(f"{out}: lies in {place}, which is to be merged and stays as it is; choose another --out")
    return [dataset] if not dataset.manifest.parts else [part for place in dataset.folders for part in _open_parts(place, out)]


def _check_whole(dataset: Dataset) -> None:
    """Refuses what is not as it was once written; hashes of shards are for `seqgen verify`."""
    directory, manifest = dataset.directory, dataset.manifest
    wrong = missing_files(directory, manifest)
    wrong += [directory / INDEX_NAME] * (not wrong and describe_index(directory) != manifest.index) + [directory / MANIFEST_NAME] * (not is_as_written(directory))
    if wrong or not dataset.rows:
        raise UserError(f"{(wrong or [directory / INDEX_NAME])[0]} is missing, cut off or damaged; `seqgen verify {directory} --repair` may mend it, then merge")


def _check_distinct(datasets: Sequence[Dataset]) -> None:
    """Refuses data sets with clips in common: one given twice, one that is the first part of another, and copies under other names."""
    for one, other in combinations(datasets, 2):
        if one.manifest.identity == other.manifest.identity:
            raise UserError(f"{other.directory}: the same data set as {one.directory}; name each once")
        if _decides_clips(one) == _decides_clips(other):
            less, more = sorted((one, other), key=len)
            raise UserError(f"{less.directory}: its clips are the first of {more.directory}, of the same config and seed; merge data sets of different seeds")
    owners: dict[str, Path] = {}
    for dataset in datasets:
        for row in dataset.rows:
            owner = owners.setdefault(row.sha256, dataset.directory)
            if owner != dataset.directory:
                raise UserError(f"{dataset.directory}: its sequence {row.key} is in {owner} too, byte for byte; merge data sets that have no clips in common")


def _decides_clips(dataset: Dataset) -> tuple[Any, ...]:
    """What two data sets have in common when the clips of one are the first of the other's."""
    return {name: value for name, value in dataset.manifest.config.items() if name not in SAME_CLIPS}, dataset.manifest.seed, dataset.manifest.assets


def _one_schema(datasets: Sequence[Dataset]) -> dict[str, Any]:
    """The schema that all have; a UserError names the first difference."""
    first = _schema_of(datasets[0])
    for dataset in datasets[1:]:
        theirs = _schema_of(dataset)
        for name in (name for name in {**first, **theirs} if first.get(name) != theirs.get(name)):
            other = "a value" if name.startswith("meta.") else "absent"
            told = f"{name} is {theirs.get(name, other)} there, {first.get(name, other)} in {datasets[0].directory}"
            raise UserError(f"{dataset.directory}: {told}; one index goes over data sets of one schema")
    return first


def _schema_of(dataset: Dataset) -> dict[str, Any]:
    """What all clips of a data set have in common, in a flat table; its first clip tells."""
    with closing(iter(dataset)) as sequences:
        shared = sequence_schema(next(sequences))
    frames, height, width = shared["picture shape"][:3]
    there = dict.fromkeys([f".{name}" for name in shared["members"]] + [f"array {name}" for name in shared["labels"]], "present")
    nulls, said = {name: "null" for name in shared["null fields"]}, {f"convention {name}": value for name, value in dataset.manifest.conventions.items()}
    return {"frames": frames, "picture size": f"{width} x {height}", **there, **nulls, **said}


def _warn_of_leaks(datasets: Sequence[Dataset]) -> None:
    """One line where data sets made of the same asset dealt it to their splits in different ways."""
    dealt: dict[tuple[str, str, str], tuple[Any, Dataset]] = {}
    for dataset in datasets:
        config = dataset.manifest.config
        for asset in (asset for asset in dataset.manifest.assets if asset.kind in DEALT):
            manner = [config.get(name) for name in (("split", "poses") if asset.kind == "poses" else ("split",))]
            theirs, other = dealt.setdefault((asset.kind, asset.name, asset.source), (manner, dataset))
            if theirs != manner:
                told = f"{other.directory} and {dataset.directory} are both made of {asset.name} ({asset.kind}) and share it out to their splits in different ways"
                log.warning("%s: what one trains on may be in the other's val or test; do not validate on one what learned from the other", told)
                return


def _write(out: Path, datasets: Sequence[Dataset], frames: int) -> Manifest:
    """Index, then manifest, in a folder that is there and held."""
    manifests = [dataset.manifest for dataset in datasets]
    parts = [Part(_seen_from(out, dataset.directory), dataset.manifest.identity, len(dataset)) for dataset in datasets]
    shared, identity = _shared(manifests), config_digest({"merged": [manifest.identity for manifest in manifests]})
    origin = {"config": shared["config"], "identity": identity, "parts": [{"identity": part.identity, "sequences": part.sequences} for part in parts]}
    if _is_whole(out, origin, parts):
        return read_manifest(out)
    (out / MANIFEST_NAME).unlink(missing_ok=True)
    sweep_partial(out)
    rows = merged_rows([dataset.rows for dataset in datasets])
    index = write_index(out, rows, origin)
    manifest = build_manifest(**shared, identity=identity, frames=frames, shards=[], rows=rows, index=index, run=describe_machine(), parts=parts)
    write_manifest(out, manifest)
    return manifest


def _shared(manifests: Sequence[Manifest]) -> dict[str, Any]:
    """What data sets say together: settings and seed where they agree, assets and left-out arrays of any."""
    seeds = {manifest.seed for manifest in manifests}
    return {
        "config": {name: value for name, value in _in_common([manifest.config for manifest in manifests]).items() if name != "sequences"},
        "seed": seeds.pop() if len(seeds) == 1 else None,
        "assets": list(dict.fromkeys(asset for manifest in manifests for asset in manifest.assets)),
        "left_out": _left_out(manifests),
    }


def _is_whole(out: Path, origin: dict[str, Any], parts: Sequence[Part]) -> bool:
    """Whether this very index is there, with its parts where they are; a UserError where anything else is."""
    names = sorted(path.name for path in out.iterdir() if not path.match(PARTIAL_GLOB))
    if not names:
        return False
    manifest = _read_or_none(read_manifest, out)
    if (manifest is None or manifest.identity != origin["identity"]) and _read_or_none(read_origin, out) != origin:
        raise UserError(f"{out} holds {_held(names, manifest)}choose another --out")
    as_it_was = manifest is not None and is_as_written(out) and not missing_files(out, manifest)
    return as_it_was and manifest.parts == tuple(parts) and manifest.index == describe_index(out)


def _held(names: Sequence[str], manifest: Manifest | None) -> str:
    """What is in a folder of these names, up to what else can be done than to take another folder."""
    if manifest and manifest.parts:
        return "an index over other data sets, or over these before one was grown or made anew; remove it or "
    return "another data set; " if MANIFEST_NAME in names else f"other files ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''}); "


def _read_or_none(read: Callable[[Path], Told], directory: Path) -> Told | None:
    """What a file says, None where it is missing or damaged: it is then written again."""
    try:
        return read(directory)
    except UserError:
        return None


def _seen_from(out: Path, folder: Path) -> str:
    """The way from one folder to another, so that both can be moved together; from the root where they have no place or disk in common."""
    here, there = _real(out), _real(folder)
    near = here.stat().st_dev == there.stat().st_dev and os.path.commonpath([here, there]) != here.anchor
    path = os.path.relpath(there, here) if near else str(there)
    try:
        path.encode()
    except UnicodeEncodeError:
        raise UserError(f"{folder}: its name is no text, which {MANIFEST_NAME} cannot hold; rename it") from None
    return path


def _real(path: Path) -> Path:
    """Where a path leads. `Path.resolve` raises at links in a circle, which the one who opens it says better."""
    return Path(os.path.realpath(path))


def _in_common(tables: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The settings that all tables have, with one value."""
    shared = {}
    for name in (name for name in tables[0] if all(name in table for table in tables)):
        values = [table[name] for table in tables]
        if all(isinstance(value, dict) for value in values):
            shared[name] = _in_common(values)
        elif all(value == values[0] for value in values):
            shared[name] = values[0]
    return shared


def _left_out(manifests: Sequence[Manifest]) -> dict[str, str]:
    """Why arrays are left out, in any of the data sets."""
    names = dict.fromkeys(name for manifest in manifests for name in manifest.left_out)
    return {name: "; ".join(dict.fromkeys(manifest.left_out[name] for manifest in manifests if name in manifest.left_out)) for name in names}
