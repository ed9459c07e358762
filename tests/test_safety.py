"""Nothing from outside is run, and nothing small takes all the memory: read from the code, and tried with bombs in processes of their own.

What malicious files say when they are refused is in test_malformed.py, test_malformed_learning.py and test_mano.py: a pickle, a checkpoint with code, a tar with `../`.
"""

import ast
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from malformed import BAD_PICTURES, bomb_npy, bomb_npz, lying_jpeg, lying_npy, picture, png, put, replaced, zipped
from sequences import write_data_set
from test_malformed import CORNERS, FACES, TEXTURED, TINY, glb, shown

from seqgen.estimators.checkpoint import new_estimator, save_estimator
from seqgen.estimators.seqhand.estimator import SeqHandConfig
from seqgen.estimators.views.crop import InputConfig

PACKAGE = Path(__file__).parent.parent / "seqgen"
FILES = {str(path.relative_to(PACKAGE)): ast.parse(path.read_text(encoding="utf-8")) for path in sorted(PACKAGE.rglob("*.py"))}
RESTRICTED = {"hand/mano_pickle.py", "benchmarks/array_pickle.py"}  # the unpicklers that make nothing of what a pickle names
OPENERS = {"untrusted.py", "render/sensor.py"}  # of pictures: with limits; what the renderer has just encoded itself
MESHES = {"scene/things/mesh_files.py", "prediction/depth_frames.py"}  # where what a mesh's header claims is held against the file first
NEVER = {
    *("eval", "exec", "compile", "__import__", "execfile", "pickle.load", "pickle.loads", "pickle.Unpickler", "cPickle.loads", "marshal.loads", "marshal.load", "shelve.open"),
    *("dill.load", "dill.loads", "cloudpickle.load", "cloudpickle.loads", "joblib.load", "pandas.read_pickle", "pd.read_pickle", "jsonpickle.decode", "torch.hub.load"),
    *("os.system", "os.popen", "os.execv", "os.spawnv", "subprocess.getoutput", "subprocess.getstatusoutput", "pty.spawn"),
    *("yaml.load", "yaml.unsafe_load", "yaml.full_load", "shutil.unpack_archive", "tarfile.TarFile.extractall", "np.fromfile", "numpy.load"),
}
NEVER_METHODS = {"extractall", "extract"}  # of archives: nothing is unpacked to a disk


def calls(tree: ast.AST) -> Iterator[tuple[str, ast.Call]]:
    """The calls of a file under the names they are written with."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


def keyword(call: ast.Call, name: str) -> str | None:
    return next((ast.unparse(given.value) for given in call.keywords if given.arg == name), None)


def imported(tree: ast.AST) -> set[str]:
    """Modules and names that a file imports, in full."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {str(node.module)}
    return found


@pytest.mark.parametrize("name", FILES)
def test_nothing_is_called_that_runs_what_it_is_given(name: str) -> None:
    for called, call in calls(FILES[name]):
        assert called not in NEVER and called.rpartition(".")[2] not in NEVER_METHODS, f"{name}:{call.lineno}: {called}"
        assert keyword(call, "shell") in (None, "False"), f"{name}:{call.lineno}: a shell"
        assert keyword(call, "allow_pickle") in (None, "False"), f"{name}:{call.lineno}: pickles are allowed"
        assert keyword(call, "weights_only") in (None, "True"), f"{name}:{call.lineno}: more than weights"


@pytest.mark.parametrize("name", FILES)
def test_what_is_read_is_read_as_data(name: str) -> None:
    """numpy without pickles, torch's files as weights alone, pictures and meshes where limits are applied."""
    for called, call in calls(FILES[name]):
        where = f"{name}:{call.lineno}: {called}"
        if called in ("np.load", "np.memmap", "np.lib.format.read_array", "numpy.lib.format.read_array") and called != "np.memmap":
            assert keyword(call, "allow_pickle") == "False", where
        if called == "torch.load":
            assert keyword(call, "weights_only") == "True", where
        if called in ("Image.open", "PIL.Image.open"):
            assert name in OPENERS, where
        if called in ("trimesh.load", "trimesh.load_mesh", "trimesh.load_scene", "trimesh.load_remote"):
            assert name in MESHES, where


