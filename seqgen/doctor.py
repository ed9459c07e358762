"""What works on this machine: one line for each library or file that a run may need, with the reason where something does not."""

import os
from collections.abc import Iterator
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from seqgen.errors import UserError


def examine() -> Iterator[tuple[str, bool, str]]:
    """(name, whether it works, detail), as each is found out."""
    yield "cores", True, f"{len(os.sched_getaffinity(0))} usable"
    yield from _warp()
    yield _pyrender()
    yield "ray", True, f"{metadata.version('ray')}, {'RAY_ADDRESS is ' + os.environ['RAY_ADDRESS'] if 'RAY_ADDRESS' in os.environ else 'a local one will be started'}"
    yield _torch_cuda()
    yield _video()
    yield _mano()
    yield _cache()


def _warp() -> Iterator[tuple[str, bool, str]]:
    from seqgen.render import load_renderer

    for device in ("cpu", "cuda"):
        try:
            load_renderer("warp", device=device)
            yield f"warp {device}", True, metadata.version("warp-lang")
        except UserError as error:
            yield f"warp {device}", False, str(error)


def _pyrender() -> tuple[str, bool, str]:
    from seqgen.render.pyrender_renderer import why_unavailable

    reason = why_unavailable()
    return "pyrender", reason is None, reason or "OpenGL answers"


def _torch_cuda() -> tuple[str, bool, str]:
    import torch

    there = torch.cuda.is_available()
    return "training on cuda", there, f"torch {torch.__version__}, {torch.cuda.get_device_name() if there else 'finds no CUDA device'}"


def _video() -> tuple[str, bool, str]:
    there = find_spec("av") is not None
    return "videos", there, f"PyAV {metadata.version('av')}" if there else 'no PyAV; pip install "seqgen[video]"'


def _mano() -> tuple[str, bool, str]:
    from seqgen.hand import MANO_DIR

    files = sorted(Path(MANO_DIR).glob("MANO_*"))
    return "MANO files", bool(files), ", ".join(map(str, files)) or f"none in {MANO_DIR}; free registration at https://mano.is.tue.mpg.de"


def _cache() -> tuple[str, bool, str]:
    from seqgen.files import cache_folder, is_writable

    try:
        folder = cache_folder()
    except UserError as error:
        return "cache", False, str(error)
    return "cache", is_writable(folder), str(folder)
