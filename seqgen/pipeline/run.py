"""A whole run: claim the folder, gather the assets, make the shards that are missing, write the index, and last the manifest.

Killed anywhere, the same command goes on from the shards that are durable. Of several runs that share a folder (`--shard-range`), the one that finds all
shards there writes index and manifest; more than one may, for they write the same.
"""

import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from seqgen.dataset.claim import Origin, is_claimed_for, no_place
from seqgen.dataset.hold import Hold, claim_alone, claim_together, hold_folder
from seqgen.dataset.manifest import MANIFEST_NAME
from seqgen.dataset.progress import FailedShard, finished_shards, note_run, noted_runs, recorded_shards, set_aside
from seqgen.dataset.provenance import differences
from seqgen.errors import UserError
from seqgen.files import storage_named
from seqgen.pipeline.assets import Assets, gather_assets
from seqgen.pipeline.cluster import Cluster, check_address
from seqgen.pipeline.config import GenerateConfig
from seqgen.pipeline.finish import describe_run, ended_run, finish_dataset
from seqgen.pipeline.plan import Portion, ShardPlan, plan_shards
from seqgen.pipeline.process import one_thread
from seqgen.pipeline.work import Made, ShardWorker, Work, make_in_process
from seqgen.render import load_renderer

MAX_FAILED_AT_FIRST = 3  # so many shards set aside before a single one could be made: no other will do better
ALL = Portion()
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


@dataclass(frozen=True)
class Outcome:
    """What a run came to: sequences made in it, and whether the data set is whole now."""

    made: int
    whole: bool


class ShardsFailed(RuntimeError):
    """Shards that could not be made and were set aside, with what was raised."""


def generate_dataset(
    config: GenerateConfig,
    directory: Path,
    *,
    overwrite: bool = False,
    portion: Portion = ALL,
    say: Callable[[str], None] = log.info,
    report: Callable[[Progress], None] = lambda progress: None,
) -> Outcome:
    """The data set of `config` in `directory`, or a portion of its shards; continues one that is unfinished, and extends one that has fewer sequences.

    `say` is told what is being done, `report` how far it is. The process itself works on one thread; `config.workers` Ray workers share the work.
    ShardsFailed, after all else is done, when shards could not be made.
    """
    began = datetime.now(UTC)
    if config.render.renderer != "warp" or config.device != "cpu":
        load_renderer(config.render.renderer, device=config.device)  # refuses here, before any work, what the workers would refuse
    if num_workers(config):
        check_address()
    chosen = portion.among(plan_shards(config))
    with one_thread():
        assets = gather_assets(config, say)
    run = _Run(config, directory, Origin(config.content(), assets.digest), assets, describe_run(config, began, num_workers(config)), say, report)
    with _held(directory) as hold:
        claim = claim_together(hold, run.origin) if portion.is_shared else claim_alone(hold, run.origin, overwrite=overwrite)
        if claim == "finished":
            return Outcome(0, True)
        if not portion.is_shared:
            hold.sweep()
        return run.make(chosen, portion)


def num_workers(config: GenerateConfig) -> int:
    """Workers to start: as many as asked for, else one for each core this process may use."""
    return len(os.sched_getaffinity(0)) if config.workers is None else config.workers


