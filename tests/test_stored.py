"""Banks kept in the cache: the same as built, mapped by whoever opens them, known by what they come from."""

import pickle
from dataclasses import fields, replace

import numpy as np
import pytest
from banks import built_in_hands

from seqgen.errors import UserError
from seqgen.files import mapped_file
from seqgen.hand import load_hand
from seqgen.pipeline.assets import Assets, KeptPoses, PoseSource
from seqgen.poses import load_bank, load_bank_of, load_built_in_bank
from seqgen.poses.bank import PosesConfig, split_rows
from seqgen.poses.graph import NeighbourGraph, load_graph
from seqgen.poses.stored import open_bank
from seqgen.splits import SPLITS, SplitConfig

ROWS = 1500


@pytest.fixture
def own_folder(tmp_path, monkeypatch):
    """A cache that nobody has used."""
    monkeypatch.setenv("SEQGEN_CACHE", str(tmp_path / "cache"))
    return tmp_path


def write(path, joints_m, **others):
    np.savez(path, joints_m=joints_m, **others)
    return PosesConfig(bank=str(path), format="npz")


def same(one, other):
    """Whether two banks agree in every bit, whatever their name."""
    plain = all(getattr(one, name) == getattr(other, name) for name in ("licence", "copies_allowed", "digest"))
    arrays = [(bank.joints_m, bank.source_row, bank.subject, bank.frame.wrist, bank.frame.axes, bank.frame.palm) for bank in (one, other)]
    return plain and all(np.array_equal(a, b) and a.dtype == b.dtype for a, b in zip(*arrays, strict=True))


def test_a_kept_bank_is_the_built_one_and_its_parts_are_the_splits(own_folder):
    annotations = built_in_hands(ROWS)
    config, split = write(own_folder / "hands.npz", annotations.joints_m, subject=annotations.subject, licence="CC0-1.0"), SplitConfig()
    built, said = load_bank(config.bank, "npz"), []
    for _ in range(2):  # made, then found
        bank, parts = load_bank_of(config, split, said.append)
        assert same(bank, built) and bank.name == built.name
        assert list(parts) == list(SPLITS)
        for name, rows in split_rows(built, split).items():
            assert same(parts[name], built.subset(rows)) and parts[name].name == built.name
    assert len(said) == 2 and said[0] == said[1] and said[0].startswith(f"{config.bank}: {len(annotations.joints_m)} poses")
    assert mapped_file(bank.joints_m) is not None and not bank.joints_m.flags.writeable


def test_one_split_alone_is_the_bank_itself(own_folder):
    bank, parts = load_bank_of(PosesConfig(rows=ROWS), SplitConfig(train=1, val=0, test=0), print)
    assert list(parts) == ["train"] and parts["train"] is bank


def test_another_content_side_or_split_is_another_bank(own_folder):
    annotations = built_in_hands(ROWS)
    one = write(own_folder / "one.npz", annotations.joints_m, subject=annotations.subject)
    other = write(own_folder / "two.npz", annotations.joints_m, subject=np.arange(len(annotations.joints_m)) % 7)  # the same joints, so the same digest
    (bank, parts), (regrouped, others) = (load_bank_of(config, SplitConfig(), print) for config in (one, other))
    assert bank.digest == regrouped.digest and not np.array_equal(bank.subject, regrouped.subject)
    assert not np.array_equal(parts["val"].source_row, others["val"].source_row)
    assert load_bank_of(one, SplitConfig(train=1, val=1, test=0), print)[1].keys() == {"train", "val"}
    overwritten = write(own_folder / "one.npz", annotations.joints_m[::-1])
    assert load_bank_of(overwritten, SplitConfig(), print)[0].digest != bank.digest


def test_a_file_that_is_no_annotation_is_refused_each_time(own_folder):
    path = own_folder / "hands.npz"
    np.savez(path, other=np.zeros(3))
    for _ in range(2):
        with pytest.raises(UserError, match="joints_m"):
            load_bank_of(PosesConfig(bank=str(path), format="npz"), SplitConfig(), print)


def assets_of(poses) -> Assets:
    """Assets of which only the poses are looked at."""
    return Assets(poses, load_hand("open"), {}, {}, {}, [], True, None, {}, {})


def test_other_processes_of_the_machine_are_told_the_place_alone(own_folder):
    bank = load_built_in_bank(ROWS)
    source = PoseSource(bank, load_graph(bank, own_folder / "cache", where="bank"))
    kept = assets_of({"train": source}).kept()
    assert len(pickle.dumps(kept.poses)) < 1000 < bank.joints_m.nbytes
    opened = pickle.loads(pickle.dumps(kept)).opened().poses["train"]
    assert same(opened.bank, bank) and opened.bank.name == bank.name
    assert all(np.array_equal(getattr(opened.graph, field.name), getattr(source.graph, field.name)) for field in fields(NeighbourGraph))
    assert mapped_file(opened.bank.joints_m) == mapped_file(bank.joints_m)


def test_poses_in_memory_are_sent_as_they_are(own_folder):
    bank = load_built_in_bank(ROWS)
    graph = load_graph(bank, own_folder / "cache", where="bank")
    here = PoseSource(replace(bank, joints_m=np.array(bank.joints_m)), graph)
    assert here.kept() is here
    assert mapped_file(bank.joints_m[10:]) is None  # of a part, the file would say something else


def test_a_place_that_has_gone_is_named(own_folder):
    with pytest.raises(UserError, match=r"gone.*removed"):
        open_bank(own_folder / "gone")
    with pytest.raises(UserError, match=r"gone.*removed"):
        KeptPoses(own_folder / "gone", own_folder / "gone", "bank").opened()
