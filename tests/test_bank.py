"""The pose bank: normalised, without twins, with the way back; and splits that keep poses apart."""

from dataclasses import replace

import numpy as np
import pytest
from banks import annotate, bank_of, before_camera, built_in_bank, built_in_hands, curling_hands, random_curls
from scipy.spatial.distance import cdist

from seqgen.errors import UserError
from seqgen.files import arrays_digest
from seqgen.poses.bank import DUPLICATE_M, SPLIT_GAP_M, build_bank, distinct_rows, split_rows
from seqgen.skeleton import PALM_M, hand_frame
from seqgen.splits import SPLITS, SplitConfig


def cells(joints_m):
    return [tuple(np.round(row.ravel() / DUPLICATE_M).astype(int)) for row in joints_m]


@pytest.fixture(scope="module")
def seen():
    """Annotations before a camera, every tenth a twin of the one before: a camera that moved and a hand that did not."""
    joints = built_in_hands(600).joints_m.copy()
    joints[10::10] = joints[9:-1:10]
    return before_camera(joints)


def test_rows_are_normalised_and_rounded_to_a_micrometre():
    bank = build_bank(annotate(before_camera(random_curls(50))))
    np.testing.assert_allclose(bank.joints_m[:, 0], 0, atol=1e-7)
    np.testing.assert_allclose(bank.joints_m[:, 9], np.tile([0, PALM_M, 0], (len(bank), 1)), atol=1e-6)
    micrometres = bank.joints_m.astype(float) * 1e6
    np.testing.assert_allclose(micrometres, np.round(micrometres), atol=0.02)  # float32 near 0.2 m: 0.015 micrometres


def test_duplicates_are_those_of_a_brute_force_search(seen):
    frame = hand_frame(seen)
    keys = cells((np.round(frame.normalise(seen) * 1e6) / 1e6).astype(np.float32))
    first_of_each = [row for row, key in enumerate(keys) if key not in keys[:row]]
    bank = build_bank(annotate(seen))
    assert bank.source_row.tolist() == first_of_each
    assert len(bank) < len(seen) - 50


@pytest.mark.parametrize("num_copies", [1, 2, 5])
def test_distinct_rows_keep_the_first_of_each(num_copies):
    rng = np.random.default_rng(0)
    rows = built_in_bank().joints_m[:200]
    order = rng.permutation(200 * num_copies)
    copies = np.tile(rows, (num_copies, 1, 1))[order]
    kept = distinct_rows(copies)
    assert (np.diff(kept) > 0).all() and sorted(order[kept] % 200) == list(range(200))
    assert all((order[:row] % 200 != order[row] % 200).all() for row in kept)


def test_every_row_goes_back_to_where_it_was_annotated(seen):
    bank = build_bank(annotate(seen))
    rows = np.arange(len(bank))
    off = np.linalg.norm(bank.in_source(rows) - seen[bank.source_row], axis=-1)
    assert off.max() < 2e-6
    np.testing.assert_array_equal(bank.in_source(rows[5:9]), bank.in_source(rows)[5:9])


def test_rows_without_a_hand_are_left_out_and_rows_keep_their_numbers():
    hands = before_camera(random_curls(30))
    gaps = {3: np.zeros((21, 3)), 17: np.full((21, 3), 0.4), 20: hands[20] * 1e-4, 25: np.linspace(0, 1, 21)[:, None] * [0, 0.2, 0]}
    for row, joints in gaps.items():
        hands[row] = joints
    bank = build_bank(annotate(hands))
    assert np.isfinite(bank.joints_m).all()
    assert bank.source_row.tolist() == [row for row in range(30) if row not in gaps]


def test_a_bank_cannot_be_written_to():
    bank = built_in_bank()
    for part in (bank, bank.subset(np.arange(20))):
        for array in (part.joints_m, part.source_row, part.subject, part.frame.wrist, part.frame.axes, part.frame.palm):
            with pytest.raises(ValueError, match="read-only"):
                array[0] = 0
    with pytest.raises(AttributeError):
        bank.name = "other"


def test_building_a_bank_changes_nothing():
    annotations = annotate(before_camera(random_curls(20)))
    before = annotations.joints_m.copy()
    build_bank(annotations)
    np.testing.assert_array_equal(annotations.joints_m, before)


