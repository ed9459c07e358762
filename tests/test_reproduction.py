"""Tables made with trainings and tests whose outcomes are known beforehand; what is done is not done again, what fails is named, the shipped tables fit the configs."""

import re
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import BrokenExecutor, Executor, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from seqgen.config import find_config, read_config
from seqgen.errors import UserError
from seqgen.pipeline.config import GenerateConfig
from seqgen.reproduction import results as results_module
from seqgen.reproduction import scales as scales_module
from seqgen.reproduction.report import COMPARED
from seqgen.reproduction.results import Results
from seqgen.reproduction.run import TABLES, Outcome, pieces_of, reproduce, run_table
from seqgen.reproduction.scales import SCALES, Scale, data_fields, train_tables, training_digest, training_identity
from seqgen.reproduction.tables import METRICS, Data, HeldOut, Network, Part, Row, Table, Training
from seqgen.reproduction.work import OutOfTime, Tools, Trained, is_over, stopping

README = Path(__file__).parents[1] / "docs" / "results" / "README.md"
CLIPS = 5
SECONDS = 1800.0  # of each training, all its parts together
ERROR_MM = {"first": 10.0, "second": 12.0, "tuned": 7.0}  # of each training with seed 0; each further seed has a millimetre more

HOME, ABROAD = Data("home", "paper", "source"), Data("abroad", "target", "target", folder="domains")
FIRST, SECOND = (Training(name, Network({"model.temporal": "none"}), HOME) for name in ("first", "second"))
TUNED = Training("tuned", Network({"model.temporal": "none"}), ABROAD, "val", stills=True, start=FIRST, freeze=("temporal",))
ROWS = (
    Row("one", "the first", FIRST, {("home", "error_mm"): (7.85,), ("abroad", "error_mm"): (17.16, 18.12)}),
    Row("two", "the second", SECOND),
    Row("three", "the first, tuned", TUNED),
)
BACKBONE = Training("backbone", Network({"model.temporal": "none"}), HOME, stills=True, once=True)
UPON = replace(FIRST, backbone=BACKBONE)
UPON_ROWS = (Row("one", "the first", UPON), Row("two", "the second", replace(SECOND, backbone=BACKBONE)), Row("three", "the first, tuned", replace(TUNED, start=UPON)))
TABLE = Table("A table", (Part("All rows", (HeldOut(HOME, "at home"), HeldOut(ABROAD, "abroad")), ROWS, (("one", "two"), ("three", "one"))),), ("A note.",))
BACKBONE_TABLE = Table("Upon a backbone", (Part("All rows", (HeldOut(HOME, "at home"), HeldOut(ABROAD, "abroad")), UPON_ROWS, (("one", "two"),)),), ())


@dataclass
class Workshop:
    """Generates, trains and measures nothing, notes all it is asked for, and gives errors that are known. `broken`: trainings that fail."""

    broken: tuple[str, ...] = ()
    generated: list[tuple[str, dict[str, Any], Path]] = field(default_factory=list)
    trained: list[tuple[dict[str, Any], str, int]] = field(default_factory=list)
    measured: list[tuple[str, int, str]] = field(default_factory=list)

    def generate(self, config: str, fields: dict[str, Any], directory: Path) -> None:
        self.generated.append((config, fields, directory))

    def train(self, tables: dict[str, Any], out: Path, *, deadline: float | None) -> Trained:
        name, seed = out.parent.name, int(out.name.removeprefix("seed-"))
        if name in self.broken:
            raise UserError("the loss is nan\non some clips")
        if is_over(deadline):
            raise OutOfTime("stopped at step 1 of 2")
        self.trained.append((tables, name, seed))
        return Trained(out / "last", SECONDS)

    def measure(self, checkpoint: Path, data: Path, *, clips: int, device: str) -> dict[str, np.ndarray]:
        """Errors differ from clip to clip, in the same way for all trainings; abroad they are twice as large."""
        name, seed = checkpoint.parent.parent.name, int(checkpoint.parent.name.removeprefix("seed-"))
        self.measured.append((name, seed, data.name))
        error = (ERROR_MM[name] + seed) * (2 if data.name == "abroad" else 1) + np.arange(CLIPS) - (CLIPS - 1) / 2
        covered = np.where(np.arange(CLIPS) < 2, error, np.nan)
        return {**dict.fromkeys(METRICS, error), "covered_mm": covered, "blackout_true_mm": np.full(CLIPS, 1.5)}


