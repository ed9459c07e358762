"""Measures how fast data is made, line by line of the table that speed was asked for by; writes docs/benchmarks/speed.json and, of that, speed.md.

    python docs/benchmarks/speed.py [--only NAME ...] [--rounds 5] [--clips 100] [--render]

Every line can be measured alone, on a quiet machine, and the others keep what was measured before; `--render` writes the page anew and measures nothing.
A figure is the median of its rounds, and so many values stand beside it. What is compared is measured in turns. Lines of CUDA are measured by the
same code where Warp finds a device.
"""

import argparse
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from seqgen.config import find_config, read_config
from seqgen.dataset.provenance import describe_machine
from seqgen.errors import UserError
from seqgen.files import write_json, write_text
from seqgen.pipeline.assets import gather_assets
from seqgen.pipeline.bench.rival import BENEATH, PUBLIC, Rivals
from seqgen.pipeline.bench.run import WholeRun, speed_config, start_config, whole_run
from seqgen.pipeline.bench.stages import time_stages
from seqgen.pipeline.config import GenerateConfig
from seqgen.pipeline.generate import open_sources
from seqgen.pipeline.process import one_thread
from seqgen.render import load_renderer

HERE = Path(__file__).parent
KEPT, PAGE = Path(__file__).with_suffix(".json"), Path(__file__).with_suffix(".md")
LIBRARIES = ("numpy", "torch", "warp-lang", "pillow", "ray", "pyrender")
PAPER_FRAMES = 410_000
WORKERS, SHARDS = 2, 5  # shards of each worker in a run whose speed is measured
Values = dict[str, list[float]]  # figure to what each round gave


@dataclass(frozen=True)
class Line:
    """A line of the table. `measure` gives values by the names of `figures`: name to (what it says, must, aim); `digits` after the point."""

    what: str
    figures: dict[str, tuple[str, str, str]]
    measure: Callable[[int, int], Values]
    digits: int = 0


def config_of(name: str, **fields: object) -> GenerateConfig:
    """A shipped config, with two workers, some fields replaced (`__` for the point)."""
    return read_config(GenerateConfig, find_config(name), {"workers": WORKERS, **{field.replace("__", "."): value for field, value in fields.items()}})


def whole(name: str) -> Callable[[int, int], Values]:
    """Frames a second of the whole pipeline, after start-up and with it."""

    def measure(rounds: int, clips: int) -> Values:
        runs = [whole_run(speed_config(config_of(name), clips=clips, shards=SHARDS)) for _ in range(rounds)]
        return {"frames_per_s": [run.frames_per_s for run in runs], "with_start": [run.shards[-1][1] / run.shards[-1][0] for run in runs]}

    return measure


def scaling(rounds: int, clips: int) -> Values:
    """Two workers against one, in turns."""

    def speed(workers: int) -> float:
        return whole_run(speed_config(config_of("quickstart", workers=workers), clips=clips, shards=SHARDS)).frames_per_s

    return {"ratio": [speed(2) / speed(1) for _ in range(rounds)]}


def render(name: str) -> Callable[[int, int], Values]:
    """The render stage against both ways of feeding pyrender, with 2 x 2 samples and with one."""

    def measure(rounds: int, clips: int) -> Values:
        found: Values = {}
        for samples in (2, 1):
            config = config_of(name, render__samples=samples)
            with one_thread():
                rivals = Rivals(config, clips)
                times = time_stages(open_sources(gather_assets(config, print), config), config, clips=clips, rounds=rounds, watch=rivals.watch)
            ours = found[f"ours_ms_{samples}"] = times.rounds["render"]
            for way, comparison in rivals.comparisons().items():
                found[f"{way}_ms_{samples}"] = comparison.rival_ms
                found[f"ratio_{way}_{samples}"] = [their / our for our, their in zip(ours, comparison.rival_ms, strict=True)]
        return found

    return measure


