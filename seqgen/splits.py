"""Which sequences are for training, validation and test, and what keeps their contents apart.

The split of a sequence is a function of its index alone: blocks of train, then val, then test sequences, repeated. Continuous draws (skin tone, shape)
come from interleaved bands of their range that belong to one split each, so that no split misses a region and none shares a value.
"""

import hashlib
import logging
from collections.abc import Sequence
from typing import Literal, Protocol, TypeVar, runtime_checkable

import numpy as np
from pydantic import NonNegativeInt, model_validator

from seqgen.config import Section

SplitName = Literal["train", "val", "test"]
SPLITS: tuple[SplitName, ...] = ("train", "val", "test")
NUM_BAND_CYCLES = 10

log = logging.getLogger(__name__)


@runtime_checkable
class Named(Protocol):
    """Anything that the splits may share out."""

    @property
    def name(self) -> str: ...


Thing = TypeVar("Thing", bound=Named)


class SplitConfig(Section):
    train: NonNegativeInt = 80
    """training sequences in each block of train + val + test; blocks repeat along the index"""
    val: NonNegativeInt = 10
    """validation sequences in each block"""
    test: NonNegativeInt = 10
    """test sequences in each block"""

    @model_validator(mode="after")
    def _not_empty(self) -> "SplitConfig":
        if self.train + self.val + self.test == 0:
            raise ValueError("train, val and test are all 0; at least one must be positive")
        return self

    def counts(self) -> dict[SplitName, int]:
        """Sequences of each split in one block."""
        return {"train": self.train, "val": self.val, "test": self.test}

    def of(self, index: int) -> SplitName:
        """The split that sequence `index` belongs to."""
        place = index % sum(self.counts().values())
        return "train" if place < self.train else "val" if place < self.train + self.val else "test"

    def banded(self, uniform: float, split: SplitName) -> float:
        """A number in [0, 1) from the bands of `split`, from a uniform draw in [0, 1): each of NUM_BAND_CYCLES cycles is cut in the proportion of the counts."""
        counts = self.counts()
        total = sum(counts.values())
        before = sum(counts[name] for name in SPLITS[: SPLITS.index(split)]) / total
        cycle, within = divmod(uniform * NUM_BAND_CYCLES, 1.0)
        return float(np.clip((cycle + before + within * counts[split] / total) / NUM_BAND_CYCLES, 0.0, np.nextafter(1.0, 0.0)))


def held_apart(things: Sequence[Thing], split: SplitConfig, *, what: str) -> dict[SplitName, list[Thing]]:
    """Things dealt to the splits in use in proportion, in the order of their names' hashes, at least one each; shared, with a warning, where there are too few."""
    used = [name for name in SPLITS if split.counts()[name] > 0]
    if len(things) < len(used):
        log.warning("only %d %s for %d splits: they are shared", len(things), what, len(used))
        return {name: list(things) for name in used}
    order = sorted(things, key=lambda thing: hashlib.sha256(thing.name.encode()).hexdigest())
    total, dealt, begin = sum(split.counts().values()), {}, 0
    for place, name in enumerate(used):
        left = len(used) - place - 1
        count = len(order) - begin if not left else min(max(1, round(len(order) * split.counts()[name] / total)), len(order) - begin - left)
        dealt[name] = order[begin : begin + count]
        begin += count
    return dealt
