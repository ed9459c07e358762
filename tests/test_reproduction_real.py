"""Tables on a user's copy of a real data set, from its files to the page; and what is refused before any work begins."""

import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from depth_sets import write_icvl, write_nyu
from real_sets import write_freihand

from seqgen.errors import UserError
from seqgen.reproduction.catalogue import REAL_DATA, named_table, on_data
from seqgen.reproduction.results import Results
from seqgen.reproduction.run import TOOLS, run_table
from seqgen.reproduction.scales import train_tables
from seqgen.reproduction.still_data import NOT_NYU
from seqgen.reproduction.still_scales import STILL_SCALES
from seqgen.reproduction.tables import Table

TINY = {"srn": {"model.width": 0.125, "input.size": 64, "optim.lr": 1e-4}}
SCALE = replace(STILL_SCALES["small"], steps=2, batch=1, test_clips=1, networks=TINY)
TRAINED, TESTED = 8, 6


@pytest.fixture(scope="module")
def nyu(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("nyu")
    write_nyu(folder, "train", count=TRAINED)
    write_nyu(folder, "test", count=TESTED, rows=(0, 1, 2, 4, 5))  # a picture is missing: two clips, of three frames and of two
    return folder


def one_row(table: Table) -> Table:
    """The first row of the first part alone."""
    return replace(table, parts=(replace(table.parts[0], rows=table.parts[0].rows[:1], differences=()),))


def nothing(*given: Any) -> None:
    raise AssertionError(f"generated {given}")


def test_a_table_on_a_real_data_set(nyu: Path, tmp_path: Path) -> None:
    """Taught and tested frame by frame, all frames of the test split, joints of its own, the paper's figure beside them, and nothing said of drawn hands."""
    table = one_row(on_data(named_table("srn-table2").table, "nyu", nyu))
    [training] = table.trainings()
    results = Results(tmp_path, SCALE)
    with ThreadPoolExecutor(1) as executor:
        outcome = run_table("srn-table2", table, results, generate=nothing, tools=TOOLS, executor=executor, seeds=(0,))
    assert outcome.done == 1 and not outcome.failed
    values = results.read(training, 0, table.parts[0].tests[0])
    assert values["space_mm"].shape == (5,) and np.isfinite(values["space_mm"]).all() and np.isnan(values["covered_mm"]).all()
    page = outcome.markdown.read_text()
    assert re.search(r"^\| 1 stage \| [\d.]+ \(9.81\) \|", page, re.MULTILINE)
    assert "nyu, the user's copy, 8 frames to learn from" in page and "all 5 frames of the split test of nyu" in page
    assert NOT_NYU not in page and "sr300" not in page.lower() and "egocentric" not in page
    costs = results.costs(training, 0)
    assert costs["parameters"] > 1e4 and costs["macs"] > 1e5 and 0 < costs["ms_32"] < 3 * costs["ms_1"]


def test_every_frame_is_a_clip_of_its_own(nyu: Path) -> None:
    table = on_data(named_table("jgr-table3").table, "nyu", nyu)
    for training in table.trainings():
        tables = train_tables(training, STILL_SCALES["small"], seed=0, data=nyu, before=None)
        assert training.data.path == nyu.resolve() and tables["model"]["joints"] == "nyu"
        assert tables["data"]["stills"] == 1 and tables["data"]["reading"] == {"frames": 1, "batch": 32, "readers": 0}


def test_another_copy_is_another_data_set(nyu: Path, tmp_path: Path) -> None:
    """With more frames, results are others."""
    table = one_row(on_data(named_table("srn-table2").table, "nyu", nyu))
    write_nyu(tmp_path, "train", count=TRAINED)
    write_nyu(tmp_path, "test", count=TESTED)
    other = one_row(on_data(named_table("srn-table2").table, "nyu", tmp_path))
    assert [one.trainings()[0].data.frames for one in (table, other)] == [(8, 5), (8, 6)]


@pytest.mark.parametrize(("name", "table", "write"), [("icvl", "srn-table2", write_icvl), ("freihand", "jar-table3", None)])
def test_other_sets(name: str, table: str, write: Any, tmp_path: Path) -> None:
    if write is None:
        for split in ("training", "evaluation"):
            write_freihand(tmp_path, split=split)
    else:
        write(tmp_path)
    moved = on_data(named_table(table).table, name, tmp_path)
    assert {training.data.name for training in moved.trainings()} == {name} and all(training.data.frames[0] > 0 for training in moved.trainings())
    assert moved.trainings()[0].fields.get("model.joints") == ("icvl" if name == "icvl" else None)


def test_generated_data_is_left_as_it_is() -> None:
    table = named_table("srn-table2").table
    assert on_data(table, "seqgen", None) is table


@pytest.mark.parametrize(
    ("table", "data", "folder", "message"),
    [
        ("srn-table2", "seqgen", "here", "belongs to --data with the name of a real data set: nyu"),
        ("srn-table2", "bighand", "here", "not known; there are seqgen, nyu"),
        ("srn-table2", "nyu", None, "needs --data-folder with your copy"),
        ("srn-table2", "nyu", "nowhere", "nowhere is no folder"),
        ("srn-table2", "nyu", "here", "holds no data set known here"),
        ("five-networks", "stb", "here", "stb: has pictures, but networks of this table see depth and pictures"),
        ("jar-table1", "nyu", "here", "nyu: has depth, but networks of this table see pictures"),
        ("seqhand-table2", "stb", "here", "about clips"),
    ],
)
def test_data_that_do_not_suit(table: str, data: str, folder: str | None, message: str, tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    with pytest.raises(UserError, match=message):
        on_data(named_table(table).table, data, folder and tmp_path / folder)


def test_another_set_in_the_folder_and_a_missing_split_are_told_at_once(nyu: Path, tmp_path: Path) -> None:
    table = named_table("srn-table2").table
    with pytest.raises(UserError, match="holds NYU; give the folder of ICVL"):
        on_data(table, "icvl", nyu)
    write_nyu(tmp_path, "train")
    with pytest.raises(UserError, match="no labels of NYU's test split"):
        on_data(table, "nyu", tmp_path)
    assert REAL_DATA["hands17"].tested == "val"  # its test labels are not public
