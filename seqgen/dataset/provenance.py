"""Where a data set was made, for the `run` block of `dataset.json`: machine, libraries, revision of seqgen; and which of that can change bytes.

    machine     {system, architecture, cores, cpu, libc, features, device, gpus, driver}    gpus and driver where pictures are drawn on one, else empty and null
      features  {maker, flags, torch, numpy, blas}    of the CPU: what math libraries choose their code by, and what torch, numpy and BLAS did choose
    versions    {name: version}
    revision    commit of seqgen's checkout, with "-dirty" where files of the package differ from it; null for an installed package

Unknown is null or empty. No names of hosts, people or folders. No heavy library is loaded to be asked.
"""

import os
import platform
import re
import subprocess
import sys
import zlib
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_info

PACKAGE = Path(__file__).parents[1]
# Those that compute, draw, encode or hold (scikit-learn: the built-in photos) what a data set is made of, and with Ray one that only carries it.
DECIDING = ("seqgen", "numpy", "scipy", "torch", "warp-lang", "faiss-cpu", "pillow", "zlib-ng", "pyarrow", "scikit-learn", "trimesh")
TOLD = (*DECIDING, "ray")
# Flags of /proc/cpuinfo by which math libraries choose their code: x86, then ARM.
FLAGS = (
    *("sse4_2", "avx", "f16c", "fma", "avx2", "avx512f", "avx512dq", "avx512bw", "avx512vl", "avx512_vnni", "avx512_bf16", "avx512_fp16", "avx_vnni"),
    *("amx_tile", "amx_bf16", "amx_int8"),
    *("asimd", "asimdhp", "asimddp", "sve", "sve2", "bf16", "i8mm"),
)
NVIDIA = Path("/proc/driver/nvidia")
GIT_TIMEOUT_S = 5


def describe_machine(device: str = "cpu") -> dict[str, Any]:
    """The `run` block of a data set whose pictures are drawn on `device`, but for its times; see the head of this file."""
    cpu = read_cpuinfo(_text(Path("/proc/cpuinfo")))
    machine = {
        "system": platform.system(),
        "architecture": platform.machine(),
        "cores": os.cpu_count(),
        "cpu": cpu["name"] or platform.processor() or None,
        "libc": " ".join(filter(None, platform.libc_ver())) or None,
        "features": {"maker": cpu["maker"], "flags": cpu["flags"], **_chosen_code()},
        "device": device,
        **({"gpus": [], "driver": None} if device == "cpu" else _gpus()),
    }
    return {"machine": machine, "versions": _versions(), "revision": git_revision(PACKAGE)}


def platform_of(run: Mapping[str, Any]) -> dict[str, Any]:
    """What a `run` block says beside its times, by which runs on like platforms are told: without the copies of BLAS, which are those that were loaded by then."""
    machine = _table(run, "machine")
    features = {name: value for name, value in _table(machine, "features").items() if name != "blas"}
    return {"machine": {**machine, "features": features}, "versions": run.get("versions"), "revision": run.get("revision")}


def read_cpuinfo(text: str) -> dict[str, Any]:
    """Name, maker and flags of the first processor in the text of /proc/cpuinfo."""
    pairs = (line.partition(":") for line in text.partition("\n\n")[0].splitlines())
    entries = {key.strip(): value.strip() for key, _, value in pairs}
    there = set((entries.get("flags") or entries.get("Features") or "").split())
    return {"name": entries.get("model name"), "maker": entries.get("vendor_id") or entries.get("CPU implementer"), "flags": [flag for flag in FLAGS if flag in there]}


def read_gpus(folder: Path) -> dict[str, Any]:
    """Names of the GPUs and version of the driver, as NVIDIA's driver lists them in its /proc folder."""
    files = sorted(folder.glob("gpus/*/information"))
    names = [found[1] for file in files if (found := re.search(r"^Model:\s*(.+?)\s*$", _text(file), re.MULTILINE))]
    driver = re.search(r"\b\d+\.\d+(\.\d+)?\b", _text(folder / "version"))
    return {"gpus": names, "driver": driver and driver[0]}


def _gpus() -> dict[str, Any]:
    """What `read_gpus` finds; names from torch, if it is loaded, where the driver has no such folder (WSL, Jetson)."""
    listed, torch = read_gpus(NVIDIA), sys.modules.get("torch")
    if listed["gpus"] or torch is None or not torch.cuda.is_available():
        return listed
    try:
        return {**listed, "gpus": [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]}
    except RuntimeError:  # a GPU that is there, and taken: no reason to lose a finished run
        return listed


