"""Tables made with trainings and tests whose outcomes are known beforehand; what is done is not done again, what fails is named, the shipped tables fit the configs."""

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import BrokenExecutor, Executor, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from seqgen.config import find_config, overlay, read_config
from seqgen.errors import UserError
from seqgen.estimators.checkpoint import new_estimator
from seqgen.estimators.cost import num_parameters
from seqgen.pipeline.config import GenerateConfig
from seqgen.reproduction import results as results_module
from seqgen.reproduction import scales as scales_module
from seqgen.reproduction.catalogue import REAL_DATA, TABLES, named_table
from seqgen.reproduction.columns import CLIP_COLUMNS, METRICS
from seqgen.reproduction.results import Results
from seqgen.reproduction.run import Outcome, pieces_of, reproduce, run_table
from seqgen.reproduction.scales import Scale, data_fields, train_tables, training_digest, training_identity
from seqgen.reproduction.seqhand_scales import SEQHAND_SCALES as SCALES
from seqgen.reproduction.still_scales import STILL_SCALES
from seqgen.reproduction.tables import Data, HeldOut, Network, Part, Row, Table, Training
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
    asked: list[dict[str, Any]] = field(default_factory=list)

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

    def weigh(self, checkpoint: Path, folder: Path, test: HeldOut, *, device: str) -> dict[str, float]:
        return {"parameters": 1_234_567.0, "macs": 2.5e9, "ms_1": 4.25, "ms_32": 3.0}

    def measure(self, checkpoint: Path, folder: Path, test: HeldOut, *, metrics: Sequence[str], clips: int, device: str) -> dict[str, np.ndarray]:
        """Errors differ from clip to clip, in the same way for all trainings; abroad they are twice as large."""
        data = folder
        self.asked.append({"metrics": metrics, "fields": test.fields})
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
    tools = Tools(workshop.train, workshop.measure, workshop.weigh)
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
        assert built.clip.size == SCALES["small"].size_px and built.split.val > 0


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
        ("seqhand-table2", {"scale": "huge"}, "no scale huge; scales: small"),
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


EVERY = [(name, scale) for name, entry in TABLES.items() for scale in entry.scales]


def all_trainings(scales: Mapping[str, Scale], scale: str = "small") -> dict[str, Training]:
    """Of all tables that are made at these scales."""
    named: dict[str, Training] = {}
    for table, _ in (entry for entry in TABLES.values() if entry.scales is scales):
        for piece in pieces_of(scales[scale].of(table), None, (0,)):
            assert named.setdefault(piece.training.name, piece.training) == piece.training, "two trainings of one name"
    return named


def test_tables_are_in_order() -> None:
    assert list(TABLES) == sorted(TABLES)


def test_seqhands_tables_are_whole() -> None:
    rows = 12 + 5 - 1  # one training serves both tables
    assert len(all_trainings(SCALES)) == rows + 4 and len(all_trainings(SCALES, "paper")) == rows  # two data sets, two depths


def test_the_other_networks_tables_are_whole() -> None:
    """Whole networks serve several tables: three of depth, and three of JAR's rows."""
    five, handr2n2, srn, jgr_p2o, jar = 6 + 2, 5 + 3 + 5 + 4, 5 + 2 + 5 + 5, 4 * 2, 11 + 13 + 2
    assert len(all_trainings(STILL_SCALES)) == five + handr2n2 + srn + jgr_p2o + jar


@pytest.mark.parametrize(("scales", "scale"), [(SCALES, "small"), (SCALES, "paper"), (STILL_SCALES, "small"), (STILL_SCALES, "medium"), (STILL_SCALES, "paper")])
def test_no_training_has_two_names(scales: Mapping[str, Scale], scale: str) -> None:
    """But JAR as the scale has it, among the five networks, which is a row of JAR's Table 2 as well: of another backbone in another scale."""
    names: dict[str, list[str]] = {}
    for name, training in all_trainings(scales, scale).items():
        names.setdefault(training_digest(training, scales[scale], seed=0), []).append(name)
    twice = [same for same in names.values() if len(same) > 1]
    assert twice == ([] if scales is SCALES else [["jar", f"jar-{'resnet18' if scale == 'small' else 'resnet50'}-id7"]])