@pytest.mark.parametrize("name", FILES)
def test_dangerous_modules_stay_in_their_files(name: str) -> None:
    found = imported(FILES[name])
    dangerous = {"yaml", "marshal", "shelve", "dill", "cloudpickle", "joblib", "jsonpickle", "xmlrpc", "ctypes", "pty"}
    assert found & dangerous <= ({"ctypes"} if name == "pipeline/process.py" else set()), name  # where the C library is asked to give memory back
    unpicklers = {ast.unparse(node) for node in ast.walk(FILES[name]) if isinstance(node, ast.Attribute) and ast.unparse(node).startswith("pickle.")}
    allowed = {"pickle.UnpicklingError"} | ({"pickle._Unpickler"} if name in RESTRICTED else set())
    assert unpicklers <= allowed and not any(module.startswith("pickle.") for module in found), f"{name}: {unpicklers - allowed}"


def test_every_unpickler_decides_what_a_name_is() -> None:
    """Each class made of Python's unpickler has its own `find_class` and its own `get_extension`, the two ways from a name to something that runs."""
    for name in RESTRICTED:
        classes = [node for node in ast.walk(FILES[name]) if isinstance(node, ast.ClassDef) and any("Unpickler" in ast.unparse(base) for base in node.bases)]
        assert len(classes) == 1
        assert {"find_class", "get_extension"} <= {node.name for node in classes[0].body if isinstance(node, ast.FunctionDef)}


# --- memory ---

MOST_MORE_MB = 300  # than the same commands need with sound files
SCRIPT = """
import json, re, sys
from seqgen.cli import main

def memory(name):  # of this process, MB; `ru_maxrss` begins with that of the one that started it
    return int(re.search(name + r":\\s+(\\d+)", open("/proc/self/status").read())[1]) // 1024

def call(words):
    sys.argv = ["seqgen", *words]
    try:
        main()
    except SystemExit as stopped:
        return stopped.code

sound, bombs = json.loads(sys.stdin.read())
before = [call(words) for words in sound]
peak = memory("VmHWM")
for name, words in bombs.items():
    code = call(words)
    print(json.dumps([name, code, memory("VmHWM") - peak]))
print(json.dumps(before))
"""


def measured(sound: list[list[object]], bombs: dict[str, list[object]]) -> tuple[list[int], dict[str, tuple[int, int]]]:
    """Exit codes of sound commands; of each bomb after them its exit code and by how many MB the largest memory so far has grown. In one new process."""
    given = json.dumps([[list(map(str, words)) for words in sound], {name: list(map(str, words)) for name, words in bombs.items()}])
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    ended = subprocess.run([sys.executable, "-c", SCRIPT], input=given, capture_output=True, text=True, check=True, env=environment)
    *rows, codes = [json.loads(line) for line in ended.stdout.splitlines() if line.startswith("[")]
    return codes, {name: (code, more) for name, code, more in rows}


def check_bounded(sound: list[list[object]], bombs: dict[str, list[object]], *, code: int = 0) -> None:
    codes, found = measured(sound, bombs)
    assert set(codes) == {code} and found.keys() == bombs.keys()
    assert {name: code for name, (code, _) in found.items() if code != 2} == {}
    assert {name: more for name, (_, more) in found.items() if more > MOST_MORE_MB} == {}


