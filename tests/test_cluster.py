"""Clusters: the templates say what there is, several nodes write the same bytes, and an address that is no cluster's is refused at once."""

import re
import shlex
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from runs import content, small_config

from seqgen.cli import run
from seqgen.cli.generating import ALIASES
from seqgen.config import find_config, parse_overrides, read_config, shipped_configs
from seqgen.errors import UserError
from seqgen.pipeline import cluster
from seqgen.pipeline.config import GenerateConfig
from seqgen.pipeline.run import Outcome, generate_dataset

TEMPLATES = sorted((Path(__file__).parent.parent / "configs" / "cluster").iterdir())
COMMAND = re.compile(r"seqgen generate (?!\.\.\.)([^\n]*)")
SHELL = re.compile(r"\$\(\(.*\)\)|\$\w+")


# Templates


def commands(path: Path) -> list[list[str]]:
    """The words after `seqgen generate` of each command that a template gives; what the shell would work out is 7."""
    told = [SHELL.sub("7", text) for text in COMMAND.findall(path.read_text())]
    return [shlex.split(text[: text.index('"')] if text.count('"') == 1 else text) for text in told if "--shard-range" not in text]


def test_there_is_one_for_each_kind_of_cluster() -> None:
    assert [path.name for path in TEMPLATES] == ["kuberay-rayjob.yaml", "ray-up.yaml", "slurm.sbatch"]


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_its_command_is_one_that_seqgen_takes(path: Path) -> None:
    [words] = commands(path)
    overrides = parse_overrides(words[1:], ALIASES)
    assert overrides.pop("out")
    config = read_config(GenerateConfig, find_config(words[0]), overrides)
    assert config.sequences == 1_000_000 and config.workers > 1 and set(overrides) == {"sequences", "workers"}


@pytest.mark.parametrize("path", [path for path in TEMPLATES if path.suffix == ".yaml"], ids=lambda path: path.name)
def test_yaml_templates_parse(path: Path) -> None:
    assert isinstance(yaml.safe_load(path.read_text()), dict)


def test_the_kuberay_job_has_what_kuberay_asks_for() -> None:
    job = yaml.safe_load(TEMPLATES[0].read_text())
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob") and job["spec"]["entrypoint"].startswith("seqgen generate ")
    head, [workers] = job["spec"]["rayClusterSpec"]["headGroupSpec"], job["spec"]["rayClusterSpec"]["workerGroupSpecs"]
    cores = sum(int(container["resources"]["limits"]["cpu"]) for container in workers["template"]["spec"]["containers"])
    assert f"--workers {workers['replicas'] * cores}" in job["spec"]["entrypoint"] and head["rayStartParams"]["num-cpus"] == "0"
    for pod in (head["template"]["spec"], workers["template"]["spec"]):
        volumes = {volume["name"] for volume in pod["volumes"]}
        assert all(mount["name"] in volumes for container in pod["containers"] for mount in container["volumeMounts"])


def test_the_ray_up_template_is_what_ray_takes() -> None:
    from ray.autoscaler._private.util import prepare_config, validate_config

    config = yaml.safe_load(TEMPLATES[1].read_text())
    validate_config(prepare_config(config))
    assert config["head_node_type"] in config["available_node_types"] and "RAY_ADDRESS=auto seqgen generate" in TEMPLATES[1].read_text()


def test_the_slurm_script_is_bash() -> None:
    subprocess.run(["bash", "-n", str(TEMPLATES[2])], check=True)
    assert "export RAY_ADDRESS=" in TEMPLATES[2].read_text()


def test_templates_are_no_configs(capsys: pytest.CaptureFixture[str]) -> None:
    assert not {path.stem for path in TEMPLATES} & set(shipped_configs()) and "cluster" not in shipped_configs()
    assert run(["config", "list"]) == 0
    listed = {line.split()[0] for line in capsys.readouterr().out.splitlines()}
    assert "quickstart" in listed and not any(name.startswith("cluster") for name in listed) and not {path.stem for path in TEMPLATES} & listed


# Nodes