def start(*, cold: bool) -> Callable[[int, int], Values]:
    """Seconds from the start of the process to the first shard of the default preset."""

    def measure(rounds: int, clips: int) -> Values:
        runs: list[WholeRun] = [whole_run(start_config(config_of("quickstart")), cold=cold) for _ in range(rounds)]
        return {"first_shard_s": [run.first_shard_s for run in runs]}

    return measure


def reading(rounds: int, clips: int) -> Values:
    """What reading.py finds, each time the median of five rounds of its own over a data set made anew."""
    tables = [_table_of("reading.py", "--clips", str(clips)) for _ in range(rounds)]
    return {figure: [_number(cells[row][-1]) for cells in tables] for figure, row in {"all": "all members, decoded", "rgb_labels": "RGB and labels, decoded"}.items()}


def stages(name: str) -> Callable[[int, int], Values]:
    """Milliseconds a frame of each stage, of one core."""

    def measure(rounds: int, clips: int) -> Values:
        config = config_of(name)
        with one_thread():
            return dict(time_stages(open_sources(gather_assets(config, print), config), config, clips=clips, rounds=rounds).rounds)

    return measure


def streaming(rounds: int, clips: int) -> Values:
    """What stream.py finds of clips of 224 px, one reader and one thread of training."""
    found: Values = {}
    for _ in range(rounds):
        for cells in _rows_of("stream.py", "--rounds", "1", "--sizes", "224", "--threads", "1"):
            if cells[:3] == ["224", "1", "1"]:
                found.setdefault(cells[3], []).append(_number(cells[5]))
                found.setdefault(f"{cells[3]}_waits", []).append(_number(cells[6]))
    return found


def cuda_disk(rounds: int, clips: int) -> Values:
    """410,000 frames' worth of seconds on disk, with sixteen workers where there are as many cores."""
    load_renderer("warp", "cuda")
    runs = [whole_run(speed_config(config_of("quickstart", device="cuda", workers=min(16, len(os.sched_getaffinity(0)))), clips=clips, shards=SHARDS)) for _ in range(rounds)]
    return {"seconds": [PAPER_FRAMES / run.frames_per_s for run in runs]}


def cuda_stream(rounds: int, clips: int) -> Values:
    """Frames a second of the stages alone, without encoding, on the device."""
    load_renderer("warp", "cuda")
    config = config_of("quickstart", device="cuda")
    with one_thread():
        times = time_stages(open_sources(gather_assets(config, print), config), config, clips=clips, rounds=rounds)
    made = [sum(values[number] for name, values in times.rounds.items() if name not in ("encode", "write")) for number in range(rounds)]
    return {"frames_per_s": [1e3 / ms for ms in made]}


WAYS = {PUBLIC: "pyrender by its public interface", BENEATH: "pyrender by its inner parts too"}
SAMPLES = {2: ("2 x 2 samples + centre labels", "> 5", "8"), 1: ("one sample", "> 15", "25")}
RATIOS = {
    f"ratio_{way}_{n}": (f"times faster than {words}, {what}", must, aim)
    for n, (what, must, aim) in SAMPLES.items()
    for way, words in WAYS.items()
}
COSTS = {f"{who}_ms_{n}": (f"ms a frame, {words}, {what}", "", "") for n, (what, _, _) in SAMPLES.items() for who, words in {"ours": "ours", **WAYS}.items()}
WITH_START = ("frames/s of the whole run, start-up included", "", "")
LINES: dict[str, Line] = {
    "default": Line("whole pipeline, default pictures on disk", {"frames_per_s": ("frames/s", "> 350", "700"), "with_start": WITH_START}, whole("quickstart")),
    "paper": Line("whole pipeline, the paper's plain look", {"frames_per_s": ("frames/s", "> 500", "1,000"), "with_start": WITH_START}, whole("paper")),
    "render": Line("render stage against pyrender, default pictures", RATIOS | COSTS, render("quickstart"), 2),
    "render-paper": Line("the same, the paper's plain look", RATIOS | COSTS, render("paper"), 2),
    "scaling": Line("two workers against one", {"ratio": ("times", "> 1.8", "1.95")}, scaling, 2),
    "start-warm": Line("start to first shard, warm", {"first_shard_s": ("s", "< 12", "6")}, start(cold=False), 1),
    "start-cold": Line("start to first shard, cold", {"first_shard_s": ("s", "< 40", "20")}, start(cold=True), 1),
    "reading": Line(
        "reading with stock webdataset to decoded arrays, one core",
        {"all": ("frames/s, all members", "> 1,000", "1,500"), "rgb_labels": ("frames/s, RGB + labels", "> 2,500", "4,000")},
        reading,
    ),
    "stream": Line(
        "the same training step from the generator and from shards",
        {
            "generator": ("frames/s, from the generator", "documented", ""),
            "shards": ("frames/s, from shards", "", ""),
            "generator_waits": ("% of the time waiting, from the generator", "", "none"),
            "shards_waits": ("% of the time waiting, from shards", "", ""),
        },
        streaming,
        1,
    ),
    "cuda-stream": Line("one CUDA GPU: stages without encoding", {"frames_per_s": ("frames/s of one process", "> 10,000", "50,000")}, cuda_stream),
    "cuda-disk": Line("one CUDA GPU: 410,000 frames on disk", {"seconds": ("s", "< 180", "60")}, cuda_disk),
}
STAGES = {"stages-default": ("default pictures", stages("quickstart")), "stages-paper": ("the paper's plain look", stages("paper"))}
MEASURES = {name: line.measure for name, line in LINES.items()} | {name: measure for name, (_, measure) in STAGES.items()}


