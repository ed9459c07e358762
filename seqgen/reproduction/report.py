"""A table as Markdown, from whatever results there are: means and spread beside the paper's figures, differences of rows, and how all of it was made.

A cell: mean over seeds and clips, +- the standard deviation of the seeds' means, and the paper's figures in brackets. What is missing says so.
A difference has an interval only where both rows have two seeds or more: one says nothing of what another would give.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from seqgen.reproduction.columns import MANY, METRICS, Columns
from seqgen.reproduction.results import Results
from seqgen.reproduction.scales import Scale
from seqgen.reproduction.statistics import COVERAGE, Estimate, estimate, estimate_difference
from seqgen.reproduction.tables import HeldOut, Part, Row, Table, Training

Array = np.ndarray
MISSING = "–"


@dataclass(frozen=True)
class RowResults:
    """The results of a row on a test, by metric, of the seeds that are done."""

    row: Row
    test: HeldOut
    seeds: tuple[int, ...]
    values: dict[str, Float[Array, "seeds clips"]]

    def estimate(self, metric: str) -> Estimate | None:
        """None where nothing was measured."""
        return estimate(self.values[metric], _rng()) if metric in self.values and np.isfinite(self.values[metric]).any() else None


def row_results(row: Row, test: HeldOut, results: Results, seeds: Sequence[int]) -> RowResults:
    """What is there of a row on a test."""
    found = {seed: measured for seed in seeds if (measured := results.read(row.training, seed, test)) is not None}
    names = next(iter(found.values()), {})
    return RowResults(row, test, tuple(found), {name: np.stack([measured[name] for measured in found.values()]) for name in names})


def table_markdown(name: str, table: Table, results: Results, seeds: Sequence[int]) -> str:
    """The whole page."""
    lines = [f"# {table.title}", "", f"![errors of all rows]({name}.svg)", ""]
    for part in table.parts:
        lines += _across(part, results, seeds) if part.across else _part(part, table.columns, results, seeds)
        lines += _costs(part, results, seeds) if part.costs else []
    lines += ["## How to read it", ""]
    lines += [f"- {text}" for text in (_cell_text(seeds), *table.columns.explained, *_backbone_note(table), *table.notes, *table.notes_on_drawn)]
    lines += ["", "## How it was made", "", *_made(table, results, seeds)]
    return "\n".join(lines) + "\n"


def _part(part: Part, columns: Columns, results: Results, seeds: Sequence[int]) -> list[str]:
    """All metrics, one test below the other."""
    lines = [f"## {part.title}", ""]
    for test in part.tests:
        own = [row_results(row, test, results, seeds) for row in part.rows]
        if len(part.tests) > 1:
            lines += [f"### Test: {test.title}", ""]
        lines += _header("", *(METRICS[metric].title for metric in columns.metrics))
        lines += [_line(_row_title(each, seeds), *(_cell(each, metric) for metric in columns.metrics)) for each in own]
        lines += ["", *_truth(own), *_differences(part, columns, {each.row.name: each for each in own})]
    return lines


def _across(part: Part, results: Results, seeds: Sequence[int]) -> list[str]:
    """One metric, the tests side by side."""
    lines = [f"## {part.title}", "", f"{METRICS[part.across].title}:", "", *_header("", *(test.title for test in part.tests))]
    for row in part.rows:
        own = [row_results(row, test, results, seeds) for test in part.tests]
        lines.append(_line(row.title, *(_cell(each, part.across) for each in own)))
    return [*lines, ""]


def _costs(part: Part, results: Results, seeds: Sequence[int]) -> list[str]:
    """What each row's network costs; means over the seeds that are done."""
    lines = [*_header("", "parameters, M", "GMAC a frame", "ms a frame", f"ms a frame, {MANY} at once", "minutes of training")]
    for training, title in ((row.training, row.title) for row in part.rows):
        found = [costs for seed in seeds if (costs := results.costs(training, seed)) is not None]
        minutes = [seconds / 60 for seed in seeds if (seconds := results.training_seconds(training, seed)) is not None]
        mean = {name: float(np.mean([costs[name] for costs in found])) for name in (found[0] if found else ())}
        told = [f"{mean['parameters'] / 1e6:.3f}", f"{mean['macs'] / 1e9:.3f}", f"{mean['ms_1']:.1f}", f"{mean[f'ms_{MANY}']:.1f}"] if mean else [MISSING] * 4
        lines.append(_line(title, *told, f"{np.mean(minutes):.0f}" if minutes else MISSING))
    return [*lines, ""]


def _cell(each: RowResults, metric: str) -> str:
    found, decimals = each.estimate(metric), METRICS[metric].decimals
    paper = each.row.paper.get((each.test.name, metric))
    said = "" if paper is None else f" ({', '.join(f'{figure:g}' for figure in paper)})"
    if found is None:
        return MISSING + said
    spread = f" ± {found.seed_deviation:.{decimals}f}" if np.isfinite(found.seed_deviation) else ""
    return f"{found.mean:.{decimals}f}{spread}{said}"


def _row_title(each: RowResults, seeds: Sequence[int]) -> str:
    """Says which seeds are missing."""
    missing = [str(seed) for seed in seeds if seed not in each.seeds]
    return each.row.title + (f" [missing: seed {', '.join(missing)}]" if missing else "")


def _truth(rows: Sequence[RowResults]) -> list[str]:
    """How far the true joints go where the black frame is."""
    true = next((each.values["blackout_true_mm"] for each in rows if "blackout_true_mm" in each.values), None)
    return [] if true is None else [f"The true joints go {true.mean():.2f} mm at the black frame.", ""]