def test_tests_of_one_name_are_one_test() -> None:
    """Their results are kept under it, whatever the table."""
    named: dict[str, tuple[Data, Mapping[str, Any]]] = {}
    for test in (test for entry in TABLES.values() for part in entry.table.parts for test in part.tests):
        assert named.setdefault(test.name, (test.data, test.fields)) == (test.data, test.fields)


@pytest.mark.parametrize("name", TABLES)
def test_shipped_tables_name_what_there_is(name: str) -> None:
    table = named_table(name).table
    assert {*table.columns.metrics, *table.columns.compared, table.columns.drawn} <= METRICS.keys()
    for part in table.parts:
        rows, tests = {row.name for row in part.rows}, {test.name for test in part.tests}
        assert len(rows) == len(part.rows) and len(tests) == len(part.tests)
        assert all(set(pair) <= rows for pair in part.differences) and part.across in (None, *METRICS)
        told = {(test, metric) for row in part.rows for test, metric in row.paper}
        assert all((test in tests or test.split("-")[0] in REAL_DATA) and metric in METRICS for test, metric in told)  # a figure may stand beside the paper's own data set alone


def test_rows_start_from_the_backbone_of_their_data_and_depth() -> None:
    for training in all_trainings(SCALES).values():
        if training.backbone is not None:
            before = training.backbone
            assert before.once and before.stills and (before.data, before.network.deep) == (training.data, training.network.deep)
            assert before.fields.get("model.pose_components") == training.fields.get("model.pose_components") == (45 if training.data.name == "default" else None)
        assert training.once or training.start is not None or training.backbone is not None


def test_differences_are_as_many_as_the_readme_says() -> None:
    tables = (named_table(name).table for name in ("seqhand-table2", "seqhand-table3"))
    counts = [sum(len(part.tests) * len(part.differences) for part in table.parts) for table in tables]
    assert counts == [10, 12] and len(CLIP_COLUMNS.compared) == 6
    assert "10 differences of each of 6 metrics" in README.read_text() and "12 in table 3" in README.read_text()


@pytest.mark.parametrize(("name", "scale"), EVERY)
def test_all_data_of_a_scale_is_split_alike(name: str, scale: str) -> None:
    """Else what is tested in one data set may be taught in another. And each has test clips enough, those only tested on no more."""
    table, own = named_table(name).table, named_table(name).scales[scale]
    block = sum(own.split.values())
    sets = {piece.training.data for piece in pieces_of(table, None, (0,))} | {test.data for part in table.parts for test in part.tests}
    for data in sets:
        config = read_config(GenerateConfig, find_config(data.config, data.folder), data_fields(data, own))
        assert config.split.counts() == dict(own.split) and config.sequences % block == 0 and not any("split" in field for field in data.fields)
        tested = config.sequences // block * own.split["test"]
        assert tested == own.test_clips if data.size == "test" else tested >= own.test_clips


@pytest.mark.parametrize(("name", "scale"), EVERY)
def test_shipped_tables_fit_the_configs(name: str, scale: str) -> None:
    from seqgen.training.config import train_config

    entry = named_table(name)
    own = entry.scales[scale]
    for training in entry.scales[scale].of(entry.table).trainings():
        tables = train_tables(training, own, seed=1, data=Path("data"), before=Path("last") if training.before else None)
        config = train_config(tables, where="here")
        assert config.run.freeze == training.freeze and config.model.name == training.network.recipe
        read_config(GenerateConfig, find_config(training.data.config, training.data.folder), data_fields(training.data, own))


