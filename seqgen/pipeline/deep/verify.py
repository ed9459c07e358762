"""`seqgen verify --deep` and `--repair`: what a data set's config and this machine know of it beyond its hashes.

    every clip           its labels derived again from its parameters and pictures (`seqgen.pipeline.deep.rederive`)
    a share of them      made again and compared byte for byte, on a like platform
    what is bad          made again, exactly
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from seqgen.dataset.claim import identity_of
from seqgen.dataset.manifest import Manifest, read_manifest
from seqgen.dataset.verify import Fault, verify_dataset
from seqgen.errors import UserError
from seqgen.pipeline.deep.again import remade_faults
from seqgen.pipeline.deep.origin import Reopened, reopen
from seqgen.pipeline.deep.rederive import contradictions
from seqgen.pipeline.deep.repair import make_unfinished
from seqgen.pipeline.deep.restage import open_deriver
from seqgen.pipeline.run import generate_dataset
from seqgen.places import Place

MIN_REMADE = 100  # clips that a deep check makes again at least: a small data set whole
Say, Report = Callable[[str], None], Callable[[int, int], None]


def verify_deeply(directory: Place, *, percent: float, rng: np.random.Generator, say: Say, report: Report) -> list[Fault]:
    """All faults of a data set, its content included; of an index over several, those of its parts too."""
    manifest = _manifest(directory)
    if manifest and manifest.parts:
        faults = verify_dataset(directory, report=report)
        for part in manifest.parts:
            folder = directory / part.path
            if identity_of(folder) == part.identity:  # else that is one of the faults
                found = verify_deeply(folder, percent=percent, rng=rng, say=say, report=report)
                faults += [replace(fault, file=os.path.join(part.path, fault.file)) for fault in found]
        return list(dict.fromkeys(faults))
    reopened = reopen(directory, say)
    deriver = open_deriver(reopened.config, reopened.assets.hand)
    faults = verify_dataset(directory, inspect=lambda sequence: contradictions(sequence, deriver), report=report)
    return faults + _made_again(directory, reopened, drawn_ids(reopened.config.sequences, percent, rng), say, report)


def drawn_ids(sequences: int, percent: float, rng: np.random.Generator) -> list[int]:
    """The clips that a deep check makes again, rising: so many percent of all, MIN_REMADE at least."""
    count = min(sequences, max(MIN_REMADE, round(sequences * percent / 100)))
    return sorted(rng.choice(sequences, count, replace=False).tolist())


def repair(directory: Place, faults: Sequence[Fault], *, workers: int | None, say: Say) -> None:
    """Makes the bad shards of a data set again, and its index and manifest where any of it is at fault. A UserError for an index over several data sets."""
    reopened = reopen(directory, say)
    lacking = make_unfinished(directory, reopened, {fault.file for fault in faults})
    say(f"making again: {', '.join(lacking) if lacking else 'dataset.json and index.parquet'}")
    generate_dataset(reopened.config.model_copy(update={"workers": workers}), directory, content=reopened.origin.config, say=say)
    if reopened.manifest:
        _tell_other_bytes(reopened, read_manifest(directory), say)


def _made_again(directory: Place, reopened: Reopened, ids: Sequence[int], say: Say, report: Report) -> list[Fault]:
    """Clips that come out otherwise. On another platform that is none of their faults, and said instead."""
    say(f"making {len(ids)} of {reopened.config.sequences} sequences again")
    faults = remade_faults(directory, reopened, ids, lambda done: report(done, len(ids)))
    if faults and reopened.differences:
        say(f"{len(faults)} of {len(ids)} came out with other bytes, which counts for nothing here: made on another platform ({'; '.join(reopened.differences)})")
        return []
    return faults


def _tell_other_bytes(before: Reopened, after: Manifest, say: Say) -> None:
    recorded = {shard.name: shard.sha256 for shard in before.manifest.shards}
    other = [shard.name for shard in after.shards if recorded.get(shard.name) != shard.sha256]
    if other:
        why = f": made on another platform ({'; '.join(before.differences)})" if before.differences else ""
        say(f"with another hash than was recorded: {', '.join(other)}{why}")


def _manifest(directory: Place) -> Manifest | None:
    """The manifest, where it can be read."""
    try:
        return read_manifest(directory)
    except UserError:
        return None
