"""What a run would come to before it is begun: `seqgen generate --dry-run`. A few seconds of real clips tell time and bytes of one; the rest is arithmetic.

    measure     clips from all over the data set, generated and encoded on one core, nothing kept      -> seconds and bytes of a clip
    foresee     those and the shards that are to be made                                               -> bytes and hours

Writes nothing. Does not know what a cluster's cores are like: they are taken to be this machine's.
"""

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from math import gcd

import numpy as np
from jaxtyping import Int

from seqgen.dataset.claim import Origin, check_place, judge_folder, read_claim
from seqgen.dataset.encoding import encode_sequence
from seqgen.dataset.hold import held_alone
from seqgen.dataset.manifest import MANIFEST_NAME, read_manifest
from seqgen.dataset.progress import finished_shards
from seqgen.dataset.shards import sample_bytes, shard_bytes
from seqgen.pipeline.assets import gather_assets
from seqgen.pipeline.config import GenerateConfig
from seqgen.pipeline.generate import Sources, generate_sequences, motions_at_once, open_sources, pictures_at_once
from seqgen.pipeline.plan import Portion, ShardPlans, plan_shards
from seqgen.pipeline.process import keep_memory, one_thread
from seqgen.pipeline.run import check_means, num_workers
from seqgen.places import Place

log = logging.getLogger(__name__)
CLIPS_AT_ONCE = 32  # clips between two looks at the clock, at most
MEASURED_S = 5.0
AT_ONCE = 100_000  # shards that are numbers of Python's at a time
Places = Int[np.ndarray, " shards"]  # of shards in a plan, which may be a hundred million


@dataclass(frozen=True)
class Measurement:
    """Of one clip, on one core: seconds to generate and to encode it, bytes in its shard; means over so many clips."""

    clips: int
    generate_s: float
    encode_s: float
    bytes: float

    @property
    def clip_s(self) -> float:
        """All that a worker does for a clip but to write it."""
        return self.generate_s + self.encode_s


@dataclass(frozen=True)
class Estimate:
    """Sequences, shards and bytes of the whole, and of what is still to be made of it, with the seconds that so many workers take."""

    sequences: int
    shards: int
    bytes: int
    todo_sequences: int
    todo_shards: int
    todo_bytes: int
    workers: int
    seconds: float


def estimate_run(
    config: GenerateConfig, directory: Place, portion: Portion, *, overwrite: bool = False, say: Callable[[str], None] = log.info
) -> tuple[Estimate, Measurement]:
    """What `generate_dataset` with these arguments would come to, and the measurement it rests on. UserErrors as there."""
    check_means(config)
    portion.among(plan_shards(config))
    check_place(directory)
    with one_thread():
        assets = gather_assets(config, say)
    plans, todo = shards_to_make(directory, config, Origin(config.content(), assets.digest), portion, overwrite=overwrite)
    measured = measure(config, open_sources(assets, config))
    return foresee(plans, todo, measured, num_workers(config)), measured


def measure(config: GenerateConfig, sources: Sources, *, seconds: float = MEASURED_S, clock: Callable[[], float] = time.perf_counter) -> Measurement:
    """Clips from all over the data set, for so many seconds or until there are no more. The first is made once before, for what only a first one costs."""
    keep_memory()  # as workers do
    with one_thread():
        indices = spread(config.sequences)
        at_once = min(CLIPS_AT_ONCE, motions_at_once(config), 4 * pictures_at_once(config))  # large pictures take seconds: fewer of them between two looks at the clock
        list(generate_sequences([0], sources, config))
        taken, generated, encoded, sizes = clock(), 0.0, 0.0, list[int]()
        while generated + encoded < seconds and (chosen := list(islice(indices, at_once))):
            clips = list(generate_sequences(chosen, sources, config))
            between = clock()
            sizes += [len(sample_bytes(clip.key, encode_sequence(clip, jpeg_quality=config.output.jpeg_quality))) for clip in clips]
            generated, encoded, taken = generated + between - taken, encoded + (now := clock()) - between, now
    return Measurement(len(sizes), generated / len(sizes), encoded / len(sizes), sum(sizes) / len(sizes))


def spread(total: int) -> Iterator[int]:
    """All numbers below `total`, in an order of which every beginning lies all over them: steps of the golden section."""
    step = max(1, round(total * 0.618034))
    while gcd(step, total) != 1:
        step += 1
    return (number * step % total for number in range(total))


def foresee(plans: ShardPlans, todo: Places, measured: Measurement, workers: int) -> Estimate:
    """What comes of shards of which those at `todo` are still to be made. No shard is shared between workers."""
    sizes, lacking = _lengths(plans, np.arange(len(plans))), _lengths(plans, todo)
    total, sequences = (sum(length * count for length, count in lengths.items()) for lengths in (sizes, lacking))
    hands = max(1, min(workers, len(todo)))
    seconds = max(sequences * measured.clip_s / hands, max(lacking, default=0) * measured.clip_s)
    return Estimate(total, len(plans), _bytes(sizes, measured), sequences, len(todo), _bytes(lacking, measured), hands, seconds)


def _lengths(plans: ShardPlans, places: Places) -> Counter[int]:
    """How many of the shards at these places hold how many sequences."""
    pieces = (places[first : first + AT_ONCE].tolist() for first in range(0, len(places), AT_ONCE))
    return sum(map(plans.lengths, pieces), Counter())


def _bytes(lengths: Counter[int], measured: Measurement) -> int:
    """Of shards with so many clips each."""
    return sum(count * shard_bytes(round(length * measured.bytes)) for length, count in lengths.items())


def shards_to_make(directory: Place, config: GenerateConfig, origin: Origin, portion: Portion, *, overwrite: bool) -> tuple[ShardPlans, Places]:
    """The shards that a run would answer for, and the places of those that it would make. A UserError where it would be refused."""
    plans = portion.among(plan_shards(config))
    check_place(directory)
    if not directory.is_dir():
        return plans, np.arange(len(plans))
    if portion.is_shared:
        return plans, _missing(directory, origin, plans, overwrite=overwrite)
    with held_alone(directory):
        return plans, _missing(directory, origin, plans, overwrite=overwrite)


def _missing(directory: Place, origin: Origin, plans: ShardPlans, *, overwrite: bool) -> Places:
    claim = judge_folder(directory, origin, overwrite=overwrite)
    if claim == "new":
        return np.arange(len(plans))
    if claim == "finished":
        return np.empty(0, int)
    there = np.zeros(len(plans), bool)
    for name in _there(directory, plans):
        there[plans.place(name)] = True
    return np.flatnonzero(~there)


def _there(directory: Place, plans: ShardPlans) -> Iterator[str]:
    """The shards that a run would take over: those with a record, and those of a smaller data set that are as long as is planned."""
    if not (directory / MANIFEST_NAME).exists():
        yield from (shard.name for shard in finished_shards(directory, plans.ids, read_claim(directory)["identity"]))
        return
    for shard in read_manifest(directory).shards:
        ids = plans.ids(shard.name)
        if ids is not None and len(ids) == shard.sequences:
            yield shard.name
