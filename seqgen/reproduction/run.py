"""`seqgen reproduce`: makes the data a table needs, works off its trainings and tests, and writes the table from whatever is done.

    table ─> pieces: each training once a seed, those before it first ─> data, unless it is a user's ─> pieces worked off, several at once ─> OUT/<table>.md, .svg

The same command again goes on where it stopped and repeats nothing. A piece that fails is named, those that go on from it are left, the others go on.
The table tells of all seeds that are there, whichever were asked for now.
"""

import logging
import multiprocessing
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from seqgen.config import find_config
from seqgen.errors import UserError
from seqgen.files import written_aside
from seqgen.reproduction.catalogue import SEQGEN, named_table, on_data
from seqgen.reproduction.figure import table_figure
from seqgen.reproduction.report import table_markdown
from seqgen.reproduction.results import Results
from seqgen.reproduction.scales import data_fields
from seqgen.reproduction.tables import Data, HeldOut, Table, Training
from seqgen.reproduction.work import Piece, Tools, do_piece, is_over, measure_here, train_here, weigh_here

log = logging.getLogger(__name__)

TOOLS = Tools(train_here, measure_here, weigh_here)
Generate = Callable[[str, dict[str, Any], Path], Any]  # a config's file, fields to replace, the folder


@dataclass(frozen=True)
class Outcome:
    """What came of a run. `left`: pieces that are not done for want of time; `failed`: why, by piece."""

    markdown: Path
    done: int
    left: tuple[str, ...]
    failed: dict[str, str] = field(default_factory=dict)


def reproduce(
    name: str,
    scale: str,
    out: Path,
    *,
    generate: Generate,
    data: str = SEQGEN,
    data_folder: Path | None = None,
    rows: Sequence[str] | None = None,
    seeds: Sequence[int] = (0, 1, 2),
    jobs: int | None = None,
    minutes: float | None = None,
    say: Callable[[str], None] = log.info,
) -> Outcome:
    """Makes one of TABLES at one of its scales in the folder `out`. `data`: seqgen's own, or the name of a real data set whose copy is `data_folder`; `rows`: names
    of rows to work on, all by default; `jobs`: pieces at once, by default what the scale suggests; `minutes`: stop cleanly after so many. UserError for names that
    are not known, for data that do not suit the table, and for a folder that holds other things."""
    table, scales = named_table(name)
    if scale not in scales:
        raise UserError(f"reproduce: no scale {scale}; scales: {', '.join(scales)}")
    table, chosen = on_data(table, data, data_folder), scales[scale]
    jobs = chosen.jobs if jobs is None else jobs
    deadline = None if minutes is None else time.time() + 60 * minutes
    with processes(jobs, chosen.threads) as executor:
        wanted = {"rows": rows, "seeds": seeds, "deadline": deadline}
        return run_table(name, table, Results(out, chosen), generate=generate, tools=TOOLS, executor=executor, jobs=jobs, **wanted, say=say)


def processes(jobs: int, threads: int) -> ProcessPoolExecutor:
    """Fresh processes (torch's threads do not survive a fork), each with so many threads."""
    if jobs < 1:
        raise UserError(f"reproduce: --jobs {jobs}: must be at least 1")
    return ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn"), initializer=_set_threads, initargs=(threads,))


def _set_threads(threads: int) -> None:
    import torch

    torch.set_num_threads(threads)


def run_table(
    name: str,
    table: Table,
    results: Results,
    *,
    generate: Generate,
    tools: Tools,
    executor: Executor,
    jobs: int = 1,
    rows: Sequence[str] | None = None,
    seeds: Sequence[int] = (0, 1, 2),
    deadline: float | None = None,
    say: Callable[[str], None] = log.info,
) -> Outcome:
    """The work of `reproduce`, with tools and processes of the caller's choice."""
    _check_seeds(seeds)
    table = results.scale.of(table)
    pieces = pieces_of(table, rows, seeds)
    seeds_told(table, results, seeds)  # other settings are refused now, not after the work
    todo = [piece for piece in pieces if not piece.is_done(results)]
    say(f"{name}: {len(pieces)} trainings with their tests, {len(pieces) - len(todo)} of them done")
    for data in data_of(todo):
        if data.path is None and not is_over(deadline):
            say(f"data set {data.name}")
            generate(str(find_config(data.config, data.folder)), data_fields(data, results.scale), results.data_folder(data))
    failed = _work_off(todo, lambda piece: executor.submit(do_piece, piece, results, tools, deadline=deadline), jobs, say)
    markdown = write_table(name, table, results, seeds)
    left = tuple(piece.name for piece in todo if piece not in failed and not piece.is_done(results))
    return Outcome(markdown, len(pieces) - len(left) - len(failed), left, {piece.name: why for piece, why in failed.items()})