def git_revision(package: Path) -> str | None:
    """The commit that a package is at, with "-dirty" where its files differ; None unless it is tracked and lies at the root of a checkout. Never raises."""
    try:
        root = _git(package, "rev-parse", "--show-toplevel").removesuffix("\n")
        if not os.path.samefile(root, package.parent):
            return None  # an environment inside somebody's checkout
        _git(package, "ls-files", "--error-unmatch", "--", "__init__.py")
        commit, changed = _git(package, "rev-parse", "--verify", "HEAD").strip(), _git(package, "status", "--porcelain", "--", ".")
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
    return commit + "-dirty" * bool(changed)


def differences(theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> list[str]:
    """In words, what differs between two `run` blocks and can change bytes; empty for like platforms. What is known on one side only counts as different."""
    there, here = _facts(theirs), _facts(ours)
    found = [f"{name} {there[name]} there, {here[name]} here" for name in here if there[name] != here[name]]
    for name, here_too in _choices(ours).items():
        there_too = _choices(theirs)[name]
        for only, where in ((there_too - here_too, "there"), (here_too - there_too, "here")):
            found += [f"{name} {', '.join(sorted(only))} {where} only"] * bool(only)
    return found + _other_blas(theirs, ours)


def _facts(run: Mapping[str, Any]) -> dict[str, str]:
    """What decides bytes and has one value."""
    machine, versions = _table(run, "machine"), _table(run, "versions")
    features = _table(machine, "features")
    facts = {"system": machine.get("system"), "architecture": machine.get("architecture"), "C library": machine.get("libc"), "CPU maker": features.get("maker")}
    facts |= {"torch kernels": features.get("torch"), "render device": machine.get("device"), "GPU driver": machine.get("driver")}
    facts |= {name: versions.get(name) for name in ("python", "zlib", "libjpeg", *DECIDING)}
    return {name: "not known" if value is None else str(value) for name, value in facts.items()}


def _choices(run: Mapping[str, Any]) -> dict[str, set[str]]:
    """What decides bytes and has several values."""
    machine = _table(run, "machine")
    features = _table(machine, "features")
    return {"CPU features": _words(features.get("flags")), "numpy kernels": _words(features.get("numpy")), "GPUs": _words(machine.get("gpus"))}


def _other_blas(theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> list[str]:
    """Kinds of BLAS that were loaded there and here, and have nothing in common. How many copies are loaded depends on what was imported by then."""
    there, here = (_table(_table(_table(run, "machine"), "features"), "blas") for run in (theirs, ours))
    pairs = {name: (_words(there[name]), _words(here[name])) for name in there if name in here}
    return [f"{name} {', '.join(sorted(a))} there, {', '.join(sorted(b))} here" for name, (a, b) in pairs.items() if a and b and not a & b]


def _table(run: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """A table of a `run` block, which may be of another version of seqgen, or of anybody."""
    value = run.get(name)
    return value if isinstance(value, Mapping) else {}


def _words(value: Any) -> set[str]:
    return set(map(str, value)) if isinstance(value, list) else set()


def _chosen_code() -> dict[str, Any]:
    """The instruction sets that torch (if it is loaded), numpy and BLAS have chosen their code for; users can choose for them, by environment variables."""
    torch, blas = sys.modules.get("torch"), {}
    for library in threadpool_info():
        if library["user_api"] == "blas":
            blas.setdefault(library["internal_api"], set()).add(" ".join(str(library[key]) for key in ("version", "architecture") if library.get(key)))
    numpy = np.show_config(mode="dicts").get("SIMD Extensions", {})
    return {
        "torch": torch and torch.backends.cpu.get_cpu_capability(),
        "numpy": [*numpy.get("baseline", []), *numpy.get("found", [])],
        "blas": {name: sorted(copies) for name, copies in sorted(blas.items())},
    }


def _versions() -> dict[str, str]:
    """Versions of Python, of the C libraries that pack bytes, and of the packages that are there."""
    from PIL import features

    libjpeg = features.version("libjpeg_turbo") or features.version("jpg")
    versions = {"python": platform.python_version(), "zlib": zlib.ZLIB_RUNTIME_VERSION, **({"libjpeg": libjpeg} if libjpeg else {})}
    for name in TOLD:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


def _git(package: Path, *words: str) -> str:
    """What git says, run in the package's folder and without writing there. The user's GIT_ variables are about another checkout."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    command = ["git", "--no-optional-locks", "-c", "core.fsmonitor=false", *words]
    options = {"stdin": subprocess.DEVNULL, "capture_output": True, "encoding": "utf-8", "errors": "surrogateescape", "timeout": GIT_TIMEOUT_S, "check": True}
    return subprocess.run(command, cwd=package, env=environment, **options).stdout


def _text(path: Path) -> str:
    """A file's text, empty where it cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
