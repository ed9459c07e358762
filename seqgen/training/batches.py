"""Batches to train on: clips of any sources in an order of their own in each epoch, cut to length, augmented, read by other processes.

    epoch ──> order of the clips ──> windows of `frames` frames ──> batches of one length ──> readers: read, augment, collate ──> Batch

The order is a function of (seed, epoch), the window and the look of a clip of (seed, epoch, its place among all clips): so any number of readers gives the
same batches, and an epoch can be entered in its middle without reading what came before. Stills go along as clips of one frame.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int64
from pydantic import Field
from torch.utils.data import DataLoader, Dataset

from seqgen.config import Section
from seqgen.dataset.clip import ClipSource, LabelledClip, MadeClips
from seqgen.errors import UserError
from seqgen.estimators.views.batch import Batch
from seqgen.estimators.views.feed import Input, sample_of
from seqgen.estimators.views.sample import Sample, collate
from seqgen.readers import reader_options
from seqgen.training.augment import AugmentConfig, augmented
from seqgen.training.augment_depth import DepthAugmentConfig, augmented_depth

ORDER, LOOK = 0, 1  # concerns with streams of their own
Augment = AugmentConfig | DepthAugmentConfig  # of pictures, of depth


class DataConfig(Section):
    frames: int = Field(10, ge=1, le=1000)
    """length of the clips, frames; sources of stills give clips of one frame"""
    stride: int = Field(1, ge=1, le=100)
    """stored frames from one frame of a clip to the next"""
    batch: int = Field(8, ge=1, le=4096)
    """clips a step"""
    static: bool = False
    """the same frames as clips of one frame, batch x frames of them a step ("static synthetic")"""
    readers: int = Field(2, ge=0, le=128)
    """processes that read; 0: the training process itself"""


_Task = tuple[int, list[int]]  # an epoch and the places that go into a batch


class _Place(NamedTuple):
    """A clip of a source, or with `static` one frame of its window: the one number `still`, else -1. `clip` counts clips over all sources."""

    source: int
    position: int
    clip: int
    length: int
    still: int


class Batches:
    """The batches of any epoch. One iterator at a time: the readers live on from epoch to epoch and serve one order."""

    def __init__(
        self, sources: Sequence[ClipSource], data: DataConfig, input: Input, augment: Augment | None, *, seed: int, hand: str | None = None, whole: bool = False
    ) -> None:
        """`augment`: None for clips as they are. `hand` as in `make_sample`. `whole`: also the smaller batches at an epoch's end, which training leaves out.

        With several sources a batch's keys are "source/clip". UserError when there are no clips, or when a source has shorter ones than asked for (but stills, which
        are taken as they are).
        """
        self.data, self.seed, self.whole = data, seed, whole
        self._places = _places(sources, data)
        self._reading = _Reading(tuple(sources), self._places, data, input, augment, seed, hand)
        self.num_batches = len(self._plan(0))  # the same in all epochs
        self._order: list[_Task] = []  # what the loader goes through: filled for each epoch
        self._loader: DataLoader[Any] | None = None

    def of_epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """The epoch's batches from number `start` on. UserError for a clip that cannot be read."""
        self._order[:] = [(epoch, places) for places in self._plan(epoch)[start:]]
        for batch in self._start_readers():
            if isinstance(batch, UserError):
                raise batch
            yield batch

    def close(self) -> None:
        """Ends the readers; the next epoch would start new ones."""
        self._loader = None

    def _plan(self, epoch: int) -> list[list[int]]:
        """Which places go into each batch: in shuffled order, a batch is due when it has all its clips of one length."""
        size = self.data.batch * (self.data.frames if self.data.static else 1)
        lengths = self._places[:, _Place._fields.index("length")].tolist()
        plan: list[list[int]] = []
        waiting: dict[int, list[int]] = defaultdict(list)
        for place in _stream(self.seed, ORDER, epoch).permutation(len(lengths)).tolist():
            group = waiting[lengths[place]]
            group.append(place)
            if len(group) == size:
                plan.append(waiting.pop(lengths[place]))
        full = {lengths[group[0]] for group in plan}
        return plan + [group for length, group in waiting.items() if self.whole or length not in full]

    def _start_readers(self) -> DataLoader[Any]:
        """The loader, made when first asked for."""
        if self._loader is None:
            self._loader = DataLoader(self._reading, batch_size=None, sampler=self._order, **reader_options(self.data.readers, __name__))
        return self._loader


