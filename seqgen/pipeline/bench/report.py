"""Everything that `seqgen bench generate` tells of a config: stages, whole runs, memory, pyrender; as a record and as plain values for JSON."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from seqgen.pipeline.assets import gather_assets
from seqgen.pipeline.bench.rival import BENEATH, PUBLIC, Agreement, Comparison, Rivals
from seqgen.pipeline.bench.run import median_first_shard_s, speed_config, start_config, whole_run
from seqgen.pipeline.bench.stages import StageTimes, time_stages
from seqgen.pipeline.cluster import check_address
from seqgen.pipeline.config import GenerateConfig
from seqgen.pipeline.generate import open_sources
from seqgen.pipeline.process import one_thread
from seqgen.pipeline.run import num_workers
from seqgen.render import load_renderer

STARTS = 3  # whole runs that only start: how long that takes varies more than speed
LEAST_SHARDS = 2  # of a worker: the first is start-up


@dataclass(frozen=True)
class Against:
    """pyrender's milliseconds a frame in one way of feeding it, how many times faster the render stage and the whole pipeline are, and what both drew."""

    rival_ms: float
    ratio_render: float
    ratio_whole: float
    agreement: Agreement


@dataclass(frozen=True)
class Report:
    """`stages_ms`: of a frame, one after another in one process. `frames_per_s`: of the whole pipeline with so many workers, start-up excluded.
    `start_warm_s`, `start_cold_s`: to the first shard, of `start_clips` clips, with a full and an empty cache. `peak_pss_mb`: of all processes together.
    `against`: pyrender by its public interface; `against_beneath`: by its inner parts too, which is stricter.
    """

    stages_ms: dict[str, float]
    workers: int
    frames_per_s: float
    frames_per_s_per_core: float
    start_clips: int
    start_warm_s: float
    start_cold_s: float | None
    peak_pss_mb: float
    pss_parts_mb: dict[str, float]
    clips: int
    rounds: int
    against: Against | None = None
    against_beneath: Against | None = None

    def as_dict(self) -> dict[str, Any]:
        """Plain values; with pyrender, `ratio_render`, `ratio_whole`, `ratio_render_beneath` and `ratio_whole_beneath` stand beside the others."""
        values = asdict(self)
        for end, told in (("", self.against), ("_beneath", self.against_beneath)):
            if told:
                values |= {f"ratio_render{end}": told.ratio_render, f"ratio_whole{end}": told.ratio_whole}
        return values


def measure(config: GenerateConfig, *, clips: int, rounds: int, against: str | None, cold: bool, say: Callable[[str], None]) -> Report:
    """All measurements of a config, in this process and in others. UserErrors before any work begins."""
    load_renderer(config.render.renderer, config.device)
    workers, shards = num_workers(config), max(rounds, LEAST_SHARDS)
    steadily, starting = speed_config(config, clips=clips, shards=shards), start_config(config)
    rivals = Rivals(config, clips) if against else None
    check_address()
    with one_thread():
        sources = open_sources(gather_assets(config, say), config)
        say(f"stages: {rounds} rounds of {clips} clips" + (", each drawn by pyrender too, in two ways" if rivals else ""))
        times = time_stages(sources, config, clips=clips, rounds=rounds, **({"watch": rivals.watch} if rivals else {}))
        compared = {name: _against(comparison, times) for name, comparison in rivals.comparisons().items()} if rivals else {}
    say(f"whole pipeline: {shards} shards of {clips} clips for each of {workers} workers")
    steady = whole_run(steadily)
    say(f"starts: {STARTS} warm" + (", one cold" if cold else ""))
    starts = [whole_run(starting) for _ in range(STARTS)]
    heaviest = max((steady, *starts), key=lambda run: run.peak_mb)
    return Report(
        stages_ms=times.median_ms(),
        workers=workers,
        frames_per_s=steady.frames_per_s,
        frames_per_s_per_core=steady.frames_per_s / max(1, workers),
        start_clips=starting.sequences // max(1, workers),
        start_warm_s=median_first_shard_s(starts),
        start_cold_s=whole_run(starting, cold=True).first_shard_s if cold else None,
        peak_pss_mb=heaviest.peak_mb,
        pss_parts_mb=heaviest.parts_mb,
        clips=clips,
        rounds=rounds,
        against=compared.get(PUBLIC),
        against_beneath=compared.get(BENEATH),
    )


def _against(comparison: Comparison, times: StageTimes) -> Against:
    return Against(float(np.median(comparison.rival_ms)), comparison.ratio_render(times), comparison.ratio_whole(times), comparison.agreement)
