"""Other people's data sets as clips. `open_clips` finds out which one a folder holds.

    source = open_clips("data/FreiHAND_pub_v2", split="train")      # a `seqgen.dataset.clip.ClipSource`
    source = Stills(open_clips("data/STB", split="train"), stride=5)
"""

import logging
from collections.abc import Sequence
from pathlib import Path

from seqgen.benchmarks.first_contact import check_labels, check_pictures
from seqgen.benchmarks.folder import LABELS_FILE, LabelledFolder
from seqgen.benchmarks.freihand import Freihand
from seqgen.benchmarks.stb import Stb, looks_like_stb
from seqgen.benchmarks.stills import Stills
from seqgen.dataset.clip import ClipSource, PictureKind
from seqgen.errors import UserError

__all__ = ["Freihand", "LabelledFolder", "Stb", "Stills", "check_labels", "check_pictures", "open_clips"]

log = logging.getLogger(__name__)
FREIHAND_SPLITS = {"train": "training", "training": "training", "test": "evaluation", "evaluation": "evaluation"}
LOOKED_FOR = {
    "dataset.json": "a data set of seqgen",
    "training_xyz.json or evaluation_xyz.json": "FreiHAND",
    "labels/B1Counting_SK.mat and the like": "STB",
    LABELS_FILE: "a folder of labelled pictures",
}


def open_clips(path: str | Path, *, split: str | None = None, pictures: Sequence[PictureKind] = ("rgb", "mask")) -> ClipSource:
    """The clips of a folder, whatever data set it holds, after a first look at labels and pictures (not of our own data sets, which are checked as they are made).

    `pictures`: what to read of each frame; others' data sets give what they have, and are refused (UserError) where colours are not enough.
    `split`: "train", "val" or "test" where the data set has it. Without one: all of a data set of seqgen or a labelled folder, else what is for training.
    """
    path = Path(path)
    if not path.is_dir():
        raise UserError(f"{path}: no such folder")
    if (path / "dataset.json").is_file():
        from seqgen.dataset import open_dataset
        from seqgen.dataset.clips import DatasetClips

        return DatasetClips(open_dataset(path, split), pictures=pictures)
    source = _open_benchmark(path, split)
    if {"depth", "depth_sensor"} & set(pictures):
        raise UserError(f"{path}: has colours only, and this network sees depth; give a data set of seqgen")
    log.info("%s", source.verdict)
    log.info("%s", check_pictures(source))
    return source


def _open_benchmark(path: Path, split: str | None) -> Freihand | Stb | LabelledFolder:
    if any((path / f"{name}_{kind}.json").is_file() for name in ("training", "evaluation") for kind in ("xyz", "K")):
        return Freihand(path, FREIHAND_SPLITS[_known(split or "training", FREIHAND_SPLITS, path, "FreiHAND")])
    if looks_like_stb(path):
        return Stb(path, _known(split or "train", {"train": "", "test": ""}, path, "STB"))
    if (path / LABELS_FILE).is_file():
        if split is not None:
            raise UserError(f"{path}: a folder of labelled pictures has no splits, got {split!r}; keep each split in a folder of its own")
        return LabelledFolder(path)
    raise UserError(f"{path}: holds no data set known here; looked for " + ", ".join(f"{name} ({what})" for name, what in LOOKED_FOR.items()))


def _known(split: str, splits: dict[str, str], path: Path, name: str) -> str:
    if split not in splits:
        raise UserError(f"{path}: {name} has no split {split!r}; it has {', '.join(splits)}")
    return split