@pytest.fixture
def executor() -> Iterator[Executor]:
    with ThreadPoolExecutor(1) as one_after_another:
        yield one_after_another


def made(out: Path, workshop: Workshop, executor: Executor, *, table: Table = TABLE, **more: Any) -> Outcome:
    """The table, made in `out`."""
    results = Results(out, more.pop("scale", SCALES["small"]))
    tools = Tools(workshop.train, workshop.measure)
    return run_table("table", table, results, generate=workshop.generate, tools=tools, executor=executor, **{"seeds": (0, 1, 2), **more})


def cells(text: str, title: str, *, test: str) -> list[str]:
    """The cells of a row, by its title, under a test."""
    [line] = re.findall(rf"^\| {re.escape(title)} \|(.*)\|$", text.split(f"### Test: {test}\n")[1].split("###")[0], re.MULTILINE)
    return [cell.strip() for cell in line.split("|")]


def test_table_has_the_known_numbers(tmp_path: Path, executor: Executor) -> None:
    text = made(tmp_path, Workshop(), executor).markdown.read_text()
    error, covered = list(METRICS).index("error_mm"), list(METRICS).index("covered_mm")
    assert cells(text, "the first", test="at home")[error] == "11.00 ± 1.00 (7.85)"  # seeds 10, 11, 12
    assert cells(text, "the first", test="at home")[covered] == "9.50 ± 1.00"  # the first two of five clips, 1.5 mm below the mean
    assert cells(text, "the first", test="abroad")[error] == "22.00 ± 2.00 (17.16, 18.12)"
    assert cells(text, "the first, tuned", test="abroad")[error] == "16.00 ± 2.00"
    assert "The true joints go 1.50 mm at the black frame." in text
    assert cells(text, "the first, tuned − the first", test="at home")[0] == "**-3.00 [-3.00, -3.00]**"  # 7 goes on from 10, 8 from 11, 9 from 12
    assert cells(text, "the first − the second", test="at home")[0].startswith("-2.00 [-4.27, ")  # 2.27 is Student's t of 4 degrees, times sqrt(2 / 3)
    assert "– A note." not in text and "- A note." in text


def test_figure_is_a_picture_of_every_row(tmp_path: Path, executor: Executor) -> None:
    from xml.etree import ElementTree

    made(tmp_path, Workshop(), executor, seeds=(0,))
    texts = [element.text for element in ElementTree.parse(tmp_path / "table.svg").iter("{http://www.w3.org/2000/svg}text")]
    assert [text for text in texts if text in {row.title for row in ROWS}] == [row.title for row in ROWS] * 2


def test_what_is_done_is_not_done_again(tmp_path: Path, executor: Executor) -> None:
    first, again = Workshop(), Workshop()
    made(tmp_path, first, executor, seeds=(0, 1))
    text = (tmp_path / "table.md").read_text()
    outcome = made(tmp_path, again, executor, seeds=(0, 1))
    assert (again.generated, again.trained, again.measured) == ([], [], []) and (outcome.done, outcome.left) == (6, ())
    assert (tmp_path / "table.md").read_text() == text
    made(tmp_path, again, executor, seeds=(0, 1, 2))
    assert [seed for _, _, seed in again.trained] == [2, 2, 2]


def test_interrupted_tests_go_on_without_training(tmp_path: Path, executor: Executor) -> None:
    made(tmp_path, Workshop(), executor, seeds=(0,))
    (tmp_path / "results" / "first" / "seed-0" / "abroad.json").unlink()
    again = Workshop()
    made(tmp_path, again, executor, seeds=(0,))
    assert (again.trained, again.measured) == ([], [("first", 0, "abroad")])


