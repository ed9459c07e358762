"""A whole run: claim the folder, gather the assets, make the shards that are missing, write the index, and last the manifest.

Killed anywhere, the same command goes on from the shards that are durable. Of several runs that share a folder (`--shard-range`), the one that finds all
shards there writes index and manifest; more than one may, for they write the same.
"""

import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
from jaxtyping import Int

from seqgen.dataset.claim import Origin, check_place, is_claimed_for, no_place
from seqgen.dataset.hold import Hold, claim_alone, claim_together, hold_folder
from seqgen.dataset.index import INDEX_NAME
from seqgen.dataset.manifest import MANIFEST_NAME
from seqgen.dataset.progress import FailedShard, clear_progress, count_records, finished_shards, note_run, noted_runs, set_aside
from seqgen.dataset.provenance import differences
from seqgen.errors import UserError
from seqgen.files import storage_named
from seqgen.pipeline.assets import Assets, gather_assets
from seqgen.pipeline.cluster import Cluster, RayPool, check_address
from seqgen.pipeline.config import GenerateConfig
from seqgen.pipeline.finish import ShardMissing, describe_run, ended_run, finish_dataset
from seqgen.pipeline.generate import check_device
from seqgen.pipeline.loop import InProcess, Pool, make_shards
from seqgen.pipeline.plan import Portion, ShardPlan, ShardPlans, plan_shards
from seqgen.pipeline.process import one_thread, return_memory
from seqgen.pipeline.work import Made, ShardWorker, Work
from seqgen.places import Place
from seqgen.remote import RemotePath
from seqgen.render import load_renderer

MAX_FAILED_AT_FIRST = 3  # so many shards set aside before a single one could be made: no other will do better
NUM_NAMED = 5  # of those that could not be made, in what is said at the end
MANY = 10_000  # shards, over which index and manifest take a while
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
    directory: Place,
    *,
    overwrite: bool = False,
    portion: Portion = ALL,
    content: dict[str, Any] | None = None,
    say: Callable[[str], None] = log.info,
    report: Callable[[Progress], None] = lambda progress: None,
) -> Outcome:
    """The data set of `config` in `directory`, or a portion of its shards; continues one that is unfinished, and extends one that has fewer sequences.

    `say` is told what is being done, `report` how far it is. The process itself works on one thread; `config.workers` Ray workers share the work.
    `content`: what the data set says of its config, where `config` has another device (a repair without a GPU of what one made).
    ShardsFailed, after all else is done, when shards could not be made.
    """
    began = datetime.now(UTC)
    check_means(config)
    check_place(directory)
    if num_workers(config) and isinstance(directory, RemotePath) and directory.protocol == "memory":
        raise UserError(f"{directory}: is of this process alone; --workers 0 makes a data set there")
    chosen = portion.among(plan_shards(config))
    with one_thread():
        assets = gather_assets(config, say)
    return_memory()
    run = Run(config, directory, Origin(content or config.content(), assets.digest), assets, describe_run(config, began, num_workers(config)), say, report)
    with _held(directory) as hold:
        claim = claim_together(hold, run.origin) if portion.is_shared else claim_alone(hold, run.origin, overwrite=overwrite)
        if claim == "finished":
            return Outcome(0, True)
        if not portion.is_shared:
            hold.sweep()
        return run.make(chosen, portion)


def check_means(config: GenerateConfig) -> None:
    """Refuses, before any work, a renderer, a device or a cluster that is not there. Of other machines' GPUs their workers know: a cluster's head may have none."""
    joins = bool(num_workers(config)) and check_address()
    if config.render.renderer != "warp":
        load_renderer(config.render.renderer)
    if not joins:
        check_device(config.device)


def num_workers(config: GenerateConfig) -> int:
    """Workers to start: as many as asked for, else one for each core this process may use."""
    return len(os.sched_getaffinity(0)) if config.workers is None else config.workers


@contextmanager
def start_workers(work: Work, number: int, say: Callable[[str], None]) -> Iterator[Pool]:
    """So many Ray workers; none: this process is the one."""
    if not number:
        yield InProcess(work)
        return
    say(f"starting {number} Ray worker{'s' * (number > 1)}")
    with Cluster(number, work.assets.kept().num_bytes()) as cluster:
        yield RayPool(cluster, work)


