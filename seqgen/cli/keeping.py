"""The commands for data sets that are there: verify, export."""

import argparse
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seqgen.errors import UserError
from seqgen.places import place_of

if TYPE_CHECKING:
    from seqgen.dataset.verify import Fault


def add_commands(commands: Any) -> None:
    """Adds these commands to a parser's."""
    verify = commands.add_parser("verify", help="is a data set whole and true? exit code 1 if not")
    verify.add_argument("dataset", help="folder of a data set, or its URL")
    verify.add_argument("--deep", action="store_true", help="also derive all labels again, and make a share of the sequences again to compare their bytes")
    verify.add_argument("--percent", type=float, metavar="P", help="with --deep: make P percent of the sequences again, a hundred at least (default 1)")
    verify.add_argument("--seed", type=int, metavar="S", help="with --deep: another S makes others again (default 0)")
    verify.add_argument("--repair", action="store_true", help="make the bad shards again, and check once more")
    verify.add_argument("--workers", type=int, metavar="W", help="with --repair: as for generate")
    verify.set_defaults(function=verify_command)

    export = commands.add_parser("export", help="one index over several data sets of one schema, which stay where they are")
    export.add_argument("--merge", nargs="+", action="extend", required=True, metavar="DATASET", help="folders of two or more data sets; no shard is copied")
    export.add_argument("--out", metavar="DIR", help="folder for the index (default: beside the first, A+B for A and B)")
    export.set_defaults(function=export_command)


def verify_command(known: argparse.Namespace) -> int:
    """`seqgen verify`: one line for each fault, by file and key."""
    _check_options(known)
    known.dataset = place_of(known.dataset)
    if known.repair and not isinstance(known.dataset, Path):
        raise UserError(f"verify: --repair goes with folders; copy {known.dataset} to one, mend it there and copy it back")
    faults = _faults(known)
    if faults and known.repair:
        from seqgen.pipeline.deep.verify import repair

        _tell(faults)
        repair(known.dataset, faults, workers=known.workers, say=lambda text: print(text, flush=True))
        faults = _faults(known)
    _tell(faults)
    print(f"{known.dataset}: {f'{len(faults)} faults' if faults[1:] else 'one fault' if faults else 'whole'}{', labels derived again' if known.deep else ''}")
    return 1 if faults else 0


def _check_options(known: argparse.Namespace) -> None:
    """Numbers in range, and none that would have no effect."""
    for option, goes_with, most in (("percent", "deep", 100), ("seed", "deep", 2**63), ("workers", "repair", 100_000)):
        value = getattr(known, option)
        if value is not None and not getattr(known, goes_with):
            raise UserError(f"verify: --{option} goes with --{goes_with}")
        if value is not None and not 0 <= value <= most:
            raise UserError(f"verify: --{option} {value}: must be from 0 to {most}")


def _faults(known: argparse.Namespace) -> "list[Fault]":
    """What is wrong with a data set."""
    from seqgen.dataset.verify import verify_dataset

    if not known.deep:
        with _counting("sequences") as report:
            return verify_dataset(known.dataset, report=report)
    try:
        return _deep_faults(known)
    except UserError:  # what cannot be looked at deeply is looked at all the same
        with _counting("sequences") as report:
            _tell(verify_dataset(known.dataset, report=report))
        raise


def _deep_faults(known: argparse.Namespace) -> "list[Fault]":
    import numpy as np

    from seqgen.pipeline.deep.verify import verify_deeply

    with _counting("sequences") as report:
        percent, rng = 1.0 if known.percent is None else known.percent, np.random.default_rng(known.seed or 0)
        return verify_deeply(known.dataset, percent=percent, rng=rng, say=lambda text: print(text, flush=True), report=report)


def _tell(faults: "list[Fault]") -> None:
    for fault in faults:
        print(fault)


@contextmanager
def _counting(what: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on a terminal, nothing elsewhere."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    with Progress(TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task("")
        yield lambda done, total: bar.update(task, completed=done, total=total)


def export_command(known: argparse.Namespace) -> int:
    """`seqgen export`: an index over data sets."""
    from seqgen.dataset.merge import merge_datasets

    if len(known.merge) < 2:
        raise UserError("export: one index goes over two or more data sets; name them all after --merge")
    stored = [text for text in (*known.merge, known.out) if text and not isinstance(place_of(text), Path)]
    if stored:
        raise UserError(f"export: {place_of(stored[0])} is a URL: an index goes over folders; copy the data sets to some, the index can then be copied to a store with them")
    known.merge, out = [Path(text) for text in known.merge], Path(known.out) if known.out else None
    out = out or _beside(known.merge)
    manifest = merge_datasets(known.merge, out)
    splits = ", ".join(f"{count:,} {name}" for name, count in manifest.counts["splits"].items())
    print(f"{out}: {manifest.counts['sequences']:,} sequences ({splits}) of {len(manifest.parts)} data sets, which must stay where they are")
    return 0


def _beside(folders: list[Path]) -> Path:
    """The folder next to the first that is named after all."""
    places = [Path(os.path.abspath(folder)) for folder in folders]
    return places[0].parent / "+".join(place.name for place in places)
