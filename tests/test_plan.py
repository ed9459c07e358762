"""Plans are arithmetic: against a twin that deals the sequences out one by one. And what is remembered of very many clips and shards."""

from collections import Counter
from dataclasses import replace
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from runs import small_config

from seqgen.dataset.shards import ShardRecord, shard_name
from seqgen.dataset.tally import ShardTable
from seqgen.errors import UserError
from seqgen.pipeline.config import GenerateConfig
from seqgen.pipeline.plan import Portion, ShardPlan, plan_shards, shard_of
from seqgen.pipeline.work import MAX_TRIES, Line
from seqgen.splits import SPLITS


def dealt_out(config: GenerateConfig) -> list[ShardPlan]:
    """The slow twin: every sequence in its split's list, lists cut into shards."""
    ids: dict[str, list[int]] = {split: [] for split in SPLITS}
    for index in range(config.sequences):
        ids[config.split_of(index)].append(index)
    size = max(config.camera.views, config.output.sequences_per_shard // config.camera.views * config.camera.views)
    cuts = [(split, number, ids[split][number * size : (number + 1) * size]) for split in SPLITS for number in range(-(-len(ids[split]) // size))]
    return [ShardPlan(shard_name(split, number), tuple(part)) for split, number, part in cuts]


counts = st.integers(0, 4)


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 30), st.integers(1, 3), st.integers(1, 9), st.tuples(counts, counts, counts).filter(any))
def test_plans_are_those_of_dealing_out(motions: int, views: int, per_shard: int, split: tuple[int, int, int]) -> None:
    shares = dict(zip(SPLITS, split, strict=True))
    config = small_config(sequences=motions * views, camera={"views": views}, split=shares, output={"sequences_per_shard": per_shard})
    plans, twin = plan_shards(config), dealt_out(config)
    assert list(plans) == [plans[place] for place in range(len(plans))] == twin
    assert plans.sequences == config.sequences and [plans.place(plan.name) for plan in twin] == list(range(len(twin)))
    assert [plan for name in SPLITS for plan in plans.of_split(name)] == twin
    assert {index: shard_of(index, config) for index in range(config.sequences)} == {index: plan.name for plan in twin for index in plan.ids}
    for place, of in product(range(3), (3,)):
        part = Portion(place, of).among(plans)
        assert list(part) == twin[place::of] and part.sequences == sum(len(plan.ids) for plan in twin[place::of])
        assert [part.place(plan.name) for plan in twin] == [number // of if number % of == place else None for number in range(len(twin))]
        assert [part.ids(plan.name) for plan in part] == [plan.ids for plan in part]


def test_a_hundred_million_sequences_are_planned_at_once() -> None:
    plans = plan_shards(GenerateConfig(sequences=10**8))
    assert len(plans) == 10**6 and plans.sequences == 10**8
    last = plans[-1]  # 100 of the 10 in every block of 100, so ten blocks
    assert last == ShardPlan("test-099999.tar", tuple(100 * block + 90 + place for block in range(10**6 - 10, 10**6) for place in range(10)))
    assert shard_of(10**8 - 1, GenerateConfig(sequences=10**8)) == last.name


STRANGE = f"train-{'9' * 5000}.tar"


@pytest.mark.parametrize("name", ["train-000002.tar", "train-0000001.tar", "train-1.tar", "1", "", "../train-000000.tar", "train-00000\u0661.tar", STRANGE, "val-000001"])
def test_names_of_no_shard_have_no_place(name: str) -> None:
    assert plan_shards(small_config()).place(name) is None


@pytest.mark.parametrize("name", ["4", "01", "9" * 5000, "\u0661", "-1", "train"])
def test_no_shard_is_named_so(name: str) -> None:
    with pytest.raises(UserError, match="no such shard"):
        Portion(shard=name).among(plan_shards(small_config()))


def test_one_shard_by_number_or_name() -> None:
    plans = plan_shards(small_config())
    for number, plan in enumerate(plans):
        assert all(list(Portion(shard=name).among(plans)) == [plan] for name in (str(number), plan.name, plan.name.removesuffix(".tar")))


# Waiting


def test_the_line_works_plans_out_when_it_is_their_turn() -> None:
    asked: list[int] = []

    def plans():
        for number in range(5):
            asked.append(number)
            yield ShardPlan(shard_name("train", number), (number,))

    line = Line(plans(), seed=0)
    assert asked == [0] and line.take().ids == (0,) and asked == [0, 1] and line.under_way == 1


def test_a_shard_that_fails_waits_behind_all_and_is_given_up_in_the_end() -> None:
    plans = [ShardPlan(shard_name("train", number), (number,)) for number in range(3)]
    line, order, given_up = Line(plans, seed=7), [], []
    while line.waits:
        plan = line.take()
        order.append(plan.ids[0])
        if plan.ids[0] == 1:
            given_up.append(line.failed(plan, f"try {order.count(1)}"))
        else:
            line.made(plan)
    assert order == [0, 1, 2] + [1] * (MAX_TRIES - 1) and given_up[:-1] == [None] * (MAX_TRIES - 1) and line.under_way == 0
    assert (given_up[-1].name, given_up[-1].ids, given_up[-1].seed, given_up[-1].tries, given_up[-1].traceback) == ("train-000001.tar", (1,), 7, MAX_TRIES, f"try {MAX_TRIES}")


# Remembering


def test_records_of_shards_come_back_as_they_were() -> None:
    records = [ShardRecord(shard_name(split, number), split, 1 + number, 2**40 + number, f"{number + 1:064x}") for split, number in product(SPLITS, (0, 999_999, 1_000_000))]
    records.append(replace(records[0], sha256="00" * 32))
    table = ShardTable(len(records))
    for place in reversed(range(len(records))):
        table.put(place, records[place])
    assert list(table) == records and len(table) == len(records) and Counter(map(type, table)) == {ShardRecord: len(records)}
    with pytest.raises(ValueError, match="is no shard of the split"):
        table.put(0, replace(records[0], name="val-000000.tar"))