@contextmanager
def _held(directory: Place) -> Iterator[Hold]:
    """The folder is there and can be taken hold of. Whoever is alone there at the end leaves nothing half."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        if not os.path.isfile(directory):  # not Path.is_file, which raises for a name that is too long
            raise no_place(directory, error) from error
        raise UserError(f"{directory} is a file; choose another --out") from error
    with storage_named(directory), hold_folder(directory) as hold:
        try:
            yield hold
        finally:
            hold.sweep_at_the_end()


@dataclass(frozen=True)
class _Todo:
    """Those of some shards at these places, each worked out when it is its turn."""

    plans: ShardPlans
    places: Int[np.ndarray, " shards"]

    def __len__(self) -> int:
        return len(self.places)

    def __iter__(self) -> Iterator[ShardPlan]:
        return (self.plans[int(place)] for place in self.places)


class _Failed:
    """The shards that could not be made: how many, and the first few."""

    def __init__(self) -> None:
        self.count, self.first = 0, list[FailedShard]()

    def add(self, failed: FailedShard) -> None:
        self.count += 1
        self.first += [failed] if self.count <= NUM_NAMED else []

    def told(self) -> str:
        """All of them, how to make one in the foreground, and what the first one raised."""
        first = self.first[0]
        shown = "; ".join(f"{shard.name} (sequences {shard.ids[0]} to {shard.ids[-1]}, seed {shard.seed})" for shard in self.first)
        more = f"; and {self.count - NUM_NAMED} more" if self.count > NUM_NAMED else ""
        how = f"the same command with --only-shard {first.name} makes it in the foreground, the same command alone tries all of them again"
        return f"{self.count} shard{'s' * (self.count > 1)} could not be made: {shown}{more}; {how}\n{first.traceback}"


@dataclass(frozen=True)
class Run:
    """One run: what it makes, where, and whom it tells."""

    config: GenerateConfig
    directory: Place
    origin: Origin
    assets: Assets
    told: dict[str, Any]  # what `describe_run` says of it
    say: Callable[[str], None]
    report: Callable[[Progress], None]
    workers: Callable[[Work, int, Callable[[str], None]], AbstractContextManager[Pool]] = start_workers

    def make(self, chosen: ShardPlans, portion: Portion) -> Outcome:
        """The chosen shards that are missing, then the rest of the data set if all its shards are there."""
        self._note_itself()
        todo, there = self.missing(chosen)
        total = chosen.sequences
        failed = _Failed()
        made, start = 0, time.monotonic()
        with closing(self._made(todo, foreground=portion.shard is not None)) as results:
            for done, failures in results:
                if isinstance(done, FailedShard):
                    failed.add(done)
                    self._set_aside(done)
                    if not made and failed.count == MAX_FAILED_AT_FIRST:
                        break
                else:
                    made += done.sequences
                    self.report(Progress(there + made, total, made, made * self.config.clip.frames, time.monotonic() - start, failures))
        if failed.count:
            raise ShardsFailed(failed.told())
        whole = self.finish()
        if not whole and portion == ALL:
            raise UserError(f"{self.directory}: shards were removed or changed while this run was at work; the same command makes them again")
        return Outcome(made, whole)

    def missing(self, chosen: ShardPlans) -> tuple[_Todo, int]:
        """The chosen shards that must be made, and how many sequences the others hold."""
        done, there = np.zeros(len(chosen), bool), 0
        for shard in finished_shards(self.directory, chosen.ids, self.origin.identity, note=True):
            place = chosen.place(shard.name)
            there += 0 if done[place] else shard.sequences
            done[place] = True
        if there:
            self.say(f"continuing: {done.sum()} of {len(chosen)} shards are there")
        return _Todo(chosen, np.flatnonzero(~done)), there

    def _note_itself(self) -> None:
        """Beside the runs before it; says what of this platform may change bytes."""
        other = {difference for run in noted_runs(self.directory) for difference in differences(run, self.told)}
        if other:
            self.say(f"continuing on another platform, where bytes may come out differently: {'; '.join(sorted(other))}")
        note_run(self.directory, self.told)

    def _made(self, plans: _Todo, *, foreground: bool) -> Iterator[tuple[Made, int]]:
        """Finished and failed shards as they come, each with the number of workers that had died by then."""
        work = Work(self.assets, self.config, self.directory.resolve(), self.origin.identity, self.told)
        if foreground:
            yield from ((ShardWorker(work).make(plan), 0) for plan in plans)  # whatever is raised passes through
        elif len(plans):
            with self.workers(work, min(num_workers(self.config), len(plans)), self.say) as pool:
                for done in make_shards(plans, pool, self.config.seed):
                    yield done, pool.failures

    def _set_aside(self, failed: FailedShard) -> None:
        path = set_aside(self.directory, failed, self.origin.identity)
        self.say(f"{failed.name} failed {failed.tries} times and is set aside ({failed.traceback.strip().splitlines()[-1]}); see {path}")

    def finish(self) -> bool:
        """Index and manifest, if all shards are there; else whether another run has written them."""
        plans = plan_shards(self.config)
        if count_records(self.directory) >= len(plans):
            if len(plans) >= MANY:
                self.say(f"writing {INDEX_NAME} and {MANIFEST_NAME} over {len(plans):,} shards")
            run = ended_run(self.told, noted_runs(self.directory))
            try:
                finish_dataset(self.directory, self.config, self.origin, self.assets, run)
                return True
            except ShardMissing:
                log.info("%s: records do not vouch for all shards", self.directory)
        others_did = (self.directory / MANIFEST_NAME).exists() and is_claimed_for(self.directory, self.origin)
        if others_did:
            clear_progress(self.directory)  # where nothing can be held, this run went on after they had cleared it
        return others_did
