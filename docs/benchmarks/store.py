"""Memory that a store takes: of the driver of a run that lists a million names, of a worker that puts a large shard.

    python docs/benchmarks/store.py names --names 1000000      what S3 would answer, made up here a page at a time; by pages, and by the `ls` of s3fs
    python docs/benchmarks/store.py put --megabytes 300        to a local server of S3 in another process (moto, of the extra `test`)

Each measure is taken in a process of its own: its peak over what it had at rest, when its libraries were loaded and the store had been asked once.
"""

import argparse
import datetime
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from seqgen.places import place_of

KEYS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}
FOLDER = "clips/.progress"


def memory_mb(of: str) -> float:
    """VmRSS is what the process has now, VmHWM the most since `begin_peak`."""
    return int(re.search(rf"{of}:\s+(\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024 / 1e6


def begin_peak() -> float:
    """Lets the peak begin here (proc(5)); returns the memory at rest."""
    Path("/proc/self/clear_refs").write_text("5")
    return memory_mb("VmRSS")


def page_of_s3(names: int, asked: dict[str, Any]) -> dict[str, Any]:
    """What S3 answers of so many records of shards, a thousand at a time."""
    first = int(asked.get("ContinuationToken", 0))
    last, stamp = min(names, first + 1000), datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    entries = [
        {
            "Key": f"{FOLDER}/train-{number:06d}.tar.json",
            "LastModified": stamp + datetime.timedelta(seconds=number),
            "ETag": f'"{number:032x}"',
            "Size": 13_000 + number % 100,
            "StorageClass": "STANDARD",
        }
        for number in range(first, last)
    ]
    return {"Contents": entries, "IsTruncated": last < names, "NextContinuationToken": str(last)}


def list_names(number: int, way: str) -> dict[str, Any]:
    """Counts so many names, by pages or by `ls`."""
    from fsspec.asyn import sync_wrapper
    from s3fs import S3FileSystem

    shown = 1

    async def answer(store: Any, method: str, *_: Any, **asked: Any) -> dict[str, Any]:
        return page_of_s3(shown, asked)

    S3FileSystem._call_s3, S3FileSystem.call_s3 = answer, sync_wrapper(answer)
    folder = place_of(f"s3://bucket/{FOLDER}")
    store, path = folder.driver()
    ways = {"pages": lambda: sum(1 for _ in folder.names()), "ls": lambda: len(store.ls(path, detail=True))}
    ways[way]()
    shown, rest, start = number, begin_peak(), time.process_time()
    counted = ways[way]()
    return {"way": way, "names": counted, "growth_mb": round(memory_mb("VmHWM") - rest), "cpu_s": round(time.process_time() - start, 1)}


def put(megabytes: int, bucket: str) -> dict[str, Any]:
    """Puts a file of so many megabytes."""
    folder = place_of(f"s3://{bucket}")
    with tempfile.TemporaryDirectory() as here:
        small, large = Path(here) / "small", Path(here) / "large"
        for path, size in ((small, 1000), (large, megabytes * 10**6)):
            with open(path, "wb") as file:
                file.truncate(size)
        (folder / "small").put(small)
        rest = begin_peak()
        (folder / "large").put(large)
    return {"megabytes": megabytes, "growth_mb": round(memory_mb("VmHWM") - rest)}


def in_a_process(*words: str, **environment: str) -> None:
    subprocess.run([sys.executable, __file__, *words], check=True, env={**os.environ, **KEYS, **environment})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=["names", "put"])
    parser.add_argument("--names", type=int, default=1_000_000)
    parser.add_argument("--megabytes", type=int, default=300)
    parser.add_argument("--here", help=argparse.SUPPRESS)  # in this process: the way, or the bucket
    known = parser.parse_args()
    if known.here:
        print(json.dumps(list_names(known.names, known.here) if known.part == "names" else put(known.megabytes, known.here)), flush=True)
    elif known.part == "names":
        for way in ("ls", "pages"):
            in_a_process("names", "--names", str(known.names), "--here", way)
    else:
        import boto3
        from moto.server import ThreadedMotoServer

        os.environ.update(KEYS)
        server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
        server.start()
        url = "http://{}:{}".format(*server.get_host_and_port())
        try:
            boto3.client("s3", endpoint_url=url).create_bucket(Bucket="bucket")
            in_a_process("put", "--megabytes", str(known.megabytes), "--here", "bucket", AWS_ENDPOINT_URL=url)
        finally:
            server.stop()


if __name__ == "__main__":
    main()
