"""Where a data set was made and whether it may be passed on: what is told is what is there, and no more than may be told."""

import getpass
import hashlib
import json
import os
import platform
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from importlib import metadata
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mano_files import write_mano
from PIL import Image
from runs import small_config
from sequences import make_meta

from seqgen.config import config_digest
from seqgen.dataset import provenance
from seqgen.dataset.index import index_row
from seqgen.dataset.licences import INSTEAD, OPEN_LICENCES, RESTRICTED, UNKNOWN, Asset, asset_of, changed_assets, terms_of, verdict
from seqgen.dataset.provenance import DECIDING, describe_machine, differences, git_revision, read_cpuinfo, read_gpus
from seqgen.files import arrays_digest
from seqgen.hand import load_hand, mano
from seqgen.hand.fit import SHIPPED
from seqgen.pipeline.assets import OWN, UNSTATED, Assets, gather_assets
from seqgen.pipeline.process import one_thread
from seqgen.poses import load_built_in_bank
from seqgen.poses.formats import arrays as array_formats
from seqgen.poses.formats import bighand
from seqgen.poses.formats.text import read_hands17
from seqgen.scene.surroundings.photos import list_photos
from seqgen.splits import SplitConfig

OPEN = Asset("hand", "open", "CC0-1.0", "MakeHuman")
MANO = Asset("hand", "mano", mano.LICENCE, "MANO_RIGHT")
PHOTO = Asset("background", "2 pictures", "CC-BY-2.0", "photo by vultilion, flickr.com/photos/vultilion/6056698931, in scikit-learn")

X86 = """processor\t: 0
vendor_id\t: GenuineIntel
cpu family\t: 6
model name\t: Intel(R) Xeon(R) Platinum 8481C CPU @ 2.70GHz
flags\t\t: fpu sse sse4_2 fma avx f16c avx2 avx512f avx512_vnni amx_tile
bugs\t\t: avx512vl

processor\t: 1
model name\t: another
flags\t\t: sve
"""
ARM = """processor\t: 0
BogoMIPS\t: 243.75
Features\t: fp asimd evtstrm asimdhp sve i8mm
CPU implementer\t: 0x41
CPU architecture: 8
"""


# Machine


def test_the_first_processor_of_cpuinfo_is_described() -> None:
    flags = ["sse4_2", "avx", "f16c", "fma", "avx2", "avx512f", "avx512_vnni", "amx_tile"]
    assert read_cpuinfo(X86) == {"name": "Intel(R) Xeon(R) Platinum 8481C CPU @ 2.70GHz", "maker": "GenuineIntel", "flags": flags}
    assert read_cpuinfo(ARM) == {"name": None, "maker": "0x41", "flags": ["asimd", "asimdhp", "sve", "i8mm"]}
    assert read_cpuinfo("") == {"name": None, "maker": None, "flags": []}


@pytest.mark.parametrize("module", ["x86_64 Kernel Module  550.54.15  Tue Mar  5", "Open Kernel Module for x86_64  550.54.15  Release Build  (dvs-builder@U16-I3-B03)"])
def test_gpus_are_those_that_the_driver_lists(tmp_path: Path, module: str) -> None:
    for bus, name in (("0000:65:00.0", "NVIDIA H200"), ("0000:1b:00.0", "NVIDIA GeForce RTX 3080 Ti")):
        (tmp_path / "gpus" / bus).mkdir(parents=True)
        (tmp_path / "gpus" / bus / "information").write_text(f"Model: \t\t {name}\nIRQ:   \t\t 130\nGPU UUID: \t GPU-1\n")
    (tmp_path / "version").write_text(f"NVRM version: NVIDIA UNIX {module}\nGCC version:  gcc version 12.2.0\n")
    assert read_gpus(tmp_path) == {"gpus": ["NVIDIA GeForce RTX 3080 Ti", "NVIDIA H200"], "driver": "550.54.15"}
    assert read_gpus(tmp_path / "none") == {"gpus": [], "driver": None}


