"""A config as a data set to learn from that is made while it is learned from: what the command line hands to training under a name such as `generate:quickstart`.

An epoch has as many clips as the config has sequences in the split. The first has those of the data set, the second those that follow, and so on: none comes twice.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from seqgen.dataset.clip import LabelledClip, PictureKind
from seqgen.dataset.clips import NAMES, check_needs, clip_of
from seqgen.dataset.encoding import stored_rgb
from seqgen.dataset.meta import sequence_key
from seqgen.errors import UserError
from seqgen.pipeline.config import GenerateConfig
from seqgen.pipeline.stream import Maker, indices_of, splits_of
from seqgen.splits import SplitName

log = logging.getLogger(__name__)


class GeneratedData:
    """A `LiveData`. Its clips have one `Maker`, whose assets are gathered when the first are wanted; sent to another machine it takes its config alone."""

    def __init__(self, name: str, config: GenerateConfig, say: Callable[[str], None] = log.info) -> None:
        self.name, self.config, self._maker = name, config, Maker(config, say)

    @property
    def content(self) -> dict[str, Any]:
        """What decides the clips, as plain JSON values."""
        return self.config.content()

    def clips(self, split: str | None, pictures: Sequence[PictureKind]) -> "GeneratedClips":
        """The clips of a split, or of all. UserError where the config makes none in it, or not these pictures."""
        there = splits_of(self.config)
        if split not in (None, *there):
            raise UserError(f"{self.name} has no split {split!r}; it has {', '.join(there)}")
        return GeneratedClips(self.name, self._maker, split, pictures)

    def __reduce__(self) -> tuple[Any, ...]:
        return GeneratedData, (self.name, self.config)


class GeneratedClips:
    """A `MadeClips` source: the clips of one split. What the JPEG of the data set would do to the colours is done to them."""

    def __init__(self, name: str, maker: Maker, split: SplitName | None, pictures: Sequence[PictureKind]) -> None:
        check_needs(pictures)
        if "depth_sensor" in pictures and maker.config.sensor.depth == "none":
            raise UserError(f"{name} makes no {NAMES['depth_sensor']}; give a config with a depth camera, sensor.depth = sr300 for example")
        self.name, self.pictures = name, tuple(dict.fromkeys(pictures))
        self._maker, self._indices = maker, indices_of(maker.config, split)
        self._length = self._indices.num_before(maker.config.sequences)

    def __len__(self) -> int:
        return self._length

    def key(self, position: int) -> str:
        """The key of the clip in epoch 0."""
        return sequence_key(self._indices[position])

    def num_frames(self, position: int) -> int:
        return self._maker.config.clip.frames

    def read(self, position: int, frames: Sequence[int] | None = None) -> LabelledClip:
        """A clip of epoch 0."""
        return next(self.make(0, [(position, range(self.num_frames(position)) if frames is None else frames)]))

    def make(self, epoch: int, requests: Sequence[tuple[int, Sequence[int]]]) -> Iterator[LabelledClip]:
        """Clips of any epoch, some of them together."""
        made = self._maker.make(self._indices[epoch * self._length + position] for position, _ in requests)
        for sequence, (_, frames) in zip(made, requests, strict=True):
            clip = clip_of(sequence, self.name, self.pictures, frames)
            yield clip if clip.rgb is None else replace(clip, rgb=stored_rgb(clip.rgb, self._maker.config.output.jpeg_quality))
