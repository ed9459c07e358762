"""Other people's data sets as clips. `open_clips` finds out which one of KNOWN a folder holds.

    source = open_clips("data/FreiHAND_pub_v2", split="train")      # a `seqgen.dataset.clip.ClipSource`
    source = Stills(open_clips("data/STB", split="train"), stride=5)

To add one: a `ClipSource` with a `verdict`, and an entry in KNOWN.
"""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from seqgen.benchmarks.depth_contact import check_depth
from seqgen.benchmarks.first_contact import check_labels, check_pictures
from seqgen.benchmarks.folder import LABELS_FILE, LabelledFolder
from seqgen.benchmarks.freihand import Freihand
from seqgen.benchmarks.hands17 import Hands17, looks_like_hands17
from seqgen.benchmarks.icvl import Icvl, looks_like_icvl
from seqgen.benchmarks.msra import Msra, fold_of, looks_like_msra
from seqgen.benchmarks.nyu import Nyu, looks_like_nyu
from seqgen.benchmarks.rhd import Rhd, looks_like_rhd
from seqgen.benchmarks.stb import Stb, looks_like_stb
from seqgen.benchmarks.stills import Stills
from seqgen.dataset.clip import ClipSource, PictureKind
from seqgen.errors import UserError

__all__ = ["Freihand", "Hands17", "Icvl", "LabelledFolder", "Msra", "Nyu", "Rhd", "Stb", "Stills", "check_labels", "check_pictures"]
__all__ += ["data_set_name", "holds_data_set", "open_clips"]

log = logging.getLogger(__name__)


class Benchmark(ClipSource, Protocol):
    """Another's data set as clips; `verdict` is what the first look at its labels said."""

    verdict: str


class Known(NamedTuple):
    """A data set known here: what tells its folder from others, in words and as a test; how a split of it is opened; whether it is read as depth, else as colours."""

    looked_for: str
    is_here: Callable[[Path], bool]
    open: Callable[[Path, str | None], Benchmark]
    depth: bool = False


def open_clips(path: str | Path, *, split: str | None = None, pictures: Sequence[PictureKind] = ("rgb", "mask")) -> ClipSource:
    """The clips of a folder, whatever data set it holds, after a first look at labels and pictures (not of our own data sets, which are checked as they are made).

    `pictures`: what to read of each frame; others' data sets give what they have, and are refused (UserError) where that is colours for depth or depth for colours.
    `split`: "train", "val" or "test" where the data set has it; MSRA's "train-P3" and "test-P3" hold subject P3 out.
    Without one: all of a data set of seqgen or a labelled folder, else what is for training.
    """
    path = Path(path)
    if not path.is_dir():
        raise UserError(f"{path}: no such folder")
    if (path / "dataset.json").is_file():
        from seqgen.dataset import open_dataset
        from seqgen.dataset.clips import DatasetClips

        return DatasetClips(open_dataset(path, split), pictures=pictures)
    known = KNOWN[data_set_name(path)]
    wants_depth = bool({"depth", "depth_sensor"} & set(pictures))
    if wants_depth and not known.depth:
        raise UserError(f"{path}: has colours only, and this network sees depth; give a data set of seqgen, or one of depth")
    if known.depth and not wants_depth:
        raise UserError(f"{path}: is read as depth only, and this network sees colours; give a data set with colours")
    source = known.open(path, split)
    log.info("%s", source.verdict)
    log.info("%s", check_depth(source) if known.depth else check_pictures(source))
    return source


def holds_data_set(path: Path) -> bool:
    """Whether a folder holds a data set that `open_clips` opens, ours or another's."""
    return (path / "dataset.json").is_file() or any(known.is_here(path) for known in KNOWN.values())


def data_set_name(path: Path) -> str:
    """Which one of KNOWN a folder holds; UserError for none of them."""
    for name, known in KNOWN.items():
        if known.is_here(path):
            return name
    looked_for = {"a data set of seqgen": "dataset.json"} | {name: known.looked_for for name, known in KNOWN.items()}
    raise UserError(f"{path}: holds no data set known here; looked for " + ", ".join(f"{files} ({name})" for name, files in looked_for.items()))


def _split(split: str | None, splits: Sequence[str], path: Path, name: str) -> str:
    """The split asked for, or the first."""
    if split not in (None, *splits):
        raise UserError(f"{path}: {name} has no split {split!r}; it has {', '.join(splits)}")
    return splits[0] if split is None else split


def _looks_like_freihand(path: Path) -> bool:
    return any((path / f"{name}_{kind}.json").is_file() for name in ("training", "evaluation") for kind in ("xyz", "K"))


def _open_freihand(path: Path, split: str | None) -> Freihand:
    return Freihand(path, FREIBURG_SPLITS[_split(split, tuple(FREIBURG_SPLITS), path, "FreiHAND")])


def _open_rhd(path: Path, split: str | None) -> Rhd:
    return Rhd(path, FREIBURG_SPLITS[_split(split, tuple(FREIBURG_SPLITS), path, "RHD")])


def _open_msra(path: Path, split: str | None) -> Msra:
    fold = fold_of("train" if split is None else split)
    if fold is None:
        raise UserError(f"{path}: MSRA has no split {split!r}; it has train and test with P0 held out, and train-P3 and test-P3 with P3 held out, and so on")
    half, held_out = fold
    return Msra(path, half, held_out=held_out)


def _open_hands17(path: Path, split: str | None) -> Hands17:
    if split in ("test", "evaluation"):
        raise UserError(f"{path}: HANDS17's test labels are not public; take the split val, a share of the training pictures")
    return Hands17(path, _split(split, ("train", "val", "training"), path, "HANDS17"))


def _open_nyu(path: Path, split: str | None) -> Nyu:
    return Nyu(path, _split(split, ("train", "test"), path, "NYU"))


def _open_icvl(path: Path, split: str | None) -> Icvl:
    return Icvl(path, _split(split, ("train", "test"), path, "ICVL"))


def _open_stb(path: Path, split: str | None) -> Stb:
    return Stb(path, _split(split, ("train", "test"), path, "STB"))


def _looks_like_folder(path: Path) -> bool:
    return (path / LABELS_FILE).is_file()


def _open_folder(path: Path, split: str | None) -> LabelledFolder:
    if split is not None:
        raise UserError(f"{path}: a folder of labelled pictures has no splits, got {split!r}; keep each split in a folder of its own")
    return LabelledFolder(path)


FREIBURG_SPLITS = {"train": "training", "training": "training", "test": "evaluation", "evaluation": "evaluation"}  # of FreiHAND and RHD, as their readers call them
KNOWN = {
    "FreiHAND": Known("training_xyz.json or evaluation_xyz.json", _looks_like_freihand, _open_freihand),
    "RHD": Known("training/anno_training.pickle or evaluation/anno_evaluation.pickle", looks_like_rhd, _open_rhd),
    "MSRA": Known("P0/1/joint.txt and the like", looks_like_msra, _open_msra, depth=True),
    "HANDS17": Known("training/Training_Annotation.txt", looks_like_hands17, _open_hands17, depth=True),
    "NYU": Known("train/joint_data.mat or test/joint_data.mat", looks_like_nyu, _open_nyu, depth=True),
    "ICVL": Known("Training/labels.txt or Testing/test_seq_1.txt", looks_like_icvl, _open_icvl, depth=True),
    "STB": Known("labels/B1Counting_SK.mat and the like", looks_like_stb, _open_stb),
    "a folder of labelled pictures": Known(LABELS_FILE, _looks_like_folder, _open_folder),
}
