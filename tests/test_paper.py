"""The published flows: as printed, on real poses only and on a bank that stays as it is; as scripted, in closed form. And the exact search beneath."""

import numpy as np
import pytest
from banks import bank_of, built_in_bank, random_curls
from scipy.spatial.distance import cdist

from seqgen.errors import UserError
from seqgen.files import arrays_digest
from seqgen.poses.motion import num_distinct, way_covered
from seqgen.poses.paper import PaperLaw, draw_ends, draw_paper_flow, snapped_rows, update_share
from seqgen.poses.search import nearest_by_brute_force, pose_search


@pytest.fixture(scope="module", params=["built-in", "surface"])
def bank(request):
    return built_in_bank() if request.param == "built-in" else bank_of(random_curls(800))


def draw(bank, seed, law, *, frames=10, search=None):
    return draw_paper_flow(bank, law, frames=frames, fps=30.0, rng=np.random.default_rng(seed), search=search)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("alpha", "steps"), [(1.2, None), (4.0, None), (1.2, 30), (10.0, 10)])
def test_equations_5_to_7_one_by_one(bank, seed, alpha, steps):
    flow = draw(bank, seed, PaperLaw("paper", alpha, steps))
    rows = bank.joints_m.reshape(len(bank), -1).astype(float)
    current = rows[flow.start]  # Eq. 5
    for frame in range(10):
        np.testing.assert_array_equal(flow.joints_m[frame].ravel(), current)
        updated = current - alpha / (steps or 10) * (current - rows[flow.end])  # Eq. 6
        current = rows[np.linalg.norm(updated - rows, axis=1).argmin()]  # Eq. 7
    assert (flow.kind, flow.fps, flow.start != flow.end) == ("paper", 30.0, True)


def test_every_frame_is_a_row_of_a_bank_nobody_writes_to(bank):
    before = arrays_digest(bank.joints_m)
    for seed in range(10):
        flow = draw(bank, seed, PaperLaw("paper", 4.0))
        np.testing.assert_array_equal(flow.joints_m, bank.joints_m[flow.source])
        assert flow.source[0] == flow.start
    assert arrays_digest(bank.joints_m) == before and not bank.joints_m.flags.writeable


def test_as_printed_it_freezes_where_steps_are_short_against_the_spacing(bank):
    """DESIGN.md 6.1: 79 % of steps (n = 10) and 97 % (n = 30) stay where they are on 105,459 real poses."""
    short = [draw(bank, seed, PaperLaw("paper", 1.2, 100), frames=100) for seed in range(20)]
    assert np.mean([num_distinct(flow.joints_m) for flow in short]) < 2
    assert np.mean([way_covered(flow.joints_m, bank.joints_m[flow.start].astype(float), bank.joints_m[flow.end].astype(float)) for flow in short]) < 0.05


def test_with_alpha_equal_n_it_is_there_in_one_step(bank):
    for kind in ("paper", "paper-script"):
        flow = draw(bank, 0, PaperLaw(kind, 10.0))
        np.testing.assert_allclose(flow.joints_m[1:], np.broadcast_to(bank.joints_m[flow.end], (9, 21, 3)), atol=1e-7)


@pytest.mark.parametrize("frames", [10, 50])
def test_the_script_interpolates_exponentially(bank, frames):
    flow = draw(bank, 3, PaperLaw("paper-script"), frames=frames)
    first, last = bank.joints_m[flow.start].astype(float), bank.joints_m[flow.end].astype(float)
    current = first.copy()
    for frame in range(frames):
        np.testing.assert_allclose(flow.joints_m[frame], current, atol=1e-12)
        current -= 1.2 / frames * (current - last)
    assert way_covered(flow.joints_m, first, last) == pytest.approx(1 - (1 - 1.2 / frames) ** (frames - 1))
    assert flow.kind == "paper-script" and set(flow.source) == {flow.start, flow.end}


def test_the_script_never_arrives():
    """specs/data_generation.md 3.3: 31.6 % of the way is left after 10 frames, 30.4 % after 50."""
    assert [round(100 * (1 - 1.2 / n) ** (n - 1), 1) for n in (10, 50)] == [31.6, 30.4]