@pytest.mark.parametrize(("name", "scale"), EVERY)
def test_what_is_replaced_in_tests_fits_the_networks(name: str, scale: str) -> None:
    from seqgen.training.config import train_config

    entry = named_table(name)
    for part in entry.table.parts:
        for row, test in ((row, test) for row in part.rows for test in part.tests):
            tables = train_tables(row.training, entry.scales[scale], seed=1, data=Path("data"), before=None)
            for field_name, value in test.fields.items():
                tables = overlay(tables, field_name, value)
            train_config(tables, where="here")


@pytest.mark.parametrize(("name", "scale"), EVERY)
def test_all_rows_see_as_many_frames(name: str, scale: str) -> None:
    from seqgen.training.config import train_config

    entry = named_table(name)
    own = entry.scales[scale]
    kinds: dict[tuple[bool, bool], set[int]] = {}
    for training in own.of(entry.table).trainings():
        tables = train_tables(training, own, seed=0, data=Path("data"), before=None)
        reading = train_config(tables, where="here").data.reading
        frames = tables["run"]["steps"] * reading.batch * reading.frames  # with `static` too: "batch x frames of them a step"
        kinds.setdefault((training.once, training.start is not None), set()).add(frames)
    assert all(len(seen) == 1 for seen in kinds.values())


OF_DEPTH = ("handr2n2", "srn", "jgr_p2o")
COUNTS = {  # as published, of NYU's 14 joints; where nothing is, of the same modules: a gate of HandR2N2 has 165,376 + 65,536
    "handr2n2-sensor": 1_236_614,
    "handr2n2-gru-gcn": 1_236_614,
    "handr2n2-neighbours-8": 1_236_614,
    "handr2n2-iterations-6": 1_236_614,
    "handr2n2-gru": 1_120_646,
    "handr2n2-gru-residual": 1_120_646,
    "handr2n2-conventional-gru-residual": 1_120_646,
    "handr2n2-conventional": 1_186_634,
    "handr2n2-gcn-residual": 1_236_614 - 2 * 230_912,
    "handr2n2-conventional-gcn-residual": 1_186_634 - 2 * 230_912,
    "handr2n2-none": 1_120_646 - 2 * 230_912,
    "srn-sensor": 22_304_020,
    "srn-kernel-0.8": 22_304_020,
    "srn-heatmap2d": 22_250_260,
    "srn-heatmap2d-depth": 22_268_180,
    "srn-resnet50": 23_587_818,
    "srn-stages-1": 11_191_786,
    "srn-stages-3": 33_487_934,
    "srn-plain": 11_191_786,
    "jgr_p2o-sensor": 1_365_244,
    "jgr_p2o-similarity": 1_430_780,
    "jgr_p2o-parameterised": 1_365_244 + 2 * 14**2,
    "jgr_p2o-stages-1": 715_502,
    "jgr_p2o-stages-3": 2_014_986,
}
ENCODERS = {"resnet50": 23.508, "resnet101": 42.500, "resnet152": 58.144}
HEADS = {"id7": 5.382, "id2": 8.521, "detection25d": 10.498}  # on 2,048 channels
MILLIONS = {
    **{f"jar-{backbone}-{kind}": ENCODERS[backbone] + head for backbone in ENCODERS for kind, head in HEADS.items()},
    "jar-resnet18-id7": 14.494,
    "jar-resnet18-id10": 26.681,
    "jar-resnet18-id11": 38.868,
    "jar-resnet34-id7": 24.602,
    "jar-resnet34-id10": 41.510,
    "jar-resnet34-id10-stages4": 75.326,
    "jgr_p2o-attention": 1.415,
}


def config_of(training: Training, scale: str, **replaced: Any) -> Any:
    """The whole config of a training with a table of STILL_SCALES."""
    from seqgen.training.config import train_config

    tables = train_tables(training, STILL_SCALES[scale], seed=0, data=Path("data"), before=None)
    for field_name, value in replaced.items():
        tables = overlay(tables, field_name, value)
    return train_config(tables, where="here")