def test_trainings_come_after_those_they_go_on_from(tmp_path: Path, executor: Executor) -> None:
    workshop = Workshop()
    made(tmp_path, workshop, executor, rows=["three"], seeds=(4,))
    assert [(name, seed) for _, name, seed in workshop.trained] == [("first", 4), ("tuned", 4)]
    tuned = workshop.trained[1][0]
    assert tuned["run"]["start"] == str(tmp_path / "runs" / "first" / "seed-4" / "last") and tuned["run"]["freeze"] == ["temporal"]
    assert workshop.measured == [("tuned", 4, "home"), ("tuned", 4, "abroad")]  # the first only leads there


def test_a_seed_is_whole_before_the_next_begins(tmp_path: Path, executor: Executor) -> None:
    workshop = Workshop()
    made(tmp_path, workshop, executor, seeds=(0, 1))
    assert [(name, seed) for _, name, seed in workshop.trained] == [(name, seed) for seed in (0, 1) for name in ("first", "second", "tuned")]


def test_failed_rows_are_named_and_the_others_go_on(tmp_path: Path, executor: Executor) -> None:
    outcome = made(tmp_path, Workshop(broken=("first",)), executor, seeds=(0, 1))
    failed = {f"first, seed {seed}": "the loss is nan" for seed in (0, 1)}
    assert outcome.failed == failed | {f"tuned, seed {seed}": "not begun: the training it goes on from failed" for seed in (0, 1)}
    assert (outcome.done, outcome.left) == (2, ())
    text = outcome.markdown.read_text()
    assert cells(text, "the second", test="at home")[3] == "12.50 ± 0.71"
    assert cells(text, "the first [missing: seed 0, 1]", test="at home")[3] == "– (7.85)"
    assert not made(tmp_path, Workshop(), executor, seeds=(0, 1)).failed


def test_a_killed_process_leaves_a_table(tmp_path: Path) -> None:
    class Broken(ThreadPoolExecutor):
        def submit(self, *_: Any, **__: Any) -> Any:
            raise BrokenExecutor("A process in the process pool was terminated abruptly")

    outcome = made(tmp_path, Workshop(), Broken(1), seeds=(0,))
    assert "terminated abruptly" in outcome.failed["first, seed 0"] and outcome.done == 0 and outcome.markdown.exists()


def test_time_that_is_over_leaves_the_rest(tmp_path: Path, executor: Executor) -> None:
    workshop = Workshop()
    outcome = made(tmp_path, workshop, executor, seeds=(0,), deadline=time.time() - 1)
    assert (outcome.done, outcome.left, outcome.failed) == (0, ("first, seed 0", "second, seed 0", "tuned, seed 0"), {})
    assert workshop.trained == [] and outcome.markdown.exists()


def test_training_stops_at_a_line_after_the_deadline() -> None:
    stop_at_once, never = stopping(time.time() - 1), stopping(None)
    with pytest.raises(OutOfTime, match="step 20 of 60"):
        stop_at_once({"step": 20}, 60)
    stop_at_once({"step": 60}, 60)  # the last line: it is done anyway
    never({"step": 20}, 60)


def test_data_is_made_once_and_as_the_scale_says(tmp_path: Path, executor: Executor) -> None:
    workshop = Workshop()
    made(tmp_path, workshop, executor, seeds=(0, 1))
    assert [directory for _, _, directory in workshop.generated] == [tmp_path / "data" / "home", tmp_path / "data" / "abroad"]
    for config, fields, _ in workshop.generated:
        built = read_config(GenerateConfig, Path(config), fields)
        assert built.clip.size == (SCALES["small"].size_px,) * 2 and built.split.val > 0


def test_results_of_other_settings_are_refused(tmp_path: Path, executor: Executor) -> None:
    made(tmp_path, Workshop(), executor, seeds=(0,))
    with pytest.raises(UserError, match="made with other settings"):
        made(tmp_path, Workshop(), executor, seeds=(0,), scale=replace(SCALES["small"], lr=0.5))


