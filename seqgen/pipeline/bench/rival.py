"""The render stage and pyrender at its best over the same scenes, batch by batch in turn in one run; and whether all drew the same.

    public     pyrender by its public interface, one renderer and scene kept: what a good user of it has (`render/pyrender_public.py`)
    beneath    by its inner parts too: buffers rewritten in place, as many samples as asked for (`render/pyrender_fed.py`), which is stricter

It is told of the scenes by the watch of `stages.time_stages`, and draws them once more with each.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from seqgen.errors import UserError
from seqgen.pipeline.bench.stages import WARM_UP_CLIPS, StageTimes
from seqgen.pipeline.config import GenerateConfig
from seqgen.pipeline.generate import Drawn
from seqgen.pipeline.labels import renderer_extras
from seqgen.scene.scene import Scene

PUBLIC, BENEATH = "public", "beneath"
LEAST_IOU, MOST_DEPTH_MM = 0.999, 0.1  # masks and median depth: what two renderers of one scene may differ by


@dataclass(frozen=True)
class Agreement:
    """What both drew: intersection over union of what is not background; of what both hit, the median and 99th percentile of the difference in depth, and
    the share of pixels with one part label (pyrender has one a face)."""

    iou: float
    depth_mm: float
    depth_p99_mm: float
    parts: float

    def check(self) -> None:
        """RuntimeError where they did not draw the same scene: then their times say nothing."""
        if self.iou < LEAST_IOU or self.depth_mm > MOST_DEPTH_MM:
            raise RuntimeError(f"the renderers drew different things: IoU {self.iou:.5f}, depth apart by {self.depth_mm:.3f} mm in the median")


@dataclass(frozen=True)
class Comparison:
    """Milliseconds a frame that pyrender took, by round; what it and ours took together with all other stages decides the ratio of the whole."""

    rival_ms: list[float]
    agreement: Agreement

    def ratio_render(self, times: StageTimes) -> float:
        """How many times faster the render stage is: the median over rounds of their ratio in one round."""
        return float(np.median(np.array(self.rival_ms) / np.array(times.rounds["render"])))

    def ratio_whole(self, times: StageTimes) -> float:
        """The same for the whole pipeline, with pyrender in place of the render stage or without."""
        ours = sum(np.array(rounds) for rounds in times.rounds.values())
        return float(np.median((ours - np.array(times.rounds["render"]) + self.rival_ms) / ours))


@dataclass
class Rival:
    """A way to feed pyrender: `draw` a scene; seconds by round; what it and we drew in the first round."""

    draw: Callable[[Scene], Any]
    seconds: list[float] = field(default_factory=list)
    seen: list[tuple[float, ...]] = field(default_factory=list)

    def time(self, clips: Sequence[Any], drawn: Sequence[Any]) -> None:
        """Draws again what the render stage has drawn of a batch."""
        for clip, ours in zip(clips, drawn, strict=True):
            start = time.perf_counter()
            theirs = self.draw(clip.stage.scene)
            self.seconds[-1] += time.perf_counter() - start
            if len(self.seconds) == 1:
                self.seen.append(_counts(ours.frames, theirs))

    def agreement(self) -> Agreement:
        """RuntimeError where it drew other things than we."""
        both, either, same, depth_mm, p99_mm = np.array(self.seen).T
        agreement = Agreement(float(both.sum() / either.sum()), float(np.median(depth_mm)), float(np.median(p99_mm)), float(same.sum() / both.sum()))
        agreement.check()
        return agreement


class Rivals:
    """pyrender in the same run, fed in both ways. `watch` goes into `time_stages`."""

    def __init__(self, config: GenerateConfig, clips: int) -> None:
        check_comparable(config)
        from seqgen.render.pyrender_fed import open_fed
        from seqgen.render.pyrender_public import open_public

        self._frames, self._clips, self._drawn = clips * config.clip.frames, clips, 0
        self._rivals = {PUBLIC: Rival(open_public().render), BENEATH: Rival(open_fed().render)}

    def watch(self, name: str, before: Sequence[Any], after: Sequence[Drawn]) -> None:
        """Draws again what the render stage has drawn, the one rival after the other."""
        if name != "render":
            return
        for rival in self._rivals.values():
            if not rival.seconds:  # shaders are compiled
                for clip in before[:WARM_UP_CLIPS]:
                    rival.draw(clip.stage.scene)
            if self._drawn % self._clips == 0:
                rival.seconds.append(0.0)
            rival.time(before, after)
        self._drawn += len(before)

    def comparisons(self) -> dict[str, Comparison]:
        """What was measured of PUBLIC and BENEATH; RuntimeError where one drew other things than we."""
        return {name: Comparison([seconds / self._frames * 1e3 for seconds in rival.seconds], rival.agreement()) for name, rival in self._rivals.items()}


def check_comparable(config: GenerateConfig) -> None:
    """A UserError for a config that asks for pictures which pyrender cannot make."""
    complaints: dict[str, Callable[[], bool]] = {
        "render.renderer = pyrender: there is nothing to compare; take warp": lambda: config.render.renderer != "warp",
        "device = cuda: pyrender draws on the CPU; take cpu": lambda: config.device != "cpu",
        "render.samples = 3: pyrender draws one sample a pixel or four": lambda: config.render.samples > 2,
        "render.shutter: pyrender draws a moment; take 0 0": lambda: config.render.shutter[1] > 0,
        "labels: pyrender is compared over colour, depth and parts; switch optical_flow, normals and the amodal mask off": lambda: bool(renderer_extras(config.labels)),
    }
    for complaint, holds in complaints.items():
        if holds():
            raise UserError(f"--against pyrender: {complaint}")


def _counts(ours: Any, theirs: Any) -> tuple[float, ...]:
    """Pixels that both hit, that either did, that have one label; median and 99th percentile of the difference in depth, mm."""
    hit, their_hit = ours.depth_m > 0, theirs.depth_m > 0
    both = hit & their_hit
    if not both.any():
        return (0.0, float((hit | their_hit).sum()), 0.0, 0.0, 0.0)
    apart_mm = np.abs(ours.depth_m[both] - theirs.depth_m[both]) * 1e3
    counts = both.sum(), (hit | their_hit).sum(), (ours.parts[both] == theirs.parts[both]).sum()
    return (*map(float, counts), float(np.median(apart_mm)), float(np.quantile(apart_mm, 0.99)))
