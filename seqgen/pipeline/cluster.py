"""Shards made by Ray workers: the only file that knows Ray. Actors of one core each take one shard at a time; paths and hashes come back.

    driver:  assets ──put once──> object store ──shared by all workers of a node
             plans  ──one shard to each free worker──> records as they come; the shard of a worker that died goes to another one

A shard is a pure function of config and plan, so a retry gives the same bytes.
"""

import itertools
import logging
import math
import os
import signal
import socket
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from queue import SimpleQueue
from typing import Any

from seqgen.dataset.shards import ShardRecord
from seqgen.errors import UserError
from seqgen.files import plain_temporary_folder
from seqgen.pipeline.loop import Done
from seqgen.pipeline.plan import ShardPlan
from seqgen.pipeline.work import MAX_TRIES, ShardWorker, Work

QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
# Ray's switch, read when it is imported, for machines that join no cluster: its servers then listen at 127.0.0.1 only. Otherwise it
# turns a loopback address that it is given into the machine's own.
LOOPBACK_ONLY = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
UNNEEDED = ("start_monitor", "start_log_monitor", "start_api_server")  # methods of Ray's node, see `_needed_alone`
OBJECT_STORE_BYTES = 150_000_000  # beside the assets themselves
WORKERS_OF_UNSEEN_GPU = 8  # where none has joined the cluster yet
TEMPORARY_BYTES = 107 - len("/ray/session_2026-11-20_19-15-49_328190_4194304/sockets/plasma_store")  # a socket's name has 107 bytes (unix(7)); Ray adds these

OTHER_VERSION = "Version mismatch"  # so begins what Ray says of a cluster with another Ray or Python
WAIT_S = 10.0  # for a cluster's head to answer
HTTP2_SETTINGS = b"\x04"  # the type of a frame
HTTP2_GREETING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0" + HTTP2_SETTINGS + b"\0" * 5
log = logging.getLogger(__name__)


class Cluster:
    """A connection to Ray: to RAY_ADDRESS when it is set, else to a small one of our own on this machine, loopback only. Use as a context."""

    def __init__(self, num_workers: int, assets_bytes: int) -> None:
        self.num_workers, self.assets_bytes = num_workers, assets_bytes

    def __enter__(self) -> "Cluster":
        address = _address()
        os.environ.update(QUIET if address else QUIET | LOOPBACK_ONLY)
        import ray

        quiet = {"logging_level": "ERROR", "log_to_driver": False}
        before = _keep_sigterm(ray)
        try:
            if address:
                _join(address, quiet)
            else:
                store = OBJECT_STORE_BYTES + 2 * self.assets_bytes
                local = {"_node_ip_address": "127.0.0.1", "_temp_dir": str(plain_temporary_folder(("RAY_TMPDIR", "TMPDIR"), TEMPORARY_BYTES) / "ray")}
                with _needed_alone():
                    ray.init("local", num_cpus=self.num_workers, include_dashboard=False, object_store_memory=store, **local, **quiet)
        except BaseException:
            ray.shutdown()  # what has been started by then
            raise
        finally:
            if threading.current_thread() is threading.main_thread():
                signal.signal(signal.SIGTERM, before)  # Ray's libraries have put one of theirs before it, which prints a stack
        return self

    def __exit__(self, *_: object) -> None:
        import ray

        ray.shutdown()


class RayPool:
    """Ray actors as a `seqgen.pipeline.loop.Pool`, in a cluster that is open."""

    def __init__(self, cluster: Cluster, work: Work) -> None:
        import ray

        self.size, self.failures, self._failed_starts = cluster.num_workers, 0, 0
        self._shared = ray.put(work if _address() else work.kept())
        self._gpus = gpu_share([node["Resources"] for node in ray.nodes() if node["Alive"]], self.size, grows=bool(_address())) if work.config.device != "cpu" else 0.0
        self._jobs: dict[int, tuple[Any, ShardPlan | None, Any]] = {}  # by a number of their own: the promise, the shard, the worker
        self._numbers, self._ended = itertools.count(), SimpleQueue[tuple[int, Any]]()

    def new_worker(self) -> Any:
        """An actor of one core, and of its share of a GPU where pictures are drawn on one."""
        import ray

        return ray.remote(num_cpus=1, num_gpus=self._gpus)(RemoteWorker).remote()

    def start(self) -> None:
        worker = self.new_worker()
        self._expect(worker.open.remote(self._shared), None, worker)  # a worker that finds no free core must hold no shard

    def give(self, worker: Any, plan: ShardPlan) -> None:
        self._expect(worker.make.remote(plan), plan, worker)

    def _expect(self, promise: Any, plan: ShardPlan | None, worker: Any) -> None:
        """Ray calls back when it is kept or broken: `ray.wait` over all costs a thousandth of a second for every thousand workers, each time."""
        number = next(self._numbers)
        self._jobs[number] = (promise, plan, worker)
        promise.future().add_done_callback(lambda future: self._ended.put((number, future)))

    def wait(self) -> list[Done]:
        ended = [self._ended.get()]
        while not self._ended.empty():
            ended.append(self._ended.get())
        return [self._done(*one) for one in ended]

    def _done(self, number: int, future: Any) -> Done:
        import ray

        _, plan, worker = self._jobs.pop(number)
        try:
            record = future.result()
        except ray.exceptions.RayTaskError as error:
            return Done(worker, plan, error=error.cause or error, told=str(error))
        except ray.exceptions.RayError as error:  # the worker died, or its node
            self._count_death(plan, error)
            return Done(None, plan, told=str(error))
        self._failed_starts = 0
        return Done(worker, plan, record)

    def _count_death(self, plan: ShardPlan | None, error: Exception) -> None:
        """Gives up when every worker, one with another, has died MAX_TRIES times before it could begin, and none has begun or made anything meanwhile: a node
        that goes takes with it no more than all of them once.
        """
        self.failures += 1
        self._failed_starts += plan is None
        log.warning("a worker died%s; starting another", f" making {plan.name}" if plan else "")
        if self._failed_starts == MAX_TRIES * self.size:
            said = next(iter(str(error).splitlines()), type(error).__name__)
            raise UserError(f"Ray workers die before they can begin, {self._failed_starts} by now: {said} Fewer --workers take less memory; --workers 0 takes no Ray")