@pytest.mark.parametrize("content", ["", "[]", "{", '{"identity": 3}'])
def test_damaged_results_are_one_line(content: str, tmp_path: Path, executor: Executor) -> None:
    made(tmp_path, Workshop(), executor, seeds=(0,))
    (tmp_path / "results" / "second" / "seed-0" / "home.json").write_text(content)
    with pytest.raises(UserError, match=r"home\.json: (damaged|was made with other settings)"):
        made(tmp_path, Workshop(), executor, seeds=(0,))


@pytest.mark.parametrize(
    ("name", "more", "message"),
    [
        ("seqhand-table9", {}, "no table seqhand-table9"),
        ("seqhand-table2", {"scale": "huge"}, "at scale huge"),
        ("seqhand-table2", {"rows": ["resnet"]}, "no row resnet; rows: encoder, deep-encoder"),
        ("seqhand-table2", {"jobs": 0}, "--jobs 0"),
        ("seqhand-table2", {"seeds": [0, -1]}, "--seeds 0 -1: must be numbers from 0 on"),
        ("seqhand-table2", {"seeds": [7, 7]}, "--seeds 7 7: a seed is given twice"),
    ],
)
def test_users_mistakes(name: str, more: dict[str, Any], message: str, tmp_path: Path) -> None:
    workshop = Workshop()
    with pytest.raises(UserError, match=message):
        reproduce(name, more.pop("scale", "small"), tmp_path, generate=workshop.generate, **more)
    assert workshop.generated == []


def test_one_seed_has_no_interval(tmp_path: Path, executor: Executor) -> None:
    text = made(tmp_path, Workshop(), executor, seeds=(0,)).markdown.read_text()
    assert cells(text, "the first − the second", test="at home")[0] == "-2.00 (one seed: no interval)"
    assert "**" not in text and "[" not in text.replace("![", "")
    picture = (tmp_path / "table.svg").read_text()
    assert '#0072b2" stroke-width' not in picture and "#0072b2" in picture  # a mean without its interval
    made(tmp_path, Workshop(), executor, seeds=(1,))
    assert '#0072b2" stroke-width' in (tmp_path / "table.svg").read_text()


def test_a_row_of_one_seed_has_no_interval_beside_others(tmp_path: Path, executor: Executor) -> None:
    made(tmp_path, Workshop(), executor, seeds=(0, 1), rows=["one"])
    text = made(tmp_path, Workshop(), executor, seeds=(0,), rows=["two"]).markdown.read_text()
    assert cells(text, "the first − the second", test="at home")[0] == "-1.50 (one seed: no interval)"


def test_the_page_tells_of_all_seeds_that_are_there(tmp_path: Path, executor: Executor) -> None:
    made(tmp_path, Workshop(), executor, seeds=(0, 1, 2))
    whole = (tmp_path / "table.md").read_text()
    made(tmp_path, Workshop(), executor, seeds=(0,))
    assert (tmp_path / "table.md").read_text() == whole
    text = made(tmp_path, Workshop(), executor, seeds=(3,), rows=["one"]).markdown.read_text()
    assert "| seeds | 0, 1, 2, 3 |" in text
    assert cells(text, "the first", test="at home")[3] == "11.50 ± 1.29 (7.85)" and cells(text, "the second [missing: seed 3]", test="at home")[3] == "13.00 ± 1.00"


def test_a_shared_backbone_makes_no_pairs(tmp_path: Path, executor: Executor) -> None:
    text = made(tmp_path, Workshop(), executor, table=BACKBONE_TABLE).markdown.read_text()
    assert cells(text, "the first − the second", test="at home")[0].startswith("-2.00 [-4.27, ")  # as without


