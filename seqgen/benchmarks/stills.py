"""Any source of clips as one of single pictures, each a clip of one frame: so a network that reads motion is taught from pictures alone."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from seqgen.dataset.clip import ClipSource, LabelledClip


class Stills:
    """Every `stride`-th frame of each clip of a source as a clip of its own; a clip of one frame keeps its key. Decodes that frame only."""

    def __init__(self, source: ClipSource, *, stride: int = 1) -> None:
        if stride < 1:
            raise ValueError(f"stride is {stride}, expected 1 or more")
        self.source, self.stride, self.name = source, stride, source.name
        lengths = [-(-source.num_frames(position) // stride) for position in range(len(source))]
        self._ends = np.cumsum(lengths, dtype=np.int64)

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    def key(self, position: int) -> str:
        clip, frame = self._place(position)
        return self.source.key(clip) if self.source.num_frames(clip) == 1 else f"{self.source.key(clip)}_{frame:04d}"

    def num_frames(self, position: int) -> int:
        return 1

    def read(self, position: int, frames: Sequence[int] | None = None) -> LabelledClip:
        clip, frame = self._place(position)
        still = self.source.read(clip, [frame for _ in (frames if frames is not None else [0])])
        return replace(still, key=self.key(position))

    def _place(self, position: int) -> tuple[int, int]:
        """The clip, and the frame in it."""
        if not 0 <= position < len(self):
            raise IndexError(f"{self.name}: no still {position}, there are {len(self)}")
        clip = int(np.searchsorted(self._ends, position, side="right"))
        before = int(self._ends[clip - 1]) if clip else 0
        return clip, (position - before) * self.stride