def test_bombs_given_to_generate_take_no_memory(tmp_path: Path) -> None:
    banks = {"packed": put(tmp_path, "b.npz", bomb_npz("joints_m.npy", 2**29, (1065220, 21, 3)))}
    banks["claimed"] = put(tmp_path, "c.npz", zipped({"joints_m.npy": lying_npy((10**8, 21, 3))}))
    put(tmp_path, "x/MANO_RIGHT.npz", bomb_npz("weights.npy", 2**29, (2**26,)))
    out = ["generate", *TINY, "--out"]
    folders = {
        **{f"photo: {name}": ("--background.folder", put(tmp_path, f"p{n}/a.png", data).parent) for n, (name, (data, _)) in enumerate(BAD_PICTURES.items())},
        "skin": ("--skin.folder", put(tmp_path, "s/a.png", png(50_000, 50_000, pixels=b"")).parent),
        "mesh that claims": ("--occluder.folder", put(tmp_path, "m/a.glb", glb(shown(1, 10**9))).parent),
        "mesh shown often": ("--occluder.folder", put(tmp_path, "n/a.glb", glb(shown(1_000_000, 9), bytes(108))).parent),
        "mesh of a far vertex": ("--occluder.folder", put(tmp_path, "o/a.obj", CORNERS + FACES.replace("4", "9" * 9)).parent),
        "mesh of a bomb": ("--occluder.folder", _textured(tmp_path / "q")),
    }
    bombs = {name: [*out, tmp_path / "out", *words] for name, words in folders.items()}
    bombs |= {f"bank: {name}": [*out, tmp_path / "out", "--pose-bank", banks[name], "--pose-format", "npz"] for name in ("packed", "claimed")}
    bombs["MANO"] = [*out, tmp_path / "out", "--hand", "mano", "--hand.mano-dir", tmp_path / "x"]
    bombs["endless config"] = ["generate", "/dev/zero", *TINY, "--out", tmp_path / "out"]
    last = [*out, tmp_path / "out", "--pose-bank", tmp_path / "none.npz", "--pose-format", "npz"]  # refused when photos, meshes and hand are read
    check_bounded([last], bombs, code=2)
    assert not (tmp_path / "out").exists()


def _textured(folder: Path) -> Path:
    """The folder of a mesh whose picture is a bomb."""
    for name, data in {"a.obj": TEXTURED, "m.mtl": "newmtl m\nmap_Kd b.png\n", "b.png": png(50_000, 50_000, pixels=b"")}.items():
        put(folder, name, data)
    return folder


def test_bombs_given_to_those_that_learn_take_no_memory(tmp_path: Path) -> None:
    torch.manual_seed(0)
    save_estimator(tmp_path / "c", new_estimator(SeqHandConfig(backbone="resnet18", width=0.125)), InputConfig(size=48), {})
    write_data_set(tmp_path / "sound")
    packed = zipped({"joints_m.npy": bomb_npy(2**29, (3, 2**20, 21))})
    members = {"labels.npz": packed, "000.rgb.jpg": lying_jpeg(60_000, 60_000), "001.parts.png": png(50_000, 50_000, pixels=b"", colours=0), "meta.json": b"[" * 10**6}
    bombs = {}
    for name, data in members.items():
        write_data_set(tmp_path / name)
        replaced(tmp_path / name / "shards/train-000000.tar", f"00000000.{name}", data)
        bombs[name] = ["evaluate", tmp_path / "c", tmp_path / name, "--split", "train", "--out", tmp_path / "out"]
    for n, (name, (data, _)) in enumerate(BAD_PICTURES.items()):
        bombs[f"predicted: {name}"] = ["predict", tmp_path / "c", put(tmp_path, f"in{n}/a.png", data).parent, "--no-overlays", "--out", tmp_path / "out"]
    sound = [["evaluate", tmp_path / "c", tmp_path / "sound", "--split", "train", "--out", tmp_path / "report"]]
    sound += [["predict", tmp_path / "c", put(tmp_path, "in/a.jpg", picture()).parent, "--no-overlays", "--out", tmp_path / "predicted"]]
    check_bounded(sound, bombs)
    assert not (tmp_path / "out").exists()


def test_the_measure_sees_a_gigabyte(tmp_path: Path) -> None:
    """A sound picture of sixty million pixels needs the memory that the bombs are kept from: the measure would tell."""
    put(tmp_path, "p/a.png", png(7700, 7700))
    words = ["generate", *TINY, "--pose-bank", tmp_path / "none.npz", "--pose-format", "npz", "--out", tmp_path / "out"]
    _, found = measured([words], {"large": [*words, "--background.folder", tmp_path / "p"]})
    assert found["large"][0] == 2 and found["large"][1] > 170
