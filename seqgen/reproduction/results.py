"""The folders of a reproduction, and the figures kept there, so that what is done is never done again.

    OUT/data/<data>/                                a data set
    OUT/runs/<training>/seed-<n>/                   a training run (`seqgen.training`)
    OUT/results/<training>/seed-<n>/training.json   {identity, checkpoint, seconds, machine, versions}: the training is finished
    OUT/results/<training>/seed-<n>/costs.json      {identity, costs}: what its network costs (`costs.py`), of tables that tell it
    OUT/results/<training>/seed-<n>/<test>.npz      one number a test clip and metric (`measure.py`)
    OUT/results/<training>/seed-<n>/<test>.json     {identity, means, seconds}: written last, so its presence says that the test is done
    OUT/<table>.md, .svg                            made anew from whatever results there are

`identity` is a hash of all settings that an outcome depends on: outcomes of others are refused, not mixed in. `n` is 0 for a training that all seeds share,
whatever seed it is asked for.
"""

import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from seqgen.config import config_digest
from seqgen.dataset.provenance import describe_machine
from seqgen.errors import UserError
from seqgen.files import write_json, written_aside
from seqgen.reproduction.measure import VERSION
from seqgen.reproduction.scales import Scale, data_identity, training_digest
from seqgen.reproduction.tables import Data, HeldOut, Training

Array = np.ndarray
PerClip = Float[Array, "clips"]


@dataclass(frozen=True)
class Results:
    """Where things of a reproduction at one scale lie, and what is there already."""

    out: Path
    scale: Scale

    def data_folder(self, data: Data) -> Path:
        return self.out / "data" / data.name if data.path is None else data.path

    def run_folder(self, training: Training, seed: int) -> Path:
        return self.out / "runs" / training.name / f"seed-{training.seed_of(seed)}"

    def checkpoint(self, training: Training, seed: int) -> Path | None:
        """The checkpoint of a finished training; None while it is not."""
        record = _read(self._path(training, seed, "training"), training_digest(training, self.scale, seed=seed))
        return None if record is None else self.run_folder(training, seed) / record["checkpoint"]

    def finish_training(self, training: Training, seed: int, checkpoint: Path, *, seconds: float) -> None:
        """Notes that a training is finished, on this machine. `checkpoint` lies in its run's folder."""
        record = {"checkpoint": str(checkpoint.relative_to(self.run_folder(training, seed))), "seconds": round(seconds, 1), **_machine(self.scale.device)}
        write_json(self._path(training, seed, "training"), {"identity": training_digest(training, self.scale, seed=seed), **record})

    def write(self, training: Training, seed: int, test: HeldOut, measured: dict[str, PerClip], *, seconds: float) -> None:
        """The figures of a test, then the means that say they are whole."""
        path = self._path(training, seed, test.name)
        with written_aside(path.with_suffix(".npz")) as aside, open(aside, "wb") as file:
            np.savez(file, **{name: values.astype(np.float32) for name, values in measured.items()})
        means = {name: float(np.nanmean(values)) if np.isfinite(values).any() else None for name, values in measured.items()}
        write_json(path, {"identity": self._test_digest(training, seed, test), "means": means, "seconds": round(seconds, 1)})

    def has(self, training: Training, seed: int, test: HeldOut) -> bool:
        """Whether a test is done."""
        return _read(self._path(training, seed, test.name), self._test_digest(training, seed, test)) is not None

    def read(self, training: Training, seed: int, test: HeldOut) -> dict[str, PerClip] | None:
        """The figures of a test; None while it is not done."""
        path = self._path(training, seed, test.name)
        if not self.has(training, seed, test):
            return None
        try:
            with np.load(path.with_suffix(".npz"), allow_pickle=False) as archive:
                return {name: archive[name].astype(float) for name in archive.files}
        except (OSError, ValueError, zipfile.BadZipFile) as error:
            raise _damaged(path.with_suffix(".npz"), error) from None

    def costs(self, training: Training, seed: int) -> dict[str, float] | None:
        """What the network costs; None while it is not weighed."""
        record = _read(self._path(training, seed, "costs"), training_digest(training, self.scale, seed=seed))
        return None if record is None else record["costs"]

    def write_costs(self, training: Training, seed: int, costs: dict[str, float]) -> None:
        """Keeps what the network costs."""
        write_json(self._path(training, seed, "costs"), {"identity": training_digest(training, self.scale, seed=seed), "costs": costs})

    def training_seconds(self, training: Training, seed: int) -> float | None:
        """How long the training itself took; None while it is not finished."""
        path = self._path(training, seed, "training")
        return float(_content(path)["seconds"]) if path.exists() else None

    def seeds(self, training: Training, test: HeldOut) -> list[int]:
        """The seeds whose test is done."""
        names = (folder.name.removeprefix("seed-") for folder in (self.out / "results" / training.name).glob("seed-*"))
        numbers = sorted(int(name) for name in names if name.isdigit())
        return [seed for seed in numbers if self.has(training, seed, test)]

    def seconds(self, training: Training, seed: int) -> float:
        """What a training with its tests took so far."""
        return sum((float(_content(path).get("seconds", 0.0)) for path in self._path(training, seed, "training").parent.glob("*.json")), 0.0)

    def machine(self, training: Training, seed: int) -> str | None:
        """What a training was made on; None while it is not finished."""
        path = self._path(training, seed, "training")
        if not path.exists():
            return None
        record = _content(path)
        try:
            machine, versions = record["machine"], record["versions"]
            words = [f"{machine['system']} {machine['architecture']}", f"{machine['cores']} cores", *([machine["gpu"]] if "gpu" in machine else []), f"torch {versions['torch']}"]
        except (KeyError, TypeError) as error:
            raise _damaged(path, error) from None
        return ", ".join(words)

    def _path(self, training: Training, seed: int, name: str) -> Path:
        return self.out / "results" / training.name / f"seed-{training.seed_of(seed)}" / f"{name}.json"

    def _test_digest(self, training: Training, seed: int, test: HeldOut) -> str:
        trained = training_digest(training, self.scale, seed=seed)
        return config_digest({"training": trained, "test": data_identity(test.data, self.scale), "fields": dict(test.fields), "clips": self.scale.test_clips, "measure": VERSION})


def _machine(device: str) -> dict[str, Any]:
    """The machine and the versions of what runs on it; with the accelerator where one is used."""
    about = describe_machine()
    if device == "cuda":
        import torch

        about["machine"]["gpu"] = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    return about


def _read(path: Path, identity: str) -> dict[str, Any] | None:
    """A record that is of these settings; None where there is none. UserError when it is of others, or damaged."""
    if not path.exists():
        return None
    record = _content(path)
    if record.get("identity") != identity:
        raise UserError(f"{path}: was made with other settings; choose another --out, or remove this file and the run's folder to make it anew")
    return record


def _content(path: Path) -> dict[str, Any]:
    """A record as it stands there."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _damaged(path, error) from None
    if not isinstance(record, dict):
        raise _damaged(path, ValueError("not a record"))
    return record


def _damaged(path: Path, error: Exception) -> UserError:
    return UserError(f"{path}: damaged ({error}); remove it, and the same command makes it anew")