def _differences(part: Part, columns: Columns, rows: dict[str, RowResults]) -> list[str]:
    """First minus second row on the same clips, with intervals; a line for each pair whose rows are there."""
    lines = []
    for first, second in part.differences:
        one, other = rows[first], rows[second]
        if one.seeds and other.seeds:
            lines.append(_line(f"{one.row.title} − {other.row.title}", *(_difference(one, other, metric) for metric in columns.compared)))
    if not lines:
        return []
    return [*_header("Difference", *(METRICS[metric].title for metric in columns.compared)), *lines, ""]


def _difference(one: RowResults, other: RowResults, metric: str) -> str:
    found = estimate_difference(one.values[metric], other.values[metric], _rng(), paired=_are_paired(one, other))
    if not np.isfinite(found.mean):
        return MISSING
    if min(len(one.seeds), len(other.seeds)) < 2:
        return f"{found.mean:+.2f} (one seed: no interval)"
    interval = f"{found.mean:+.2f} [{found.low:+.2f}, {found.high:+.2f}]"
    return interval if found.low <= 0 <= found.high else f"**{interval}**"


def _are_paired(one: RowResults, other: RowResults) -> bool:
    """Whether the seeds belong together: those of both rows go on from one training of each seed. A backbone that all seeds share pairs none."""
    shared = set(one.row.training.chain()) & set(other.row.training.chain())
    return one.seeds == other.seeds and any(not training.once for training in shared)


def _cell_text(seeds: Sequence[int]) -> str:
    return (
        f"Mean over {len(seeds)} seeds and all test clips ± standard deviation of the seeds' means (paper's figure). Differences are of the same clips, with "
        f"{COVERAGE:.0%} intervals (bootstrap over clips, Student's t over seeds, in pairs where both rows go on from one training of each seed) where both rows have two "
        "seeds or more; bold where the interval leaves out 0. Negative: the first row is better."
    )


def _backbone_note(table: Table) -> list[str]:
    """What the intervals do not hold where the rows share backbones."""
    shared = any(training.once for training in table.trainings())
    return ["All rows and seeds start from the same backbone of their data and depth: seeds differ in all other weights and in the clips' order, not in it."] if shared else []


def _made(table: Table, results: Results, seeds: Sequence[int]) -> list[str]:
    """Scale, machine, time."""
    scale, trainings = results.scale, table.trainings()
    runs = list(dict.fromkeys((training, training.seed_of(seed)) for training in trainings for seed in seeds))
    machines = dict.fromkeys(machine for run in runs if (machine := results.machine(*run)) is not None)
    facts = {
        "networks": scale.facts(trainings)["networks"],
        "start": _start(table, scale),
        "data": _data(trainings, table, scale),
        "frames seen": _frames_seen(trainings, scale),
        "optimiser": scale.facts(trainings)["optimiser"],
        "tested on": _tested(table, scale),
        "seeds": ", ".join(map(str, seeds)),
        "time": f"{sum(results.seconds(*run) for run in runs) / 3600:.1f} hours of single trainings and tests on {scale.device}; shared trainings counted in each table",
        "machine": "; ".join(machines) or MISSING,
    }
    return [_line("", ""), _line("---", "---"), *(_line(key, value) for key, value in facts.items())]


def _start(table: Table, scale: Scale) -> str:
    """What weights the rows begin with."""
    if not any(training.once for training in table.trainings()):
        return "fresh weights"
    return (
        f"a backbone taught with {scale.backbone_steps * scale.batch * scale.window:,} single frames of the same data ({scale.backbone_steps:,} steps, seed 0), one for each "
        "data set and depth, in place of the paper's ImageNet weights; all else fresh"
    )


def _data(trainings: Sequence[Training], table: Table, scale: Scale) -> str:
    """Clips of each data set, or frames of a real one."""
    sets = dict.fromkeys([*(training.data for training in trainings), *(test.data for part in table.parts for test in part.tests)])
    real = [f"{data.name}, the user's copy, {data.frames[0]:,} frames to learn from" for data in sets if data.frames]
    drawn = [f"{data.name} {scale.clips[data.size]:,} clips" for data in sets if data.path is None]
    if drawn:
        shares = " : ".join(f"{count} {name}" for name, count in scale.split.items())
        replaced = "".join(f"; {name} = {value}" for name, value in scale.fields.items())
        drawn[-1] += f", of {scale.frames} frames of {scale.size_px[0]} x {scale.size_px[1]} px, split {shares}{replaced}"
    return ", ".join([*real, *drawn])


def _tested(table: Table, scale: Scale) -> str:
    """How much of each test is seen."""
    real = {f"all {data.frames[1]:,} frames of the split {data.tested} of {data.name}" for part in table.parts for data in (test.data for test in part.tests) if data.frames}
    return ", ".join(sorted(real)) or f"at most {scale.test_clips} clips of {scale.frames} frames"


def _frames_seen(trainings: Sequence[Training], scale: Scale) -> str:
    """By rows, and in fine-tuning where there is any."""
    own = next(scale.frames_seen(training) for training in trainings if training.start is None and not training.once)
    more = next((f", {scale.frames_seen(training):,} more in fine-tuning" for training in trainings if training.start is not None), "")
    return f"{own:,} by each row{more}, in windows of {scale.window} or as stills"


def _header(*titles: str) -> list[str]:
    """The first two lines of a table."""
    return [_line(*titles), _line("---", *["---:"] * (len(titles) - 1))]


def _line(*cells: str) -> str:
    return "| " + " | ".join(cells) + " |"


def _rng() -> np.random.Generator:
    """The same resamples for every cell and every time the table is written."""
    return np.random.default_rng(0)