def as_markdown(kept: dict[str, dict]) -> str:
    """The page."""
    lines = ["# Speed", "", "Made by `python docs/benchmarks/speed.py`, which says how each line is measured; values of the rounds are in `speed.json`.", ""]
    for machine in dict.fromkeys(entry["machine"] for entry in kept.values()):
        lines.append(f"Machine: {machine}.")
    lines += ["", "| what | figure | median | must | met | aim | met | rounds |", "|---|---|---|---|---|---|---|---|"]
    for name, line in LINES.items():
        entry, what = kept.get(name, {}), line.what
        for figure, (unit, must, aim) in line.figures.items():
            values = entry.get("values", {}).get(figure, [])
            shown = f"{statistics.median(values):,.{line.digits}f}" if values else f"not measured{': ' + entry['why'] if 'why' in entry else ''}"
            met = [_met(values, bound, must[:1]) for bound in (must, aim)]
            lines.append(f"| {what} | {unit} | {shown} | {must} | {met[0]} | {aim} | {met[1]} | {len(values) or ''} |")
            what = ""
    return "\n".join([*lines, "", *NOTES, "", "## Where the time goes", "", *_stage_table(kept), "", *NEXT]) + "\n"


def _met(values: list[float], bound: str, side: str) -> str:
    """Whether the median is on the right side of a bound, `<` or `>`; nothing where there is no number to compare."""
    number = bound.lstrip("<> ").replace(",", "")
    if not values or not number.replace(".", "").isdigit():
        return ""
    return "yes" if (statistics.median(values) < float(number)) == (side == "<") else "no"


def _stage_table(kept: dict[str, dict]) -> list[str]:
    """Milliseconds a frame of one core by stage, and their shares."""
    of = {name: {stage: statistics.median(values) for stage, values in kept[name]["values"].items()} for name in STAGES if "values" in kept.get(name, {})}
    if not of:
        return ["Not measured."]
    heads = [cell for name in of for cell in (f"{STAGES[name][0]}, ms a frame", "share")]
    rows = [f"| stage | {' | '.join(heads)} |", "|---" * (len(heads) + 1) + "|"]
    for stage in next(iter(of.values())):
        rows.append(f"| {stage} | " + " | ".join(f"{times[stage]:.3f} | {times[stage] / sum(times.values()):.0%}" for times in of.values()) + " |")
    rows.append("| **all** | " + " | ".join(f"{sum(times.values()):.3f} | {1e3 / sum(times.values()):,.0f} frames/s a core" for times in of.values()) + " |")
    return rows


