"""Training in several processes: Ray Train starts them and connects them (gloo, or NCCL with CUDA), each runs the loop of `train.py` as one rank of a group.

    driver:  Ray, of its own on this machine unless RAY_ADDRESS is set ──> TorchTrainer ──> rank 0 .. N - 1: teach(config, out, group)

Every rank needs the data and `out` under the same paths; relative ones start from the driver's working directory. Progress is in the run's log. The only file of
this wing that knows Ray.
"""

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from seqgen.errors import UserError
from seqgen.files import plain_temporary_folder
from seqgen.training.checkpoint import TrainResult, read_result
from seqgen.training.config import TrainConfig, train_config
from seqgen.training.group import Group
from seqgen.training.progress import LOG_NAME
from seqgen.training.sources import Live
from seqgen.training.train import teach

QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
LOOPBACK_ONLY = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}  # read when Ray is imported; else it turns a loopback address into the machine's own
OBJECT_STORE_BYTES = 100_000_000  # nothing of ours goes through it
TEMPORARY_BYTES = 107 - len("/ray/session_2026-11-20_19-15-49_328190_4194304/sockets/plasma_store")  # a socket's name has 107 bytes (unix(7)); Ray adds these

Job = dict[str, Any]  # what a rank is sent: plain JSON values, and live data, of which each opens its own


def train_on_workers(config: TrainConfig, out: Path, *, live: Live, say: Callable[[str], None]) -> TrainResult:
    """The loop on `config.run.train_workers` processes of one GPU or an equal share of the cores each. UserErrors of a rank come back as such."""
    num_workers = config.run.train_workers
    say(f"{out}: {num_workers} training processes; their progress is in {out / LOG_NAME}")
    job = {"config": config.model_dump(mode="json"), "out": str(Path(out).absolute()), "folder": os.getcwd(), "live": dict(live)}
    run_on_workers(teach_one, job, num_workers, cuda=config.run.device == "cuda")
    return read_result(out)


def teach_one(job: Job) -> None:
    """What each process runs."""
    import ray.train.torch

    if os.path.isdir(job["folder"]):  # Ray starts processes elsewhere; another machine need not have the folder when all paths are absolute
        os.chdir(job["folder"])
    if job["config"]["run"]["device"] == "cuda":  # a process sees all GPUs of its machine; one of them is its own
        torch.cuda.set_device(ray.train.torch.get_device())
    place = ray.train.get_context()
    teach(train_config(job["config"], where="config"), Path(job["out"]), live=job["live"], group=Group(place.get_world_rank(), place.get_world_size()))


def run_on_workers(work: Callable[[Job], None], job: Job, num_workers: int, *, cuda: bool = False) -> None:
    """Runs `work(job)` in each of `num_workers` processes that `torch.distributed` connects, and waits. The first error of any ends all."""
    with _connected(num_workers), tempfile.TemporaryDirectory(dir=_plain_folder()) as scratch:
        from ray.train import RunConfig, ScalingConfig, TrainingFailedError
        from ray.train.torch import TorchConfig, TorchTrainer

        scaling = ScalingConfig(num_workers=num_workers, use_gpu=cuda, resources_per_worker={"GPU": 1, "CPU": 1} if cuda else {"CPU": 1})
        trainer = TorchTrainer(
            work,
            train_loop_config=job,
            scaling_config=scaling,
            torch_config=TorchConfig(backend="nccl" if cuda else "gloo"),
            run_config=RunConfig(name="train", storage_path=scratch),
        )
        try:
            trainer.fit()
        except TrainingFailedError as error:
            raise _cause(error) from error


def _cause(error: Exception) -> Exception:
    """The user's mistake that ended a rank, if it was one; else the error itself."""
    failures = getattr(error, "worker_failures", {}).values()
    return next((failure for failure in failures if isinstance(failure, UserError)), error)


@contextmanager
def _connected(num_workers: int) -> Iterator[None]:
    """A connection to the cluster at RAY_ADDRESS, else to a small one of our own that listens on this machine only and ends with the block."""
    address = os.environ.get("RAY_ADDRESS")
    os.environ.update(QUIET if address else QUIET | LOOPBACK_ONLY)
    import ray

    quiet = {"logging_level": "ERROR", "log_to_driver": False}
    if address:
        _join(address, num_workers, quiet)
    else:
        cores = {"num_cpus": num_workers, "object_store_memory": OBJECT_STORE_BYTES}
        local = {"_node_ip_address": "127.0.0.1", "_temp_dir": str(_plain_folder() / "ray")}
        ray.init("local", include_dashboard=False, **local, **cores, **quiet)
    try:
        yield
    finally:
        ray.shutdown()


def _join(address: str, num_workers: int, quiet: dict[str, Any]) -> None:
    """Connects to a running cluster."""
    import ray

    try:
        ray.init(address=address, **quiet)
    except (ConnectionError, ValueError) as error:
        raise UserError(f"Ray for {num_workers} training processes: {str(error).splitlines()[0]}; unset RAY_ADDRESS to work on this machine alone") from None


def _plain_folder() -> Path:
    """A temporary folder with a name that Ray can take."""
    return plain_temporary_folder(("RAY_TMPDIR", "TMPDIR"), TEMPORARY_BYTES)