@contextmanager
def _held(directory: Path) -> Iterator[Hold]:
    """The folder is there and can be taken hold of. Whoever is alone there at the end leaves nothing half."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        if not directory.is_file():
            raise no_place(directory, error) from error
        raise UserError(f"{directory} is a file; choose another --out") from error
    with storage_named(directory), hold_folder(directory) as hold:
        try:
            yield hold
        finally:
            hold.sweep_at_the_end()


@dataclass(frozen=True)
class _Run:
    """One run: what it makes, where, and whom it tells."""

    config: GenerateConfig
    directory: Path
    origin: Origin
    assets: Assets
    told: dict[str, Any]  # what `describe_run` says of it
    say: Callable[[str], None]
    report: Callable[[Progress], None]

    def make(self, chosen: list[ShardPlan], portion: Portion) -> Outcome:
        """The chosen shards that are missing, then the rest of the data set if all its shards are there."""
        self._note_itself()
        finished = finished_shards(self.directory, {plan.name: plan.ids for plan in chosen}, self.origin.identity)
        if finished:
            self.say(f"continuing: {len(finished)} of {len(chosen)} shards are there")
        todo = [plan for plan in chosen if plan.name not in finished]
        there, total = (sum(len(plan.ids) for plan in plans) for plans in ([plan for plan in chosen if plan.name in finished], chosen))
        failed: list[FailedShard] = []
        made, start = 0, time.monotonic()
        with closing(self._made(todo, foreground=portion.shard is not None)) as results:
            for done, failures in results:
                if isinstance(done, FailedShard):
                    failed.append(done)
                    self._set_aside(done)
                    if not made and len(failed) == MAX_FAILED_AT_FIRST:
                        break
                else:
                    made += done.sequences
                    self.report(Progress(there + made, total, made, made * self.config.clip.frames, time.monotonic() - start, failures))
        if failed:
            raise ShardsFailed(_what_failed(failed))
        whole = self._finish()
        if not whole and portion == ALL:
            raise UserError(f"{self.directory}: shards were removed or changed while this run was at work; the same command makes them again")
        return Outcome(made, whole)

    def _note_itself(self) -> None:
        """Beside the runs before it; says what of this platform may change bytes."""
        other = {difference for run in noted_runs(self.directory) for difference in differences(run, self.told)}
        if other:
            self.say(f"continuing on another platform, where bytes may come out differently: {'; '.join(sorted(other))}")
        note_run(self.directory, self.told)

    def _made(self, plans: list[ShardPlan], *, foreground: bool) -> Iterator[tuple[Made, int]]:
        """Finished and failed shards as they come, each with the number of workers that had died by then."""
        work = Work(self.assets, self.config, self.directory.resolve(), self.origin.identity, self.told)
        workers = 0 if foreground else min(num_workers(self.config), len(plans))
        if foreground:
            yield from ((ShardWorker(work).make(plan), 0) for plan in plans)  # whatever is raised passes through
        elif not workers:
            yield from ((done, 0) for done in make_in_process(plans, work))
        else:
            self.say(f"starting {workers} Ray worker{'s' * (workers > 1)}")
            with Cluster(workers, self.assets.num_bytes()) as cluster:
                for done in cluster.make_shards(plans, work):
                    yield done, cluster.failures

    def _set_aside(self, failed: FailedShard) -> None:
        path = set_aside(self.directory, failed, self.origin.identity)
        self.say(f"{failed.name} failed {failed.tries} times and is set aside ({failed.traceback.strip().splitlines()[-1]}); see {path}")

    def _finish(self) -> bool:
        """Index and manifest, if all shards are there; else whether another run has written them."""
        plans = plan_shards(self.config)
        recorded = recorded_shards(self.directory, {plan.name: plan.ids for plan in plans}, self.origin.identity)
        if len(recorded) < len(plans):
            return (self.directory / MANIFEST_NAME).exists() and is_claimed_for(self.directory, self.origin)
        run = ended_run(self.told, noted_runs(self.directory))
        finish_dataset(self.directory, self.config, self.origin, self.assets, [recorded[plan.name] for plan in plans], run)
        return True


def _what_failed(failed: list[FailedShard]) -> str:
    """All of them, how to make one in the foreground, and what the first one raised."""
    shown = "; ".join(f"{shard.name} (sequences {shard.ids[0]} to {shard.ids[-1]}, seed {shard.seed})" for shard in failed[:5])
    more = f"; and {len(failed) - 5} more" if failed[5:] else ""
    how = f"the same command with --only-shard {failed[0].name} makes it in the foreground, the same command alone tries all of them again"
    return f"{len(failed)} shard{'s' * (len(failed) > 1)} could not be made: {shown}{more}; {how}\n{failed[0].traceback}"