NOTES = (
    "Two Ray workers write shards of 100 clips of 10 frames, 224 x 224, to a local disk. `frames/s` counts from the time when each worker has finished its",
    "first shard to the last shard. Start to first shard: a fresh process, two workers, shards of ten clips (the default preset); warm with a full cache, cold",
    "with an empty one, which makes the built-in poses, their graphs and the kernels. The system's page cache is as it is in both.",
    "",
    "The machine is a virtual one whose speed drifts by a tenth within hours, in which lines were measured one after the other: default pictures gave 714 frames/s and the",
    "plain look 1,223 an hour before the figures above, from code as fast (in turns, start-up included, 0.98 to 1.03 times). Ratios are of one run.",
    "",
    "pyrender draws the same scenes in turn with us, fed in two ways, each as fast as we know how; depth and outlines come out as ours, and it is spared gloss,",
    "bumps and all lights but one. By its public interface (`seqgen/render/pyrender_public.py`): one renderer and scene kept, meshes of ready primitives, a",
    "rendering for colour and one for labels and depth at pixel centres. It always draws four samples a pixel, so that is its figure for one sample too. By its",
    "inner parts too (`seqgen/render/pyrender_fed.py`), which is stricter: vertices overwritten in their buffers, a smaller shadow map, as many samples as asked",
    "for, no checks of errors; with one sample labels travel with the colour, in a single rendering. We have one thread; where OpenGL is Mesa's llvmpipe it takes a",
    "thread for each core unless LP_NUM_THREADS says otherwise.",
)
NEXT = (
    "What the next millisecond is spent on: of the render stage with 2 x 2 samples, taken apart by hand, somewhat over two fifths is shading the hand's pixels (the skin's",
    "four texels, three corners and the shadow's looks are loads, not arithmetic; corner shares worked out in vectors took longer than one by one), a ninth the photo (lists",
    "in place of gathers: within two per cent), a twelfth telling the kernels of the scene, the rest triangles: pixels, samples, the shadow map. Image formation is cosine",
    "transforms and rounding for the lens and the camera's JPEG. Encoding is Pillow's JPEG and zlib-ng at work: other libraries",
    "save little (`encoding.md`). A lower `output.jpeg_quality` would save more, and is the user's to choose.",
)


def machine() -> str:
    """In words."""
    cpu = describe_machine()["machine"]["cpu"]
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in LIBRARIES)
    return f"{cpu}, {len(os.sched_getaffinity(0))} cores, {platform.system()}, Python {platform.python_version()}, {versions}"


def _rows_of(script: str, *words: str) -> list[list[str]]:
    """The cells of a table that a script of this folder prints."""
    if not (HERE / script).exists():
        raise UserError(f"{script} is not there")
    said = subprocess.run([sys.executable, str(HERE / script), *words], check=True, stdout=subprocess.PIPE, text=True, cwd=tempfile.gettempdir()).stdout
    return [[cell.strip() for cell in row.strip().strip("|").split("|")] for row in said.splitlines() if row.startswith("| ")]


def _table_of(script: str, *words: str) -> dict[str, list[str]]:
    return {cells[0]: cells for cells in _rows_of(script, *words)}


def _number(text: str) -> float:
    return float(re.sub(r"[,%]", "", text))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", nargs="+", choices=MEASURES, default=list(MEASURES), metavar="NAME", help=", ".join(MEASURES))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--clips", type=int, default=100, help="in a shard, and in a round of the stages")
    parser.add_argument("--render", action="store_true", help="write the page from what was measured before")
    told = parser.parse_args()
    kept = json.loads(KEPT.read_text(encoding="utf-8")) if KEPT.exists() else {}
    for name in () if told.render else told.only:
        print(name, flush=True)
        try:
            kept[name] = {"machine": machine(), "values": MEASURES[name](told.rounds, told.clips)}
        except (UserError, RuntimeError, subprocess.CalledProcessError) as error:  # the other lines are measured all the same
            kept[name] = {"machine": machine(), "why": str(error).partition(";")[0]}
        print(kept[name], flush=True)
        write_json(KEPT, kept)
    write_text(PAGE, as_markdown(kept))


if __name__ == "__main__":
    main()