@dataclass(frozen=True)
class _Reading(Dataset):
    """What a reader holds: all it needs to make any batch."""

    sources: tuple[ClipSource, ...]
    places: Int64[np.ndarray, "places 5"]  # rows are `_Place`s: a data set may have a million
    data: DataConfig
    input: Input
    augment: Augment | None
    seed: int
    hand: str | None

    def __getitem__(self, task: _Task) -> Batch | UserError:
        """A batch. The user's mistakes come back as values: the loader would wrap a raised one in the reader's traceback."""
        epoch, numbers = task
        places = [_Place(*self.places[number].tolist()) for number in numbers]
        try:
            return collate([self._sample(clip, epoch, place) for clip, place in zip(self._clips(epoch, places), places, strict=True)])
        except UserError as error:
            return error

    def _clips(self, epoch: int, places: list[_Place]) -> Iterator[LabelledClip]:
        """The clips of a batch: read one by one; those of a source that makes them, made together."""
        wanted = [(place, self._frames(epoch, place)) for place in places]
        makers = {number: source for number, source in enumerate(self.sources) if isinstance(source, MadeClips)}
        made = {number: maker.make(epoch, [(place.position, frames) for place, frames in wanted if place.source == number]) for number, maker in makers.items()}
        for place, frames in wanted:
            yield next(made[place.source]) if place.source in made else self.sources[place.source].read(place.position, frames)

    def _frames(self, epoch: int, place: _Place) -> list[int]:
        """Which frames of a clip are wanted."""
        window = _window(self.sources[place.source].num_frames(place.position), self.data, _stream(self.seed, LOOK, epoch, place.clip))
        return window if place.still < 0 else [window[place.still]]

    def _sample(self, clip: LabelledClip, epoch: int, place: _Place) -> Sample:
        if len(self.sources) > 1:  # data sets number their clips alike
            clip = replace(clip, key=f"{self.sources[place.source].name}/{clip.key}")
        if self.augment is None:
            return sample_of(clip, self.input, hand=self.hand)
        look = _stream(self.seed, LOOK, epoch, place.clip, 1 + place.still)
        make = augmented if isinstance(self.augment, AugmentConfig) else augmented_depth
        return make(clip, self.input, self.augment, look, hand=self.hand)


def _places(sources: Sequence[ClipSource], data: DataConfig) -> Int64[np.ndarray, "places 5"]:
    """A `_Place` a row: all clips of all sources in their order, frame by frame with `static`."""
    clips = [(number, position) for number, source in enumerate(sources) for position in range(len(source))]
    if not clips:
        raise UserError(f"{', '.join(source.name for source in sources) or 'no data set'}: there are no clips to read; give data sets that have some in this split")
    places = []
    for clip, (source, position) in enumerate(clips):
        length = _length(sources[source], position, data)
        if data.static:
            places += [_Place(source, position, clip, 1, still) for still in range(length)]
        else:
            places.append(_Place(source, position, clip, length, -1))
    return np.array(places, np.int64)


def _length(source: ClipSource, position: int, data: DataConfig) -> int:
    """How many frames are taken of a clip."""
    there, needed = source.num_frames(position), _extent(data)
    if there == 1:
        return 1
    if there < needed:
        stride = f" with stride {data.stride}" if data.stride > 1 else ""
        raise UserError(f"{source.name}: clip {source.key(position)} has {there} frames, but frames = {data.frames}{stride} takes {needed}; ask for fewer or give longer clips")
    return data.frames


def _extent(data: DataConfig) -> int:
    """How many stored frames a window spans."""
    return (data.frames - 1) * data.stride + 1


def _window(there: int, data: DataConfig, rng: np.random.Generator) -> list[int]:
    """The frames to read of a clip of `there` frames."""
    if there == 1:
        return [0]
    start = int(rng.integers(there - _extent(data) + 1))
    return list(range(start, start + _extent(data), data.stride))


def _stream(seed: int, *concern: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=concern))