def test_steps_set_the_update_and_frames_the_length(bank):
    long, short = (draw(bank, 2, PaperLaw("paper-script", 1.2, 30), frames=frames) for frames in (30, 10))
    np.testing.assert_array_equal(long.joints_m[:10], short.joints_m)


@pytest.mark.parametrize("kind", ["paper", "paper-script"])
def test_a_flow_is_a_pure_function_of_the_rng(bank, kind):
    first, again, other = (draw(bank, seed, PaperLaw(kind, 4.0)) for seed in (5, 5, 6))
    np.testing.assert_array_equal(first.joints_m, again.joints_m)
    np.testing.assert_array_equal(first.source, again.source)
    assert (first.start, first.end) != (other.start, other.end)
    assert draw(bank, 5, PaperLaw(kind, 1.0), frames=1).joints_m.shape == (1, 21, 3)


def test_both_ends_are_uniform_and_different():
    bank = bank_of(random_curls(5))
    rng, counts = np.random.default_rng(0), np.zeros((5, 5))
    for _ in range(4000):
        counts[draw_ends(bank, rng)] += 1
    assert np.trace(counts) == 0 and counts[~np.eye(5, dtype=bool)].min() > 150


@pytest.mark.parametrize(("alpha", "steps"), [(0.0, 10), (-1.2, 10), (10.1, 10), (1.2, 1), (float("nan"), 10)])
def test_an_alpha_that_does_not_fit_is_one_line(bank, alpha, steps):
    with pytest.raises(UserError, match=r"^flow\.alpha: .* with n = \d+ steps; expected 0 < alpha <= n") as error:
        draw(bank, 0, PaperLaw("paper", alpha, steps))
    assert "\n" not in str(error.value)
    assert update_share(1.2, 10, where="flow") == pytest.approx(0.12)


def test_a_bank_of_one_pose_is_refused_in_one_line():
    with pytest.raises(UserError, match="test: holds a single distinct pose"):
        draw(bank_of(np.repeat(random_curls(1), 5, axis=0)), 0, PaperLaw())


def test_with_a_search_the_flow_is_the_same(bank):
    search = pose_search(bank.joints_m)
    for seed in range(20):
        start, end = draw_ends(bank, np.random.default_rng(seed))
        for update in (0.04, 0.4):
            np.testing.assert_array_equal(snapped_rows(bank, start, end, update, 10, search), snapped_rows(bank, start, end, update, 10))


@pytest.mark.parametrize("spread_m", [0.0, 1e-4, 0.003, 0.05])
def test_the_search_equals_brute_force(bank, spread_m):
    """At rows, near them, and where nothing is near."""
    rng = np.random.default_rng(1)
    queries = bank.joints_m[rng.integers(len(bank), size=60)] + rng.normal(0, spread_m, (60, 21, 3))
    rows, distances = pose_search(bank.joints_m).nearest(queries)
    apart = cdist(queries.reshape(60, -1), bank.joints_m.reshape(len(bank), -1).astype(float))
    np.testing.assert_array_equal(rows, apart.argmin(1))
    np.testing.assert_allclose(distances, apart.min(1) / np.sqrt(21), atol=1e-12)
    assert [nearest_by_brute_force(bank.joints_m, query) for query in queries] == list(zip(rows.tolist(), distances.tolist(), strict=True))


@pytest.mark.parametrize("num_rows", [1, 2, 15, 16, 17, 40])
def test_the_search_of_a_few_rows(num_rows):
    poses, queries = random_curls(num_rows), random_curls(30, seed=1)
    rows, _ = pose_search(poses).nearest(queries)
    np.testing.assert_array_equal(rows, cdist(queries.reshape(30, -1), poses.reshape(num_rows, -1)).argmin(1))


def test_of_equal_rows_the_first_is_found():
    poses = np.tile(random_curls(3), (30, 1, 1))
    assert pose_search(poses).nearest(poses[60:63])[0].tolist() == [0, 1, 2]
