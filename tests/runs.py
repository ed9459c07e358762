"""Small runs for the tests: a config of little clips on a little bank."""

from pathlib import Path
from typing import Any

from seqgen.pipeline.config import GenerateConfig

SMALL: dict[str, Any] = {
    "sequences": 10,
    "workers": 0,
    "clip": {"frames": 4, "size": (96, 80)},
    "split": {"train": 6, "val": 2, "test": 2},
    "poses": {"rows": 1500},
    "output": {"sequences_per_shard": 3, "preview": 0},
}


def small_config(**sections: Any) -> GenerateConfig:
    """SMALL with some fields replaced: `small_config(seed=1, camera={"kind": "weak_perspective"})`."""
    merged = {name: {**SMALL.get(name, {}), **value} if isinstance(value, dict) else value for name, value in sections.items()}
    return GenerateConfig(**{**SMALL, **merged})


def content(directory: Path) -> dict[str, bytes]:
    """The files of a data set that byte identity is about."""
    return {path.name: path.read_bytes() for path in [*sorted((directory / "shards").glob("*")), directory / "index.parquet"]}