def test_a_subset_is_the_rows_and_has_a_digest_of_its_own():
    bank, rows = built_in_bank(), np.array([5, 3, 800])
    part = bank.subset(rows)
    np.testing.assert_array_equal(part.joints_m, bank.joints_m[rows])
    np.testing.assert_array_equal(part.source_row, bank.source_row[rows])
    np.testing.assert_array_equal(part.in_source(np.arange(3)), bank.in_source(rows))
    assert part.digest == arrays_digest(bank.joints_m[rows]) != bank.digest
    assert bank.subset(np.arange(len(bank))).digest == bank.digest == build_bank(built_in_hands()).digest


def gap_between(joints_m, rows):
    """Least distance (root mean square over joints) between poses of different splits."""
    flat = {name: joints_m[chosen].reshape(len(chosen), -1).astype(float) for name, chosen in rows.items()}
    names = list(flat)
    return min(cdist(flat[a], flat[b]).min() / np.sqrt(21) for i, a in enumerate(names) for b in names[:i])


SPLIT_CONFIGS = [SplitConfig(), SplitConfig(train=1, val=1, test=1), SplitConfig(train=3, val=0, test=1)]


@pytest.mark.parametrize("split", SPLIT_CONFIGS, ids=["80/10/10", "1/1/1", "3/0/1"])
def test_with_subjects_unknown_splits_are_disjoint_and_keep_the_proportions(split):
    bank = replace(built_in_bank(), subject=np.full(len(built_in_bank()), -1, np.int32))
    rows = split_rows(bank, split)
    used = [name for name in SPLITS if split.counts()[name]]
    assert list(rows) == used
    everything = np.concatenate(list(rows.values()))
    assert len(np.unique(everything)) == len(everything) > 0.75 * len(bank)
    for name in used:
        assert len(rows[name]) / len(everything) == pytest.approx(split.counts()[name] / sum(split.counts().values()), abs=0.06)
    for again, name in zip(split_rows(bank, split).values(), used, strict=True):
        np.testing.assert_array_equal(again, rows[name])


@pytest.mark.parametrize("split", SPLIT_CONFIGS, ids=["80/10/10", "1/1/1", "3/0/1"])
def test_between_the_splits_of_a_dense_bank_there_is_a_gap(split):
    """Poses half a millimetre apart on a surface that every border cuts; found by brute force."""
    bank = bank_of(random_curls(1500))
    assert gap_between(bank.joints_m, {"all": np.arange(1400), "others": np.arange(1400, 1500)}) < SPLIT_GAP_M / 2
    rows = split_rows(bank, split)
    assert 2 * SPLIT_GAP_M - 1e-6 <= gap_between(bank.joints_m, rows) < 4 * SPLIT_GAP_M
    assert sum(map(len, rows.values())) > len(bank) / 2


@pytest.mark.parametrize("split", SPLIT_CONFIGS, ids=["80/10/10", "1/1/1", "3/0/1"])
def test_known_subjects_stay_whole(split):
    bank = built_in_bank()
    rows = split_rows(bank, split)
    subjects = [set(bank.subject[chosen].tolist()) for chosen in rows.values()]
    assert all(subjects) and sum(map(len, subjects)) == len(set.union(*subjects)) == 6
    np.testing.assert_array_equal(np.sort(np.concatenate(list(rows.values()))), np.arange(len(bank)))


def test_few_subjects_are_cut_by_pose_instead():
    bank = built_in_bank()
    few = replace(bank, subject=np.minimum(bank.subject, 3))
    rows = split_rows(few, SplitConfig())
    assert gap_between(bank.joints_m, rows) >= 2 * SPLIT_GAP_M - 1e-6


@pytest.mark.parametrize("only", SPLITS)
def test_one_split_alone_has_all_rows(only):
    split = SplitConfig(**{name: int(name == only) for name in SPLITS})
    rows = split_rows(built_in_bank(), split)
    assert list(rows) == [only]
    np.testing.assert_array_equal(rows[only], np.arange(len(built_in_bank())))


@pytest.mark.parametrize("num_rows", [1, 2, 3, 5, 8])
def test_a_bank_too_small_to_split_is_refused(num_rows):
    """Rows a few tenths of a millimetre apart: no gap fits between them."""
    bank = bank_of(curling_hands(np.linspace(0.5, 0.5 + 0.005 * num_rows, num_rows), np.full(num_rows, 0.3)))
    assert len(bank) == num_rows
    with pytest.raises(UserError, match=f"test: {num_rows} distinct poses are too few to keep a (train|val|test) split apart"):
        split_rows(bank, SplitConfig())
