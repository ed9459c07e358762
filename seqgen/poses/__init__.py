"""What a hand can do. This is the door to pose banks: the built-in one, or a file of annotations in a named format; whole, or in parts for splits.

Banks are made once and kept in the cache, as files that processes share.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from seqgen.poses.bank import Annotations, PoseBank, PosesConfig, build_bank, split_rows
from seqgen.poses.formats import read_annotations
from seqgen.poses.stored import folder_of, kept_bank, source_of_files
from seqgen.splits import SPLITS, SplitConfig, SplitName

BUILT_IN_SEED = 0


def load_bank(path: str | Path, format_name: str, *, side: str = "right") -> PoseBank:
    """The bank of an annotation file. A UserError when the file is not what it is said to be."""
    return build_bank(read_annotations(Path(path), format_name, side=side)[0])


def load_built_in_bank(num_rows: int) -> PoseBank:
    """The built-in bank: the same rows for everyone."""
    return _kept_bank_of(PosesConfig(rows=num_rows), _source_of(PosesConfig(rows=num_rows)))[0]


def load_bank_of(config: PosesConfig, split: SplitConfig, say: Callable[[str], None]) -> tuple[PoseBank, dict[SplitName, PoseBank]]:
    """The bank a config names, and its disjoint parts for the splits in use; what the checks of a file found is said."""
    source = _source_of(config)
    bank, verdict = _kept_bank_of(config, source)
    if verdict:
        say(f"{config.bank}: {verdict}")
    return bank, _parts(bank, split, source)


def _source_of(config: PosesConfig) -> dict[str, Any]:
    """What its bank depends on beside code: nothing but its size where it is built in, else the content of files."""
    if config.bank == "built-in":
        return {"built-in": BUILT_IN_SEED, "rows": config.rows}
    return source_of_files(Path(config.bank), config.format, config.side)


def _kept_bank_of(config: PosesConfig, source: Mapping[str, Any]) -> tuple[PoseBank, str]:
    path = Path(config.bank)

    def build() -> tuple[PoseBank, str]:
        if config.bank == "built-in":
            return _built_in(config.rows), ""
        annotations, verdict = read_annotations(path, config.format, side=config.side)
        return build_bank(annotations), verdict.removeprefix(f"{path}: ")

    bank, verdict = kept_bank(folder_of(source), build)
    return replace(bank, name="built-in" if config.bank == "built-in" else f"{config.format}:{path.absolute().name}"), verdict


def _built_in(num_rows: int) -> PoseBank:
    from seqgen.poses.synthesis import synthesise_poses

    poses = synthesise_poses(num_rows, seed=BUILT_IN_SEED)
    return build_bank(Annotations("built-in", "CC0-1.0", True, poses.joints_m, poses.subject))


def _parts(bank: PoseBank, split: SplitConfig, source: Mapping[str, Any]) -> dict[SplitName, PoseBank]:
    """The disjoint parts of a bank; where one split has all, the bank itself."""
    counts = split.counts()
    used = [name for name in SPLITS if counts[name] > 0]
    if len(used) == 1:
        return {used[0]: bank}
    rows = cache(lambda: split_rows(bank, split))
    folders = {name: folder_of({**source, "split": counts, "part": name}) for name in used}
    return {name: replace(kept_bank(folder, lambda name=name: (bank.subset(rows()[name]), ""))[0], name=bank.name) for name, folder in folders.items()}