def test_where_the_driver_lists_none_torch_names_the_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provenance, "NVIDIA", tmp_path)
    for name, answer in {"is_available": lambda: True, "device_count": lambda: 2, "get_device_name": lambda number: f"GPU {number}"}.items():
        monkeypatch.setattr(torch.cuda, name, answer)
    assert describe_machine("cuda")["machine"]["gpus"] == ["GPU 0", "GPU 1"] and describe_machine("cpu")["machine"]["gpus"] == []

    (tmp_path / "gpus" / "0000:65:00.0").mkdir(parents=True)
    (tmp_path / "gpus" / "0000:65:00.0" / "information").write_text("Model: \t\t NVIDIA H200\n")
    assert describe_machine("cuda")["machine"]["gpus"] == ["NVIDIA H200"]
    shutil.rmtree(tmp_path / "gpus")

    def taken(number: int) -> str:
        raise torch.AcceleratorError("CUDA-capable device(s) is/are busy") if hasattr(torch, "AcceleratorError") else RuntimeError("busy")

    monkeypatch.setattr(torch.cuda, "get_device_name", taken)
    assert describe_machine("cuda")["machine"]["gpus"] == []


def test_the_machine_is_this_one_and_names_nobody() -> None:
    run = describe_machine()
    text = json.dumps(run)
    assert json.loads(text) == run
    assert {name: run["versions"][name] for name in (*DECIDING, "ray")} == {name: metadata.version(name) for name in (*DECIDING, "ray")}
    assert run["versions"]["python"] == platform.python_version() and run["machine"]["cores"] == os.cpu_count()
    assert run["machine"]["features"]["torch"] == torch.backends.cpu.get_cpu_capability() and run["machine"]["features"]["blas"]
    assert (run["machine"]["device"], run["machine"]["gpus"], run["machine"]["driver"]) == ("cpu", [], None)
    assert describe_machine("cuda")["machine"]["device"] == "cuda"
    for private in (socket.gethostname(), getpass.getuser(), str(Path.home()), str(provenance.PACKAGE)):
        assert private not in text


