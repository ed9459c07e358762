"""Which clips a run learns from and validates on: opens the data that a config names, folders or what was handed in under a name (`LiveData`)."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np

from seqgen.benchmarks import Stills, open_clips
from seqgen.benchmarks.folder import LABELS_FILE
from seqgen.dataset.clip import ClipSource, LabelledClip, LiveData, MadeClips, PictureKind
from seqgen.errors import UserError
from seqgen.estimators.views.feed import pictures_of
from seqgen.training.batches import Batches
from seqgen.training.config import SourcesConfig, TrainConfig

log = logging.getLogger(__name__)
Live = Mapping[str, LiveData]  # by the names that stand for them among the data sets of a config
NONE: Live = MappingProxyType({})


@dataclass(frozen=True)
class SomeClips:
    """Chosen clips of a source."""

    source: ClipSource
    positions: tuple[int, ...]

    @property
    def name(self) -> str:
        return self.source.name

    def __len__(self) -> int:
        return len(self.positions)

    def key(self, position: int) -> str:
        return self.source.key(self.positions[position])

    def num_frames(self, position: int) -> int:
        return self.source.num_frames(self.positions[position])

    def read(self, position: int, frames: Sequence[int] | None = None) -> LabelledClip:
        return self.source.read(self.positions[position], frames)


def training_batches(config: TrainConfig, live: Live = NONE) -> Batches:
    """The batches to learn from, augmented."""
    data, pictures = config.data, pictures_of(config.input)
    sources = [_first(_stills(_open(path, data.split, pictures, live), data), data.limit) for path in data.train]
    return Batches(sources, data.reading, config.input, config.augment, seed=config.run.seed, hand=hand_of(config))


def validation_batches(config: TrainConfig, live: Live = NONE) -> Batches | None:
    """The batches to validate on, as they are; None where there are no clips for it, or none are wanted."""
    data, pictures = config.data, pictures_of(config.input)
    if data.validation_clips == 0:
        return None
    if data.validation is not None:
        sources = [_open(path, data.validation_split, pictures, live) for path in data.validation]
    else:
        sources = _with_split(data.train, data.validation_split, pictures, live)
    chosen = [_spread(_stills(source, data), data.validation_clips) for source in sources if len(source)]
    if not chosen:
        log.warning("%s: no clips to validate on; name some with data.validation", ", ".join(data.train))
        return None
    return Batches(chosen, data.reading, config.input, None, seed=0, hand=hand_of(config), whole=True)


def _open(path: str, split: str | None, pictures: Sequence[PictureKind], live: Live) -> ClipSource:
    """The clips of a name or a folder; a folder of labelled pictures has no splits and is given whole."""
    if path in live:
        return live[path].clips(split, pictures)
    return open_clips(path, split=None if (Path(path) / LABELS_FILE).is_file() else split, pictures=pictures)


def _with_split(paths: Sequence[str], split: str | None, pictures: Sequence[PictureKind], live: Live) -> list[ClipSource]:
    """The data sets that have this split."""
    sources = []
    for path in paths:
        try:
            sources.append(live[path].clips(split, pictures) if path in live else open_clips(path, split=split, pictures=pictures))
        except UserError as error:
            log.info("not validated on: %s", error)
    return sources


def _stills(source: ClipSource, data: SourcesConfig) -> ClipSource:
    """The source, or single frames of it when those are wanted."""
    if data.stills is not None and isinstance(source, MadeClips):
        raise UserError(f"{source.name}: data.stills takes frames of stored clips; leave it out and make clips of one frame, --generate.clip.frames 1 --data.reading.frames 1")
    return source if data.stills is None else Stills(source, stride=data.stills)


def _first(source: ClipSource, most: int | None) -> ClipSource:
    """The first clips of a source."""
    return source if most is None or most >= len(source) else SomeClips(source, tuple(range(most)))


def _spread(source: ClipSource, most: int) -> ClipSource:
    """At most so many clips, evenly spread over the source."""
    return source if most >= len(source) else SomeClips(source, tuple(np.linspace(0, len(source) - 1, most).astype(int).tolist()))


def hand_of(config: TrainConfig) -> str | None:
    """The hand whose parameters the network learns: labels of another hand's count as unknown."""
    return getattr(config.model, "hand", None)
