"""Files that are either whole or not there: written aside under a hidden name, made durable, renamed; then the folder is made durable too.

    DIR/.<name>.partial-<pid>-<8 hex>     while it is written; removed when writing fails, left behind only by a killed process
    DIR/<name>                            whole
"""

import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

PARTIAL_GLOB = ".*.partial-*"


@contextmanager
def atomic_file(path: Path) -> Iterator[BinaryIO]:
    """A file to write that appears at `path`, replacing what is there, only when the block ends without an error.

    Random digits beside the process id: two nodes of a cluster (or two containers) may have the same process id and retry the same shard.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial-{os.getpid()}-{secrets.token_hex(4)}")
    try:
        with open(partial, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def write_json(path: Path, value: Any) -> None:
    """`value` as readable JSON with the order of its keys kept, atomically. NaN and infinities are refused: other readers stumble over them."""
    text = json.dumps(value, indent=1, allow_nan=False, ensure_ascii=False)
    with atomic_file(path) as file:
        file.write(text.encode() + b"\n")


def _sync_folder(folder: Path) -> None:
    """Makes a rename in `folder` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
