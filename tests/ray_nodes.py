"""A Ray cluster of several nodes on this machine, started by a process of its own as an administrator would: those who join it know its address alone."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from seqgen.pipeline.cluster import LOOPBACK_ONLY, QUIET

START = """
import sys
from ray.cluster_utils import Cluster

folder, nodes = sys.argv[1], int(sys.argv[2])
here = {"node_ip_address": "127.0.0.1", "include_dashboard": False, "object_store_memory": 10**8}
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "temp_dir": folder, **here})
try:
    for _ in range(nodes):
        cluster.add_node(num_cpus=1, **here)
    cluster.wait_for_nodes()
    print("ADDRESS", cluster.address, flush=True)
    sys.stdin.read()  # until whoever started it is done
finally:
    cluster.shutdown()
"""


@contextmanager
def nodes_at_work(number: int) -> Iterator[str]:
    """The address of a cluster with a head that takes no work and so many nodes of one core each, at 127.0.0.1 alone. It ends with the block."""
    with TemporaryDirectory(prefix="r-", dir="/tmp", ignore_cleanup_errors=True) as folder:  # Ray's sockets need a short name
        environment = {**os.environ, **QUIET, **LOOPBACK_ONLY}
        with subprocess.Popen([sys.executable, "-c", START, folder, str(number)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment) as process:
            try:
                said = next((line for line in process.stdout if line.startswith("ADDRESS ")), None)
                assert said, "the cluster did not start"
                yield said.split()[1]
            finally:
                process.stdin.close()
                try:
                    process.wait(timeout=60)
                except subprocess.TimeoutExpired:
                    process.kill()
                    raise


def parent_of(pid: int) -> int:
    """The process that started another one: of a worker, its node's raylet."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
