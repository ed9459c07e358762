"""A whole run: claim the folder, gather the assets, make the shards that are missing, write the index, and last the manifest."""

import logging
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from seqgen.config import config_digest
from seqgen.dataset.index import write_index
from seqgen.dataset.manifest import build_manifest, describe_machine, write_manifest
from seqgen.dataset.progress import FinishedShard, claim_folder, clear_progress, finished_shards, record_shard
from seqgen.pipeline.assets import Assets, gather_assets
from seqgen.pipeline.cluster import Cluster, check_address, make_shards_in_process
from seqgen.pipeline.config import GenerateConfig
from seqgen.pipeline.plan import ShardPlan, plan_shards
from seqgen.pipeline.process import one_thread
from seqgen.render import load_renderer

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Progress:
    """How far a run is: durable sequences, of how many; those and their frames made in this run, in so many seconds; workers that died."""

    sequences: int
    total: int
    made: int
    frames: int
    seconds: float
    failures: int


def generate_dataset(
    config: GenerateConfig,
    directory: Path,
    *,
    overwrite: bool = False,
    say: Callable[[str], None] = log.info,
    report: Callable[[Progress], None] = lambda progress: None,
) -> bool:
    """The data set of `config` in `directory`; continues one that is unfinished. False when it was whole already.

    `say` is told what is being done, `report` how far it is. The process itself works on one thread; `config.workers` Ray workers share the work.
    """
    began = datetime.now(UTC)
    if config.render.renderer != "warp" or config.device != "cpu":
        load_renderer(config.render.renderer, device=config.device)  # refuses here, before any work, what the workers would refuse
    if num_workers(config):
        check_address()
    with one_thread():
        assets = gather_assets(config, say)
    identity = config_digest({"config": config.content(), "assets": assets.digest})
    if claim_folder(directory, config.content(), identity, overwrite=overwrite) == "finished":
        return False
    plans = plan_shards(config)
    finished = finished_shards(directory, {plan.name: plan.ids for plan in plans})
    if finished:
        say(f"continuing: {len(finished)} of {len(plans)} shards are there")
    todo = [plan for plan in plans if plan.name not in finished]
    before, made, start = sum(len(done.rows) for done in finished.values()), 0, time.monotonic()
    for done, failures in _make_shards(todo, assets, config, directory, say):
        record_shard(directory, done.shard, done.rows)
        finished[done.shard.name] = done
        made += len(done.rows)
        report(Progress(before + made, config.sequences, made, made * config.clip.frames, time.monotonic() - start, failures))
    _finish(directory, config, identity, assets, [finished[plan.name] for plan in plans], began)
    return True


def num_workers(config: GenerateConfig) -> int:
    """Workers to start: as many as asked for, else one for each core this process may use."""
    return len(os.sched_getaffinity(0)) if config.workers is None else config.workers


def _make_shards(plans: list[ShardPlan], assets: Assets, config: GenerateConfig, directory: Path, say: Callable[[str], None]) -> Iterator[tuple[FinishedShard, int]]:
    """Finished shards as they come, each with the number of workers that had died by then."""
    workers = min(num_workers(config), len(plans))
    if workers == 0:
        yield from ((done, 0) for done in make_shards_in_process(plans, assets, config, directory))
        return
    say(f"starting {workers} Ray worker{'s' * (workers > 1)}")
    with Cluster(workers, assets.num_bytes()) as cluster:
        for done in cluster.make_shards(plans, assets, config, directory.resolve()):
            yield done, cluster.failures


def _finish(directory: Path, config: GenerateConfig, identity: str, assets: Assets, finished: list[FinishedShard], began: datetime) -> None:
    """Index, then manifest, then the progress is cleared."""
    rows = [row for done in finished for row in done.rows]
    write_index(directory, rows)
    run = {**describe_machine(), "began": began.isoformat(timespec="seconds"), "ended": datetime.now(UTC).isoformat(timespec="seconds"), "workers": num_workers(config)}
    shards = [done.shard for done in finished]
    why = assets.licences()[0].licence if config.labels.flow_source is None else "not asked for: labels.flow_source = false"
    left_out = {} if assets.store_flow else dict.fromkeys(("flow_joints_m", "flow_source"), why)
    told = {"assets": assets.licences(), "left_out": left_out, "shards": shards, "rows": rows, "run": run}
    manifest = build_manifest(config.content(), identity, seed=config.seed, frames=config.clip.frames, **told)
    write_manifest(directory, manifest)
    clear_progress(directory)
