"""The end of a run: the index over all shards, then the manifest, which declares the data set whole."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from seqgen.config import config_digest
from seqgen.dataset.claim import Origin, sweep_unplanned
from seqgen.dataset.index import Columns
from seqgen.dataset.index_writer import write_index_of
from seqgen.dataset.manifest import build_manifest, write_manifest
from seqgen.dataset.progress import clear_progress, read_records
from seqgen.dataset.provenance import describe_machine, platform_of
from seqgen.dataset.tally import ShardTable, Tally
from seqgen.pipeline.assets import Assets
from seqgen.pipeline.config import GenerateConfig
from seqgen.pipeline.plan import ShardPlans, check_claim, plan_shards
from seqgen.places import Place
from seqgen.splits import SPLITS


class ShardMissing(Exception):
    """A shard of the plan that no record vouches for: the data set cannot be finished."""


def finish_dataset(directory: Place, config: GenerateConfig, origin: Origin, assets: Assets, run: dict[str, Any]) -> None:
    """Writes index and manifest over shards that are all there, and clears the progress. ShardMissing, and nothing is written, where they are not.

    Their records are read one by one, each split's in its order, so that a million of them take no more memory than their hashes do.
    """
    plans, tally = plan_shards(config), Tally()
    shards = ShardTable(len(plans))

    def columns(plans: ShardPlans) -> Iterator[Columns]:
        records = read_records(directory, ((plan.name, plan.ids) for plan in plans), origin.identity)
        for place, record in zip(plans.places, records, strict=True):
            if record is None:
                raise ShardMissing
            shards.put(place, record.shard)
            tally.add(record.columns)
            yield record.columns

    index = write_index_of(directory, [columns(plans.of_split(split)) for split in SPLITS], origin.as_dict())
    why = assets.licences()[0].licence if config.labels.flow_source is None else "not asked for: labels.flow_source = false"
    manifest = build_manifest(
        origin.config,
        origin.identity,
        seed=config.seed,
        frames=config.clip.frames,
        assets=assets.licences(),
        left_out={} if assets.store_flow else dict.fromkeys(("flow_joints_m", "flow_source"), why),
        shards=shards,
        rows=tally,
        index=index,
        run=run,
    )
    check_claim(directory, origin.identity)
    sweep_unplanned(directory, lambda name: plans.place(name) is not None)
    write_manifest(directory, manifest)
    clear_progress(directory)


def describe_run(config: GenerateConfig, began: datetime, workers: int) -> dict[str, Any]:
    """What is known of a run when it begins: machine, versions, the time, its workers."""
    return {**describe_machine(config.device), "began": began.isoformat(timespec="seconds"), "workers": workers}


def ended_run(run: Mapping[str, Any], noted: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The `run` block of a data set that this run ends: with `earlier`, those of the noted ones that were on other platforms, one for each."""
    alike, others = [run], {}
    for one in noted:
        if platform_of(one) == platform_of(run):
            alike.append(one)
        else:
            others.setdefault(config_digest(platform_of(one)), dict(one))
    began = min(str(one.get("began")) for one in alike)
    return {**run, "began": began, "ended": datetime.now(UTC).isoformat(timespec="seconds"), "earlier": list(others.values())}