def test_backbones_are_taught_once_for_all_seeds(tmp_path: Path, executor: Executor) -> None:
    workshop = Workshop()
    text = made(tmp_path, workshop, executor, table=BACKBONE_TABLE, seeds=(3, 4)).markdown.read_text()
    assert [(name, seed) for _, name, seed in workshop.trained] == [("backbone", 0)] + [(name, seed) for seed in (3, 4) for name in ("first", "second", "tuned")]
    runs = {name: tables["run"] for tables, name, seed in workshop.trained if seed in (0, 3)}
    small, checkpoint = SCALES["small"], str(tmp_path / "runs" / "backbone" / "seed-0" / "last")
    assert (runs["backbone"]["backbone"], runs["backbone"]["seed"], runs["backbone"]["steps"]) == (None, 0, small.backbone_steps)
    assert (runs["first"]["backbone"], runs["first"]["start"], runs["first"]["steps"]) == (checkpoint, None, small.steps)
    assert (runs["tuned"]["backbone"], runs["tuned"]["start"]) == (None, str(tmp_path / "runs" / "first" / "seed-3" / "last"))
    assert f"taught with {small.backbone_steps * small.batch * small.window:,} single frames" in text and "same backbone of their data and depth" in text
    assert "| time | 3.5 hours" in text  # seven trainings of half an hour; the backbone counts once


def test_backbones_that_fail_take_all_seeds_with_them(tmp_path: Path, executor: Executor) -> None:
    outcome = made(tmp_path, Workshop(broken=("backbone",)), executor, table=BACKBONE_TABLE, seeds=(0, 1))
    assert len(outcome.failed) == 7 and outcome.failed["backbone, seed 0"] == "the loss is nan" and outcome.left == ()
    assert not made(tmp_path, Workshop(), executor, table=BACKBONE_TABLE, seeds=(0, 1)).failed


def test_without_steps_there_are_no_backbones(tmp_path: Path, executor: Executor) -> None:
    workshop = Workshop()
    text = made(tmp_path, workshop, executor, table=BACKBONE_TABLE, seeds=(3,), scale=replace(SCALES["small"], backbone_steps=0)).markdown.read_text()
    assert [name for _, name, _ in workshop.trained] == ["first", "second", "tuned"] and all(tables["run"]["backbone"] is None for tables, _, _ in workshop.trained)
    assert "| start | fresh weights |" in text and "backbone" not in text.split("\n", 1)[1]


def test_a_training_begins_in_one_way() -> None:
    with pytest.raises(ValueError, match="give one of the two"):
        replace(TUNED, backbone=BACKBONE)


def test_identity_holds_all_that_an_outcome_depends_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Defaults of the learning config and lines of the data's config too; not where things lie, nor what they are made on."""
    from seqgen.training.config import train_config

    small = SCALES["small"]
    [first, tuned] = training_identity(TUNED, small, seed=1)["stages"]
    tables = train_tables(TUNED, small, seed=1, data=Path("data"), before=Path("elsewhere"))
    assert tuned["train"] == train_config(tables, where="here").content() and "weight_decay" in tuned["train"]["optim"] and "losses" in first["train"]["model"]
    known = training_digest(FIRST, small, seed=1)
    assert training_digest(FIRST, replace(small, device="cuda", threads=7, readers=3, checkpoint_every=5, jobs=9), seed=1) == known
    changed = tmp_path / "paper.toml"
    changed.write_text(find_config("paper").read_text().replace("redraws = 0", "redraws = 1"))
    monkeypatch.setattr(scales_module, "find_config", lambda name, kind="": changed)
    assert training_digest(FIRST, small, seed=1) != known


def test_figures_of_another_measure_are_refused(tmp_path: Path, executor: Executor, monkeypatch: pytest.MonkeyPatch) -> None:
    made(tmp_path, Workshop(), executor, seeds=(0,))
    monkeypatch.setattr(results_module, "VERSION", results_module.VERSION + 1)
    with pytest.raises(UserError, match=r"home\.json: was made with other settings"):
        made(tmp_path, Workshop(), executor, seeds=(0,))


