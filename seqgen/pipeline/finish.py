"""The end of a run: the index over all shards, then the manifest, which declares the data set whole."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from seqgen.dataset.claim import Origin
from seqgen.dataset.index import write_index
from seqgen.dataset.manifest import build_manifest, describe_machine, write_manifest
from seqgen.dataset.progress import FinishedShard, clear_progress
from seqgen.pipeline.assets import Assets
from seqgen.pipeline.config import GenerateConfig


def finish_dataset(directory: Path, config: GenerateConfig, origin: Origin, assets: Assets, finished: Sequence[FinishedShard], run: dict[str, Any]) -> None:
    """Writes index and manifest over shards that are all there, in the order of the plan, and clears the progress."""
    rows = [row for done in finished for row in done.rows]
    index = write_index(directory, rows, origin.as_dict())
    why = assets.licences()[0].licence if config.labels.flow_source is None else "not asked for: labels.flow_source = false"
    manifest = build_manifest(
        origin.config,
        origin.identity,
        seed=config.seed,
        frames=config.clip.frames,
        assets=assets.licences(),
        left_out={} if assets.store_flow else dict.fromkeys(("flow_joints_m", "flow_source"), why),
        shards=[done.shard for done in finished],
        rows=rows,
        index=index,
        run=run,
    )
    write_manifest(directory, manifest)
    clear_progress(directory)


def told_of_run(began: datetime, workers: int) -> dict[str, Any]:
    """The `run` block: machine, versions, times."""
    times = {"began": began.isoformat(timespec="seconds"), "ended": datetime.now(UTC).isoformat(timespec="seconds")}
    return {**describe_machine(), **times, "workers": workers}