@cache
def parameters_of(name: str) -> int:
    """Of a training's network as published: 14 joints of NYU for depth, 21 and 256 px for JAR. Built without numbers."""
    training = all_trainings(STILL_SCALES)[name]
    config = config_of(training, "paper", **({"model.joints": "nyu"} if training.network.recipe in OF_DEPTH else {}))
    with torch.device("meta"):
        return num_parameters(new_estimator(config.model))


@pytest.mark.parametrize("name", [name for name, entry in TABLES.items() if entry.scales is STILL_SCALES])
def test_every_network_can_be_built(name: str) -> None:
    """But SeqHAND's, whose hand needs numbers."""
    trainings = [training for training in named_table(name).table.trainings() if training.network.recipe != "seqhand"]
    assert trainings and all(parameters_of(training.name) > 0 for training in trainings)


def test_networks_are_as_large_as_published() -> None:
    assert {name: parameters_of(name) for name in COUNTS} == COUNTS
    for name, millions in MILLIONS.items():
        assert parameters_of(name) / 1e6 == pytest.approx(millions, abs=0.0015)  # sums of two rounded figures
    assert parameters_of("srn-resnet101") > parameters_of("srn-resnet50") > parameters_of("srn-sensor")


@pytest.mark.parametrize(
    ("one", "other", "fields"),
    [
        ("srn-plain", "srn-augmented", {"augment.share"}),
        ("srn-augmented", "srn-refined", {"input.centre"}),
        ("srn-refined", "srn-refined-smooth-l1", {"model.loss", "optim.lr"}),
        ("srn-refined-smooth-l1", "srn-refined-decoupled", {"model.coordinates"}),
        ("srn-stages-1", "srn-sensor", {"model.stages"}),
        ("srn-stages-3", "srn-sensor", {"model.stages"}),
        ("srn-resnet101", "srn-stages-1", {"model.backbone"}),
        ("srn-deconvolution", "srn-heatmap2d", {"model.interface"}),
        ("srn-kernel-0.3", "srn-sensor", {"model.kernel_size"}),
        ("handr2n2-none", "handr2n2-sensor", {"model.gates", "model.graph", "model.residual"}),
        ("handr2n2-gru", "handr2n2-none", {"model.gates"}),
        ("handr2n2-gru-gcn", "handr2n2-sensor", {"model.residual"}),
        ("handr2n2-gru-residual", "handr2n2-sensor", {"model.graph"}),
        ("handr2n2-gcn-residual", "handr2n2-conventional-gcn-residual", {"model.graph"}),
        ("handr2n2-gru-residual", "handr2n2-conventional-gru-residual", {"model.gates"}),
        ("handr2n2-conventional", "handr2n2-sensor", {"model.gates", "model.graph"}),
        ("handr2n2-iterations-2", "handr2n2-sensor", {"model.iterations"}),
        ("handr2n2-neighbours-64", "handr2n2-sensor", {"model.neighbours"}),
        ("jgr_p2o-p2o", "jgr_p2o-p2o-offset-loss", {"model.offset_weight"}),
        ("jgr_p2o-p2o-offset-loss", "jgr_p2o-sensor", {"model.weighting"}),
        ("jgr_p2o-attention", "jgr_p2o-sensor", {"model.weighting"}),
        ("jgr_p2o-heatmap", "jgr_p2o-sensor", {"model.decoding"}),
        ("jar-resnet18-id7", "jar-resnet34-id7", {"model.backbone"}),
        ("jar-resnet34-id10", "jar-resnet34-id10-stages4", {"model.stages"}),
    ],
)
@pytest.mark.parametrize("scale", ["small", "medium"])
def test_rows_differ_in_what_they_are_about_alone(one: str, other: str, fields: set[str], scale: str) -> None:
    contents = [config_of(all_trainings(STILL_SCALES)[name], scale).model_dump(mode="json") for name in (one, other)]
    sections = contents[0].keys() | contents[1].keys()
    changed = {f"{section}.{name}" for section in sections for name in contents[0][section] if contents[0][section][name] != contents[1][section][name]}
    assert changed == fields