def _check_seeds(seeds: Sequence[int]) -> None:
    given = " ".join(map(str, seeds))
    if not seeds or min(seeds) < 0:
        raise UserError(f"reproduce: --seeds {given}: must be numbers from 0 on")
    if len(set(seeds)) < len(seeds):
        raise UserError(f"reproduce: --seeds {given}: a seed is given twice; each counts once")


def seeds_told(table: Table, results: Results, seeds: Sequence[int]) -> list[int]:
    """The seeds that the table tells of: those asked for and those that are there of any row."""
    there = (seed for part in table.parts for row in part.rows for test in part.tests for seed in results.seeds(row.training, test))
    return sorted({*seeds, *there})


def pieces_of(table: Table, rows: Sequence[str] | None, seeds: Sequence[int]) -> list[Piece]:
    """Each training that the rows need, once a seed or once for all, after those before it; with all the tests that the rows of the table take of it."""
    unknown = [row for row in rows or () if row not in table.row_names()]
    if unknown:
        raise UserError(f"reproduce: the table has no row {unknown[0]}; rows: {', '.join(table.row_names())}")
    tests: dict[Training, tuple[HeldOut, ...]] = {}
    for part in table.parts:
        for row in part.rows:
            if rows is None or row.name in rows:
                for training in row.training.chain():
                    tests.setdefault(training, ())
                tests[row.training] = tuple(dict.fromkeys((*tests[row.training], *part.tests)))
    depth_first = sorted(tests, key=lambda training: len(training.chain()))
    weighed = {row.training for part in table.parts for row in part.rows if part.costs and (rows is None or row.name in rows)}
    metrics = table.columns.metrics
    return list(dict.fromkeys(Piece(training, training.seed_of(seed), tests[training], metrics, training in weighed) for seed in seeds for training in depth_first))


def data_of(pieces: Sequence[Piece]) -> list[Data]:
    """The data sets of some pieces, each once."""
    return list(dict.fromkeys(data for piece in pieces for data in (piece.training.data, *(test.data for test in piece.tests))))


def _work_off(todo: list[Piece], submit: Callable[[Piece], Future[bool]], jobs: int, say: Callable[[str], None]) -> dict[Piece, str]:
    """Does the pieces, `jobs` at once, each when the one before it is done. Why some failed; those that go on from them count as failed too."""
    waiting, running, failed, began = list(todo), {}, {}, time.monotonic()
    unfinished = {(piece.training, piece.seed) for piece in todo}
    while True:
        ready = [piece for piece in waiting if unfinished.isdisjoint(piece.earlier())]
        for piece in ready[: jobs - len(running)]:
            waiting.remove(piece)
            try:
                running[submit(piece)] = piece
            except BrokenExecutor as error:  # a process was killed, and its pool takes no more
                failed[piece] = _in_one_line(error)
        if not running:  # done, or what is left goes on from what failed or from what the time was too short for
            break
        for future in wait(running, return_when=FIRST_COMPLETED).done:
            piece, error = running.pop(future), future.exception()
            if error is not None:
                failed[piece] = _in_one_line(error)
                log.error("%s failed", piece.name, exc_info=None if isinstance(error, UserError) else error)
            elif future.result():
                unfinished.discard((piece.training, piece.seed))
            outcome = failed.get(piece) or ("done" if future.result() else "stopped, the time is over")
            say(f"{(time.monotonic() - began) / 60:6.1f} min: {piece.name}: {outcome}")
    lost = {(piece.training, piece.seed) for piece in failed}
    orphans = [piece for piece in waiting if not lost.isdisjoint(piece.earlier())]
    return failed | dict.fromkeys(orphans, "not begun: the training it goes on from failed")


def _in_one_line(error: BaseException) -> str:
    return f"{'' if isinstance(error, UserError) else type(error).__name__ + ': '}{str(error).splitlines()[0] if str(error) else 'no message'}"


def write_table(name: str, table: Table, results: Results, seeds: Sequence[int]) -> Path:
    """The table and its figure from whatever results there are, of these seeds and of others."""
    seeds = seeds_told(table, results, seeds)
    markdown = results.out / f"{name}.md"
    with written_aside(results.out / f"{name}.svg") as aside:
        aside.write_text(table_figure(table, results, seeds), encoding="utf-8")
    with written_aside(markdown) as aside:
        aside.write_text(table_markdown(name, table, results, seeds), encoding="utf-8")
    return markdown