def gpu_share(nodes: Sequence[Mapping[str, float]], workers: int, *, grows: bool) -> float:
    """How much of a GPU each worker has, of nodes with so much of "GPU" and "CPU", in the steps of Ray, ten-thousandths. Where the cluster `grows`, more nodes may
    join later: no GPU has more workers than those there now would need, nor than are cores to each GPU of the largest node, so that all its cores and GPUs are
    in use; workers wait where no GPU is yet. A machine alone on which Ray finds none may have one all the same.
    """
    found = [(node.get("GPU", 0.0), node.get("CPU", 0.0)) for node in nodes if node.get("GPU", 0.0) >= 1]
    if not found and not grows:
        return 0.0
    if not found:
        log.warning("no node of the cluster has a GPU yet; workers wait for one, %d to each", WORKERS_OF_UNSEEN_GPU)
        return 1 / WORKERS_OF_UNSEEN_GPU
    gpus, cores = max(found)
    to_each = min(workers / sum(gpus for gpus, _ in found), cores / gpus)
    return max(1, 10_000 // max(1, math.ceil(to_each))) / 10_000


class RemoteWorker:
    """A `ShardWorker` in a process of its own. It opens its sources in a call, so that what is raised there comes back as it is."""

    def open(self, work: Work) -> None:
        self.worker = ShardWorker(work)

    def make(self, plan: ShardPlan) -> ShardRecord:
        return self.worker.make(plan)


def _keep_sigterm(ray: Any) -> Any:
    """The handler of SIGTERM, which stays: Ray, while it starts, would have one end the process with exit code 15 and without a word."""
    ray._private.utils.set_sigterm_handler = lambda handler: None
    return signal.getsignal(signal.SIGTERM)


@contextmanager
def _needed_alone() -> Iterator[None]:
    """Ray's autoscaler, its log forwarder and its dashboard's server are not started within: three processes of 50 to 70 MB that a machine of its own has no
    use for, and that no option of `ray.init` leaves out.
    """
    from ray._private.node import Node

    started = {name: getattr(Node, name) for name in UNNEEDED if hasattr(Node, name)}
    for name in started:
        setattr(Node, name, lambda node, **options: None)
    try:
        yield
    finally:
        for name, start in started.items():
            setattr(Node, name, start)


def _join(address: str, quiet: dict[str, Any]) -> None:
    """Connects to a running cluster."""
    import ray

    try:
        ray.init(address=address, **quiet)
    except (ConnectionError, ValueError) as error:
        raise UserError(f"RAY_ADDRESS {address}: no Ray cluster answers there: {str(error).splitlines()[0]}") from None
    except RuntimeError as error:
        if not str(error).startswith(OTHER_VERSION):
            raise
        told = ", ".join(" ".join(line.split()) for line in str(error).splitlines()).replace(":,", ":")
        raise UserError(f"RAY_ADDRESS {address}: {told}; the cluster and this machine need the same versions") from None


def _address() -> str | None:
    """The cluster to join; None for one of our own, which "local" and nothing at all ask for too."""
    address = os.environ.get("RAY_ADDRESS", "")
    return None if address in ("", "local") else address


def check_address() -> bool:
    """Whether there is a cluster to join. Refuses at once a RAY_ADDRESS that Ray would try for minutes."""
    address = _address()
    if address is None:
        return False
    named = address
    if address == "auto":
        address = _running_here()
        named = f"auto ({address})"
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit() or "/" in address:
        raise UserError(f"RAY_ADDRESS {named}: expected host:port of a running cluster's head, or auto")
    try:
        is_grpc = _speaks_grpc(host.strip("[]"), int(port))
    except (OSError, OverflowError) as error:
        raise UserError(f"RAY_ADDRESS {named}: nothing answers there ({error}); start a cluster, or unset RAY_ADDRESS to work on this machine alone") from None
    if not is_grpc:
        raise UserError(f"RAY_ADDRESS {named}: what answers there is no Ray cluster's head; its port is 6379 unless `ray start --port` says another")
    return True


def _running_here() -> str:
    """The address of the cluster that this machine is a node of."""
    from ray._private.services import get_ray_address_from_environment

    try:
        address = get_ray_address_from_environment("auto", None)
    except ConnectionError:
        address = None
    if not address:
        raise UserError("RAY_ADDRESS auto: no Ray cluster runs on this machine; start one with `ray start --head`, or unset RAY_ADDRESS to work on this machine alone")
    return address


def _speaks_grpc(host: str, port: int) -> bool:
    """Whether a server greets as those of gRPC do, with the settings of HTTP/2 (RFC 9113, 3.4 and 6.5): any other would leave Ray waiting for 40 seconds."""
    if os.environ.get("RAY_USE_TLS", "0") not in ("", "0"):
        socket.create_connection((host, port), timeout=WAIT_S).close()
        return True
    with socket.create_connection((host, port), timeout=WAIT_S) as connection:
        try:
            connection.sendall(HTTP2_GREETING)
            return connection.recv(9, socket.MSG_WAITALL)[3:4] == HTTP2_SETTINGS
        except OSError:  # hung up, or silent
            return False