def test_time_and_machine_are_those_of_the_training(tmp_path: Path, executor: Executor, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the trainer's own count, which goes on over interruptions; written again elsewhere, the page names the machine that trained."""
    there = {"machine": {"system": "Linux", "architecture": "far", "cores": 96}, "versions": {"torch": "2.0"}}
    monkeypatch.setattr(results_module, "describe_machine", lambda: there)
    made(tmp_path, Workshop(), executor, seeds=(0, 1))
    monkeypatch.undo()
    text = made(tmp_path, Workshop(), executor, seeds=(0, 1)).markdown.read_text()
    assert "| time | 3.0 hours" in text and "| machine | Linux far, 96 cores, torch 2.0 |" in text


def all_trainings(scale: Scale = SCALES["small"]) -> dict[str, Training]:
    named: dict[str, Training] = {}
    for table in TABLES.values():
        for piece in pieces_of(scale.of(table), None, (0,)):
            assert named.setdefault(piece.training.name, piece.training) == piece.training, "two trainings of one name"
    return named


def test_shipped_tables_are_whole() -> None:
    rows = 12 + 5 - 1  # one training serves both tables
    assert len(all_trainings()) == rows + 4 and len(all_trainings(SCALES["paper"])) == rows  # two data sets, two depths
    for table in TABLES.values():
        for part in table.parts:
            names = {row.name for row in part.rows}
            tests = {test.data.name for test in part.tests}
            assert all(set(pair) <= names for pair in part.differences)
            assert all(data in tests and metric in METRICS for row in part.rows for data, metric in row.paper)


def test_rows_start_from_the_backbone_of_their_data_and_depth() -> None:
    for training in all_trainings().values():
        if training.backbone is not None:
            before = training.backbone
            assert before.once and before.stills and (before.data, before.network.deep) == (training.data, training.network.deep)
            assert before.fields.get("model.pose_components") == training.fields.get("model.pose_components") == (45 if training.data.name == "default" else None)
        assert training.once or training.start is not None or training.backbone is not None


def test_differences_are_as_many_as_the_readme_says() -> None:
    counts = [sum(len(part.tests) * len(part.differences) for part in table.parts) for table in TABLES.values()]
    assert counts == [10, 12] and len(COMPARED) == 6
    assert "10 differences of each of 6 metrics" in README.read_text() and "12 in table 3" in README.read_text()


@pytest.mark.parametrize("scale", SCALES.values())
def test_all_data_of_a_scale_is_split_alike(scale: Scale) -> None:
    """Else what is tested in one data set may be taught in another. And each has test clips enough, those only tested on no more."""
    block = sum(scale.split.values())
    sets = {piece.training.data for table in TABLES.values() for piece in pieces_of(table, None, (0,))}
    sets |= {test.data for table in TABLES.values() for part in table.parts for test in part.tests}
    for data in sets:
        config = read_config(GenerateConfig, find_config(data.config, data.folder), data_fields(data, scale))
        assert config.split.counts() == dict(scale.split) and config.sequences % block == 0 and not any("split" in name for name in data.fields)
        tested = config.sequences // block * scale.split["test"]
        assert tested == scale.test_clips if data.size == "test" else tested >= scale.test_clips


@pytest.mark.parametrize("scale", SCALES)
def test_shipped_tables_fit_the_configs(scale: str) -> None:
    from seqgen.training.config import train_config

    for training in all_trainings(SCALES[scale]).values():
        tables = train_tables(training, SCALES[scale], seed=1, data=Path("data"), before=Path("last") if training.before else None)
        assert train_config(tables, where="here").run.freeze == training.freeze
        read_config(GenerateConfig, find_config(training.data.config, training.data.folder), data_fields(training.data, SCALES[scale]))


@pytest.mark.parametrize("scale", SCALES.values())
def test_all_rows_see_as_many_frames(scale: Scale) -> None:
    from seqgen.training.config import train_config

    def frames(training: Training) -> int:
        tables = train_tables(training, scale, seed=0, data=Path("data"), before=None)
        reading = train_config(tables, where="here").data.reading
        return tables["run"]["steps"] * reading.batch * reading.frames  # with `static` too: "batch x frames of them a step"

    trained: Sequence[Training] = list(all_trainings(scale).values())
    kinds = {(training.once, training.start is not None): set() for training in trained}
    for training in trained:
        kinds[training.once, training.start is not None].add(frames(training))
    assert all(len(seen) == 1 for seen in kinds.values()) and len(kinds) == (3 if scale.backbone_steps else 2)