def test_rows_backbones_are_their_own_at_every_scale() -> None:
    """Though the small scale has one for JAR; its smaller pictures stay."""
    for name, training in all_trainings(STILL_SCALES).items():
        if name.startswith("jar-"):
            small, medium = (config_of(training, scale) for scale in ("small", "medium"))
            assert small.model.backbone == medium.model.backbone == name.split("-")[1]
            assert (small.input.size, small.model.size, medium.input.size) == (128, 128, 256)


@pytest.mark.parametrize(
    ("name", "real", "another", "metric"),
    [
        ("handr2n2-table2", "nyu", "icvl", "space_mm"),
        ("jgr-table4", "nyu", "msra", "space_mm"),
        ("srn-table2", "nyu", "hands17", "space_mm"),
        ("handr2n2-fig8", "nyu", "icvl", "space_mm"),
        ("jar-table1", "rhd", "stb", "error_mm"),
        ("jar-table3", "freihand", "rhd", "pa_mm"),
    ],
)
def test_figures_stand_beside_the_papers_own_data_set(name: str, real: str, another: str, metric: str, tmp_path: Path) -> None:
    """And beside ours, but not beside another real one."""
    own = named_table(name).table
    on_real, on_another = (own.with_data(dict.fromkeys(["sr300"], Data(each, "", "source", path=tmp_path)), {}) for each in (real, another))
    for table, stand in ((own, True), (on_real, True), (on_another, False)):
        assert all(((test.name, metric) in row.paper) == stand for part in table.parts for test in part.tests for row in part.rows)


def test_figure_8_is_the_papers_grid() -> None:
    """Taught with three, the best is five; taught with one, one."""
    [part] = named_table("handr2n2-fig8").table.parts
    grid = np.array([[row.paper[test.name, "space_mm"][0] for test in part.tests] for row in part.rows])
    assert grid.shape == (6, 9) and grid.argmin(1)[[0, 2]].tolist() == [1, 5] and grid.min(1)[[0, 2]].tolist() == [7.96, 7.27] and grid[2, 3] == 7.36


ITERATED_TESTS = tuple(HeldOut(HOME, str(count), str(count), {"model.inference_iterations": count}) for count in (1, 2))
ITERATED = Part("Asked again", ITERATED_TESTS, ROWS[:1], across="error_mm", costs=True)


def test_tests_side_by_side_and_costs(tmp_path: Path, executor: Executor) -> None:
    workshop = Workshop()
    text = made(tmp_path, workshop, executor, table=replace(TABLE, parts=(ITERATED,)), seeds=(0, 1)).markdown.read_text()
    assert [asked["fields"] for asked in workshop.asked] == [{"model.inference_iterations": 1}, {"model.inference_iterations": 2}] * 2
    assert all(asked["metrics"] == CLIP_COLUMNS.metrics for asked in workshop.asked)
    assert "|  | 1 | 2 |" in text and "| the first | 10.50 ± 0.71 | 10.50 ± 0.71 |" in text
    assert "| the first | 1.235 | 2.500 | 4.2 | 3.0 | 30 |" in text  # half an hour a training
    again = Workshop()
    assert made(tmp_path, again, executor, table=replace(TABLE, parts=(ITERATED,)), seeds=(0, 1)).done == 2 and again.asked == []


def test_another_test_of_the_same_data_needs_a_name() -> None:
    with pytest.raises(ValueError, match="a name of its own"):
        HeldOut(HOME, "with more iterations", fields={"model.inference_iterations": 5})