def test_three_nodes_write_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each node has one core, so three workers are on three nodes."""
    from ray.cluster_utils import Cluster

    sizes = {"sequences": 12, "clip": {"frames": 2, "size": (48, 40)}, "output": {"sequences_per_shard": 1}}
    generate_dataset(small_config(**sizes), tmp_path / "alone")
    nodes, seen = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False}), set()
    try:
        for _ in range(2):
            nodes.add_node(num_cpus=1)
        nodes.wait_for_nodes()
        monkeypatch.setenv("RAY_ADDRESS", nodes.address)
        with monkeypatch.context() as other, pytest.raises(UserError, match=r"Version mismatch: .* Ray: 2\.0\.0, .* need the same versions$") as error:
            other.setattr("ray.__version__", "2.0.0")
            cluster.Cluster(1, 0).__enter__()
        assert "\n" not in str(error.value)

        monkeypatch.setattr(cluster.RayPool, "give", given_to(seen, cluster.RayPool.give))
        monkeypatch.setattr(cluster.RayPool, "wait", once_all_are_there(3, cluster.RayPool.wait))
        assert generate_dataset(small_config(**sizes, workers=3), tmp_path / "cluster") == Outcome(12, whole=True)
    finally:
        nodes.shutdown()
    assert content(tmp_path / "cluster") == content(tmp_path / "alone") and len(seen) == 3


def given_to(seen: set, give: Callable[..., None]) -> Callable[..., None]:
    """`RayPool.give`, which notes the workers that were given a shard."""

    def noting(self: cluster.RayPool, worker: object, plan: object) -> None:
        seen.add(worker)
        give(self, worker, plan)

    return noting


def once_all_are_there(number: int, wait: Callable[..., list]) -> Callable[..., list]:
    """`RayPool.wait`, which says nothing before so many workers have opened their sources: so each gets a shard, however slowly it starts."""
    there: list = []

    def waiting(self: cluster.RayPool) -> list:
        ended = wait(self)
        while len(there) + len(ended) < number:
            ended += wait(self)
        there.extend(ended)
        return ended

    return waiting


# Addresses


@pytest.fixture
def server() -> Iterator[Callable[[bytes | None], int]]:
    """Starts a server that says something to whoever calls, or nothing, and hangs up; returns its port."""
    sockets: list[socket.socket] = []

    def start(words: bytes | None) -> int:
        listening = socket.create_server(("127.0.0.1", 0))
        sockets.append(listening)

        def serve() -> None:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            if words is None:
                connection.recv(1)
            else:
                connection.recv(100)
                connection.sendall(words)
            connection.close()

        threading.Thread(target=serve, daemon=True).start()
        return listening.getsockname()[1]

    yield start
    for listening in sockets:
        listening.close()


@pytest.mark.parametrize("words", [b"HTTP/1.0 400 Bad Request\r\n\r\n", b"", b"SSH-2.0-OpenSSH_9.6\r\n", None], ids=["web", "hangs up", "ssh", "cuts off"])
def test_another_server_is_no_cluster(server: Callable[[bytes | None], int], words: bytes | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{server(words)}")
    with pytest.raises(UserError, match=r"RAY_ADDRESS 127\.0\.0\.1:\d+: what answers there is no Ray cluster's head") as error:
        generate_dataset(small_config(workers=1), tmp_path / "out")
    assert "\n" not in str(error.value) and not (tmp_path / "out").exists()


@pytest.mark.parametrize("address", ["garbage", "host:", ":6379", "host:port", "ray://127.0.0.1:10001", "127.0.0.1:99999", "http://a:1", "a b:1", "[::1", "::1", "\u0661:1"])
def test_malformed_addresses_are_one_line(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", address)
    with pytest.raises(UserError, match="RAY_ADDRESS ") as error:
        cluster.check_address()
    assert address in str(error.value) and "\n" not in str(error.value)


def test_a_silent_server_is_not_waited_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "WAIT_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{listening.getsockname()[1]}")
        start = time.monotonic()
        with pytest.raises(UserError, match="no Ray cluster's head"):
            cluster.check_address()
        assert time.monotonic() - start < 5


def test_auto_without_a_cluster_here(monkeypatch: pytest.MonkeyPatch) -> None:
    import ray._private.services as services

    monkeypatch.setenv("RAY_ADDRESS", "auto")
    monkeypatch.setattr(services, "find_gcs_addresses", set)
    monkeypatch.setattr(services, "find_bootstrap_address", lambda folder: None)
    with pytest.raises(UserError, match="RAY_ADDRESS auto: no Ray cluster runs on this machine"):
        cluster.check_address()
    monkeypatch.setattr(services, "find_bootstrap_address", lambda folder: "127.0.0.1:1")  # of a cluster that is gone
    with pytest.raises(UserError, match=r"RAY_ADDRESS auto \(127\.0\.0\.1:1\): nothing answers there"):
        cluster.check_address()


SHARES = {  # nodes as (GPUs, cores), workers, workers to a GPU
    "one GPU": ([(1, 16)], 16, 16),
    "eight": ([(8, 64)], 64, 8),
    "few workers are spread": ([(8, 64)], 4, 1),
    "an odd one has room": ([(2, 8)], 3, 2),
    "a head without": ([(0, 4), (1, 8)], 100, 8),
    "one node of ten has joined": ([(0, 4), (8, 64)], 640, 8),
    "all ten have": ([(0, 4)] + [(8, 64)] * 10, 640, 8),
    "few workers on many nodes": ([(1, 16)] * 4, 8, 2),
    "none has joined": ([(0, 4)], 640, cluster.WORKERS_OF_UNSEEN_GPU),
    "more than Ray's steps": ([(1, 100_000)], 30_000, 10_000),
}


@pytest.mark.parametrize("case", SHARES)
def test_workers_share_the_gpus(case: str) -> None:
    """A GPU holds so many and no more; never none, which would place workers where no GPU is."""
    nodes, workers, each = SHARES[case]
    share = cluster.gpu_share([{"CPU": float(cores), **({"GPU": float(gpus)} if gpus else {})} for gpus, cores in nodes], workers, grows=True)
    assert each * share <= 1 < (each + 1) * share and round(share * 10_000) == pytest.approx(share * 10_000, abs=1e-9)


def test_a_machine_alone_may_have_a_gpu_that_ray_does_not_know() -> None:
    assert cluster.gpu_share([{"CPU": 4.0}], 4, grows=False) == 0 and cluster.gpu_share([{"CPU": 4.0, "GPU": 1.0}], 4, grows=False) == 0.25