def test_describing_loads_nothing_heavy() -> None:
    script = (
        "import sys; from seqgen.dataset.provenance import describe_machine; assert describe_machine()['machine']['features']['torch'] is None\n"
        "print([m for m in ('torch', 'ray', 'pyarrow', 'sklearn', 'trimesh', 'warp', 'scipy', 'faiss') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.strip() == "[]"


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the names of OpenBLAS's cores are those of x86")
def test_code_chosen_by_the_environment_is_told() -> None:
    """A variable of the environment changes bits like another CPU does, and /proc/cpuinfo knows nothing of it."""
    script = "import json; from seqgen.dataset.provenance import describe_machine; print(json.dumps(describe_machine()))"
    plain, other = (
        json.loads(subprocess.run([sys.executable, "-c", script], env={**os.environ, **more}, capture_output=True, text=True, check=True).stdout)
        for more in ({}, {"OPENBLAS_CORETYPE": "Prescott"})
    )
    [difference] = differences(plain, other)
    assert difference.startswith("openblas ")


# Revision


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The package `seqgen` in a checkout with one commit, in a folder whose name a shell would run."""
    root = tmp_path / "a b; touch ran $(touch ran)"
    for name in ("seqgen/__init__.py", "seqgen/inner/__init__.py", "README.md"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("first\n")
    (root / ".gitignore").write_text("__pycache__\n")
    git(root, "init", "-q")
    git(root, "add", ".")
    git(root, "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "-m", "first")
    return root / "seqgen"


def git(root: Path, *words: str) -> str:
    if shutil.which("git") is None:
        pytest.skip("no git")
    return subprocess.run(["git", *words], cwd=root, capture_output=True, text=True, check=True).stdout.strip()


def test_the_revision_is_the_commit(checkout: Path) -> None:
    commit, index = git(checkout, "rev-parse", "HEAD"), (checkout.parent / ".git" / "index").stat()
    (checkout / "__pycache__").mkdir()
    (checkout / "__pycache__" / "a.pyc").write_text("ignored")
    (checkout.parent / "README.md").write_text("of no weight\n")
    (checkout.parent / "notes.txt").write_text("of no weight\n")
    os.utime(checkout / "__init__.py")  # what git would note in its index
    assert git_revision(checkout) == commit and len(commit) == 40
    assert (checkout.parent / ".git" / "index").stat().st_mtime_ns == index.st_mtime_ns
    assert not [path for path in checkout.parent.parent.rglob("ran*")]


@pytest.mark.parametrize("change", ["seqgen/__init__.py", "seqgen/inner/__init__.py", "seqgen/new.py"])
def test_a_changed_package_is_dirty(checkout: Path, change: str) -> None:
    (checkout.parent / change).write_text("second\n")
    assert git_revision(checkout) == git(checkout, "rev-parse", "HEAD") + "-dirty"


def test_other_peoples_checkouts_are_not_ours(checkout: Path, tmp_path: Path) -> None:
    assert git_revision(checkout / "inner") is None  # an installed package somewhere below
    shutil.copytree(checkout, checkout.parent / "copy")
    assert git_revision(checkout.parent / "copy") is None  # at the root, but none of its files
    shutil.copytree(checkout, tmp_path / "nowhere" / "seqgen")
    assert git_revision(tmp_path / "nowhere" / "seqgen") is None
    assert git_revision(tmp_path / "missing") is None


def test_a_checkout_without_a_commit_has_no_revision(tmp_path: Path) -> None:
    (tmp_path / "seqgen").mkdir()
    (tmp_path / "seqgen" / "__init__.py").touch()
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    assert git_revision(tmp_path / "seqgen") is None


def test_gits_variables_of_another_checkout_are_not_heard(checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    git(tmp_path, "init", "-q", "other")
    commit = git(checkout, "rev-parse", "HEAD")
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "other" / ".git"))
    assert git_revision(checkout) == commit


def test_no_git_and_a_git_that_hangs_or_fails_are_borne(checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provenance, "GIT_TIMEOUT_S", 0.2)
    program = tmp_path / "bin" / "git"
    program.parent.mkdir()
    monkeypatch.setenv("PATH", str(program.parent))
    assert git_revision(checkout) is None
    began = time.monotonic()
    for script in ("exec /bin/sleep 60", "echo fatal >&2; exit 128", r"printf '\377\0'"):
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        assert git_revision(checkout) is None
    program.chmod(0o644)
    assert git_revision(checkout) is None
    assert time.monotonic() - began < 20


# Differences of platform

HERE: dict[str, Any] = {
    "machine": {
        "system": "Linux", "architecture": "x86_64", "cores": 2, "cpu": "A", "libc": "glibc 2.36", "device": "cpu", "gpus": [], "driver": None,
        "features": {"maker": "AuthenticAMD", "flags": ["avx2", "fma"], "torch": "AVX2", "numpy": ["X86_V3"], "blas": {"openblas": ["0.3.30 Haswell"]}},
    },
    "versions": {name: "1.0" for name in ("python", "zlib", "libjpeg", "ray", *DECIDING)},
    "revision": "1234", "began": "2026", "ended": "2027", "workers": 3,
}  # fmt: skip


def put(run: dict[str, Any], dotted: str, value: Any) -> dict[str, Any]:
    head, _, rest = dotted.partition(".")
    return {**run, head: put(run[head], rest, value) if rest else value}


@pytest.mark.parametrize(
    ("dotted", "value", "words"),
    [
        ("machine.system", "Darwin", "system Darwin there, Linux here"),
        ("machine.architecture", "aarch64", "architecture aarch64 there, x86_64 here"),
        ("machine.libc", None, "C library not known there, glibc 2.36 here"),
        ("machine.device", "cuda", "render device cuda there, cpu here"),
        ("machine.gpus", ["NVIDIA H200", "NVIDIA H200"], "GPUs NVIDIA H200 there only"),
        ("machine.driver", "550.54.15", "GPU driver 550.54.15 there, not known here"),
        ("machine.features.maker", "GenuineIntel", "CPU maker GenuineIntel there, AuthenticAMD here"),
        ("machine.features.flags", ["avx2", "fma", "avx512f", "amx_tile"], "CPU features amx_tile, avx512f there only"),
        ("machine.features.flags", ["avx2"], "CPU features fma here only"),
        ("machine.features.torch", "AVX512", "torch kernels AVX512 there, AVX2 here"),
        ("machine.features.numpy", ["X86_V3", "X86_V4"], "numpy kernels X86_V4 there only"),
        ("machine.features.blas", {"openblas": ["0.3.30 SkylakeX"]}, "openblas 0.3.30 SkylakeX there, 0.3.30 Haswell here"),
        *((f"versions.{name}", "0.9", f"{name} 0.9 there, 1.0 here") for name in ("python", "zlib", "libjpeg", *DECIDING)),
    ],
)
def test_what_can_change_bytes_is_named(dotted: str, value: Any, words: str) -> None:
    assert differences(put(HERE, dotted, value), HERE) == [words]


@pytest.mark.parametrize(
    ("dotted", "value"),
    [
        ("machine.cores", 96), ("machine.cpu", "B"), ("versions.ray", "0.9"), ("versions.pyrender", "0.1"),
        ("revision", None), ("began", "1999"), ("ended", "1999"), ("workers", 64),
        ("machine.features.blas", {"openblas": ["0.3.29 Haswell", "0.3.30 Haswell"]}),  # one more copy was loaded by then
        ("machine.features.blas", {}),
    ],
)  # fmt: skip
def test_what_cannot_change_bytes_is_not(dotted: str, value: Any) -> None:
    assert differences(put(HERE, dotted, value), HERE) == differences(HERE, put(HERE, dotted, value)) == []


def test_all_differences_are_named_at_once() -> None:
    there = put(put(HERE, "versions.torch", "2.12.0"), "machine.libc", "glibc 2.31")
    assert sorted(differences(there, HERE)) == ["C library glibc 2.31 there, glibc 2.36 here", "torch 2.12.0 there, 1.0 here"]


@pytest.mark.parametrize("machine", [None, 3, {}, {"features": None, "gpus": 1}, {"features": {"flags": 7, "blas": {"openblas": 1}}}])
def test_a_run_block_of_anybody_is_compared(machine: Any) -> None:
    theirs = {"machine": machine, "versions": []}
    assert "torch not known there, 1.0 here" in differences(theirs, HERE)
    assert differences(theirs, theirs) == []


# Licences


def stated_licences(folder: Path) -> dict[str, str]:
    """Every licence that seqgen's own code can state, by where it does."""
    (folder / "hands17.txt").write_text("image_D00000001.png\t" + "\t".join(["1.0"] * 63) + "\n")
    np.save(folder / "bank.npy", np.zeros((2, 21, 3), np.float32))
    np.savez(folder / "bank.npz", joints_m=np.zeros((2, 21, 3)))
    Image.new("RGB", (64, 64)).save(folder / "photo.png")
    photos = [photo for where in (None, str(folder)) for photo in list_photos(where, SplitConfig(train=1, val=0, test=0), (32, 24))["train"]]
    return {
        "hands17": read_hands17(folder / "hands17.txt").licence,
        "seqhand-npy": array_formats.read_seqhand_npy(folder / "bank.npy").licence,
        "npz": array_formats.read_npz(folder / "bank.npz").licence,
        "bighand": bighand.LICENCE,
        "built-in": load_built_in_bank(1500).licence,
        "open": load_hand("open").licence,
        "mano": mano.LICENCE,
        "drawn": OWN,
        "folders": UNSTATED,
        **{photo.name: photo.licence for photo in photos},
    }


def test_every_licence_that_seqgen_states_has_terms(tmp_path: Path) -> None:
    stated = stated_licences(tmp_path)
    assert {name for name, licence in stated.items() if terms_of(licence) == UNKNOWN} == set()
    assert {name for name, licence in stated.items() if licence not in OPEN_LICENCES} == {"hands17", "seqhand-npy", "npz", "bighand", "mano", "folders", "photo.png"}
    assert {beginning for beginning in RESTRICTED if not any(licence.startswith(beginning) for licence in stated.values())} == set()


@pytest.mark.parametrize("licence", ["MIT, but not for robots", "CC-BY-NC-4.0", "cc0-1.0 ", "", "CC-BY-2.0\n", "unlike the MANO licence"])
def test_a_licence_is_open_by_its_whole_name_only(licence: str) -> None:
    assert terms_of(licence) == UNKNOWN and not verdict([Asset("poses", "mine", licence, "")])["may_be_shared"]


def test_an_open_data_set_may_be_shared_and_names_whom_it_shows() -> None:
    told = verdict([Asset("poses", "built-in", "CC0-1.0", "built-in"), OPEN, PHOTO], [True] * 4)
    assert told["may_be_shared"] and told["because"][0] == "all that is shown or followed has an open licence: CC-BY-2.0, CC0-1.0"
    assert "names its author" in told["because"][1] and told["because"][1].startswith("CC-BY-2.0")
    address = "https://creativecommons.org/licenses/by/2.0/"
    assert told["attribution"] == [f"background: photo by vultilion, flickr.com/photos/vultilion/6056698931, in scikit-learn; CC-BY-2.0, {address}; changed"]


@pytest.mark.parametrize(("licence", "address"), [("CC-BY-SA-4.0", "https://creativecommons.org/licenses/by-sa/4.0/"), ("MIT", "https://spdx.org/licenses/MIT.html")])
def test_licences_are_found_where_they_are(licence: str, address: str) -> None:
    assert address in verdict([Asset("poses", "mine", licence, "somebody")])["attribution"][0]


@pytest.mark.parametrize("kind", INSTEAD)
@pytest.mark.parametrize("licence", [mano.LICENCE, bighand.LICENCE, "not stated", "all rights reserved"])
def test_a_closed_asset_is_named_with_licence_and_way_out(kind: str, licence: str) -> None:
    told = verdict([OPEN, Asset(kind, "theirs", licence, "somewhere"), PHOTO], [False] * 3)
    [reason] = told["because"]
    assert not told["may_be_shared"] and reason.startswith(f"{kind} theirs") and licence in reason and INSTEAD[kind] in reason
    assert len(told["attribution"]) == 1


def test_a_mixed_data_set_says_that_the_index_tells() -> None:
    assets = [OPEN, Asset("occluder", "cup.ply", "not stated", "the user's folder")]
    assert "2 of 3 clips" in verdict(assets, [True, False, True])["because"][-1] and "`shareable` in index.parquet" in verdict(assets, [True, False, True])["because"][-1]
    assert len(verdict(assets, [False] * 3)["because"]) == len(verdict(assets)["because"]) == 1


def test_clips_that_may_not_be_shared_forbid_it_whatever_the_assets_say() -> None:
    for shareable, words in (([True, False, True], "2 of 3 clips"), ([False] * 3, "no clip")):
        told = verdict([OPEN], shareable)
        assert not told["may_be_shared"] and len(told["because"]) == 1 and words in told["because"][0]


def test_a_folder_of_thousands_is_one_reason() -> None:
    skins = [Asset("skin", f"{n:04}.png", "not stated", "the user's folder") for n in range(2000)]
    [reason, other] = verdict([*skins, MANO])["because"]
    assert "0000.png, 0001.png, 0002.png and 1,997 more" in reason and other.startswith("hand mano") and "Max Planck" in other


def test_what_is_not_shown_forbids_nothing() -> None:
    encoder = asset_of("encoder", "mine.safetensors", "not stated", "the user's file", "00")
    assert verdict([OPEN, encoder])["may_be_shared"] and "nothing of it" in encoder.terms


def test_the_verdict_and_the_index_agree() -> None:
    """Over all choices of licences: the whole may be shared exactly where a clip that shows all of it may."""
    choices = ("CC0-1.0", "CC-BY-2.0", "not stated", mano.LICENCE, bighand.LICENCE)
    for licences in product(choices, repeat=3):
        shown = dict(zip(("poses", "hand", "background"), licences, strict=True))
        row = index_row({**make_meta(0), "licences": {**shown, "skin": OWN, "occluder": "none"}}, "train-000000.tar", "0" * 64)
        assert verdict([Asset(kind, "x", licence, "y") for kind, licence in shown.items()], [row.shareable])["may_be_shared"] == row.shareable


def test_other_assets_are_told_one_by_one() -> None:
    ours = [replace(OPEN, sha256="a" * 64), Asset("skin", "a.png", "not stated", "f", "b" * 64), PHOTO]
    theirs = [replace(OPEN, sha256="c" * 64), Asset("skin", "b.png", "not stated", "f", "b" * 64), PHOTO]
    assert changed_assets(ours, ours) == []
    assert changed_assets(theirs, ours) == ["skin a.png (f) is used here only", "skin b.png (f) is used there only", f"hand open: sha256 {'c' * 12} there, {'a' * 12} here"]


# Assets of a run


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """Three photos, three skins and a mesh of a user's."""
    for kind, size in (("photos", (120, 100)), ("skins", (8, 8))):
        (tmp_path / kind).mkdir()
        for n in range(3):
            Image.new("RGB", size, (90 * n, 40, 40)).save(tmp_path / kind / f"{n}.png")
    (tmp_path / "meshes").mkdir()
    (tmp_path / "meshes" / "tetrahedron.off").write_text("OFF\n4 4 6\n0 0 0\n1 0 0\n0 1 0\n0 0 1\n3 0 2 1\n3 0 1 3\n3 1 2 3\n3 0 3 2\n")
    return tmp_path


def gathered(folders: Path | None = None, **sections: Any) -> Assets:
    """Assets of a small config, with the user's folders where told."""
    names = {"background": "photos", "skin": "skins", "occluder": "meshes"}
    own = {} if folders is None else {section: {"folder": str(folders / name)} for section, name in names.items()}
    with one_thread():
        return gather_assets(small_config(**own, **sections))


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_assets_of_a_run_are_told_with_hashes_and_terms() -> None:
    told = gathered().licences()
    assert [(asset.kind, asset.name) for asset in told[:3]] == [("poses", "built-in"), ("hand", "open"), ("encoder", "built-in")]
    assert told[0].sha256 == arrays_digest(load_built_in_bank(1500).joints_m)  # of the whole bank, not of a split's part
    assert all(len(asset.sha256) == 64 and asset.terms for asset in told) and len({asset.sha256 for asset in told}) == len(told)
    judged = verdict(told)
    assert judged["may_be_shared"] and [name for name in ("danielbuechele", "vultilion") if not any(name in line for line in judged["attribution"])] == []


def test_the_users_files_are_told_with_the_hash_of_their_content(folders: Path) -> None:
    told = {(asset.kind, asset.name): asset for asset in gathered(folders).licences()}
    for kind, name in (("skin", "0.png"), ("skin", "1.png"), ("skin", "2.png")):
        assert told[kind, name].sha256 == sha256(folders / "skins" / name)
    assert told["occluder", "tetrahedron.off"].sha256 == sha256(folders / "meshes" / "tetrahedron.off")
    assert told["background", "3 pictures"].licence == "not stated" and ("background", "2 pictures") not in told
    reasons = verdict(list(told.values()))["because"]
    assert [reason.split()[0] for reason in reasons] == ["skin", "occluder", "background"]


def append(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"\n")


@pytest.mark.parametrize(
    ("kind", "change", "sections"),
    [
        ("poses", lambda folders: None, {"poses": {"rows": 1600}}),
        ("background", lambda folders: append(folders / "photos" / "1.png"), {}),
        ("background", lambda folders: (folders / "photos" / "1.png").rename(folders / "photos" / "one.png"), {}),
        ("skin", lambda folders: append(folders / "skins" / "1.png"), {}),
        ("occluder", lambda folders: append(folders / "meshes" / "tetrahedron.off"), {}),
        ("encoder", lambda folders: None, {"hand": {"encoder": "shifted"}}),
    ],
)
def test_a_changed_asset_is_told_by_its_kind(folders: Path, kind: str, change: Callable[[Path], None], sections: dict[str, Any]) -> None:
    if kind == "encoder":
        sections = {"hand": {"encoder": str(shifted_encoder(folders / "shifted.safetensors"))}}
    before = gathered(folders)
    change(folders)
    after = gathered(folders, **sections)
    assert {name for name in before.digests if before.digests[name] != after.digests[name]} == {kind}
    assert before.digest == config_digest(before.digests) != after.digest
    assert {line.split()[0] for line in changed_assets(before.licences(), after.licences())} == {kind}


def shifted_encoder(path: Path) -> Path:
    """The shipped encoder with one weight moved."""
    from safetensors.torch import load_file, save_file

    state = load_file(SHIPPED)
    state["layers.0.bias"] = state["layers.0.bias"] + 1e-3
    save_file(state, path)
    return path


def test_mano_is_told_and_may_not_be_shared(tmp_path: Path) -> None:
    write_mano(tmp_path)
    shutil.copy(SHIPPED, tmp_path / "mine.safetensors")
    told = gathered(hand={"kind": "mano", "mano_dir": str(tmp_path), "encoder": str(tmp_path / "mine.safetensors")}).licences()
    hand, encoder = told[1:3]
    assert (hand.licence, encoder.name, encoder.licence) == (mano.LICENCE, "mine.safetensors", "not stated")
    [reason] = verdict(told)["because"]
    assert reason.startswith("hand mano") and "frames that show it may not be passed on" in reason and "hand.kind = open" in reason
    assert "frames that show it may not be passed on" in asdict(hand)["terms"]
