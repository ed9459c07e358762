"""The plan of the house, read from the imports: who may know whom, and where each heavy library lives."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "seqgen"
STONES = {
    *("errors", "store_errors", "store_pages", "remote", "places", "files", "config", "componentwise", "geometry", "skeleton"),
    *("joint_targets", "camera", "splits", "srgb", "turns", "untrusted", "readers"),
}
# Each heavy library: the only files that may import it at all.
HOMES = {
    "ray": {"pipeline/cluster.py", "training/distributed.py"},
    "warp": {
        *(f"render/{name}.py" for name in ("device", "given", "warp_renderer", "raster_kernels", "triangle_kernels", "edge_kernels")),
        *(f"render/{name}.py" for name in ("background_kernels", "surface_kernels", "resolve_kernels", "label_kernels", "frame_kernels")),
        *(f"render/{name}.py" for name in ("sensor", "sensor_kernels", "jpeg_kernels", "noise_kernels", "depth_sensor")),
        *(f"render/{name}.py" for name in ("depth_sensor_kernels", "triangulation_kernels", "time_of_flight_kernels")),
    },
    "pyrender": {"render/opengl.py", "render/pyrender_fed.py", "render/pyrender_public.py"},
    "OpenGL": {"render/opengl.py", "render/pyrender_fed.py"},
    "smplx": {"hand/smplx_export.py"},
    "anny": {"hand/build_open_hand.py"},
    "av": {"prediction/video.py"},
    "fsspec": {"remote.py"},
    "argparse": {
        *(f"cli/{name}.py" for name in ("__init__", "parser", "generating", "banks", "learning", "keeping", "benching")),
        *("hand/build_open_hand.py", "prediction/build_localiser.py", "estimators/build_centre.py"),
    },
}
LIGHT_START = ("ray", "pyarrow", "sklearn", "trimesh", "matplotlib", "pyrender", "warp", "smplx", "av", "tensorboard", "fsspec")  # imported where used
# Rooms, each with those it may import besides the stones. A room may always import itself.
MAY_IMPORT = {
    "poses": set(),
    "hand": set(),
    "scene": {"hand"},
    "render": {"scene"},
    "dataset": set(),
    "pipeline": {"poses", "hand", "scene", "render", "dataset"},
    "benchmarks": {"dataset"},
    "estimators": {"dataset", "hand"},
    "evaluation": {"dataset", "benchmarks", "estimators"},
    "training": {"dataset", "benchmarks", "estimators", "evaluation"},
    "prediction": {"dataset", "benchmarks", "estimators"},
    "reproduction": {"dataset", "benchmarks", "estimators", "evaluation", "training"},
}


def imports(path: Path, *, top_level: bool = False) -> set[str]:
    """Full names of the modules a file imports, anywhere or at its top level only."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    nodes = tree.body if top_level else ast.walk(tree)
    found = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


FILES = sorted(PACKAGE.rglob("*.py"))
MODULES = {".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path for path in FILES}


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def rooms_imported(path: Path) -> set[str]:
    return {name.split(".")[1] for name in imports(path) if name.startswith("seqgen.")}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_heavy_libraries_live_in_their_own_files(path: Path) -> None:
    name = str(path.relative_to(PACKAGE))
    for library, homes in HOMES.items():
        if library in {module.split(".")[0] for module in imports(path)}:
            assert name in homes, f"{name} imports {library}, which lives in {', '.join(sorted(homes))}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_rooms_know_only_the_rooms_below(path: Path) -> None:
    own, known = room(path), rooms_imported(path) - STONES
    if own in STONES:
        assert not known, f"the stone {own} imports {known}"
    if own in MAY_IMPORT:
        assert known <= MAY_IMPORT[own] | {own}, f"{own} imports {known - MAY_IMPORT[own] - {own}}"


def test_no_import_cycles() -> None:
    graph = {name: {found for found in imports(path, top_level=True) if found in MODULES} - {name} for name, path in MODULES.items()}
    done: set[str] = set()
    while len(done) < len(graph):
        ready = {name for name in graph.keys() - done if graph[name] <= done}
        assert ready, f"a cycle among {sorted(graph.keys() - done)}"
        done |= ready


def test_reading_data_starts_light() -> None:
    script = f"import sys, seqgen.dataset, seqgen.poses.bank, seqgen.hand; print([m for m in {LIGHT_START} + ('torch',) if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.strip() == "[]"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_default_randomness(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"\bimport random\b|np\.random\.(seed|rand|randn|randint|choice|shuffle|uniform|normal)\b|default_rng\(\)", text)
    assert not re.search(r"torch\.(rand|randn|randint|randperm)\((?![^\n]*generator)", text)


def test_no_drawer_for_odds_and_ends() -> None:
    assert not [path for path in FILES if path.stem in {"utils", "common", "helpers", "misc"}]


def test_prints_only_on_the_command_line() -> None:
    for path in FILES:
        calls = [node.func.id for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)]
        assert "print" not in calls or room(path) == "cli" or path.stem.startswith("build_"), path


def test_every_picture_of_the_docs_is_there() -> None:
    for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        for link in re.findall(r"!\[[^]]*\]\(([^)]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / link).is_file(), f"{page.name} shows {link}"


def test_ci_runs_the_readmes_test_command() -> None:
    [command] = re.findall(r"^(pip install .*&& pytest)\b", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert command in (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()


def test_the_readme_tree_is_true() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    named = set(re.findall(r"^ {4,}([a-z_0-9]+\.py)\b", readme, re.MULTILINE))
    here = {path.name for path in FILES if path.name != "__init__.py"}
    assert named == here, f"only in the README: {sorted(named - here)}; only in the house: {sorted(here - named)}"
