"""The time law against its closed form: speed is the smooth step 3 x^2 - 2 x^3 of the ease, its integral x^3 - x^4 / 2 the way."""

from itertools import pairwise

import numpy as np
import pytest

from seqgen.poses.timing import AT_REST, SHORTEST_S, Stretch, travel

STRETCHES = {
    "long": Stretch(0.1, 0.5, 0.3, 0.05, 0.2),  # eight seconds
    "not much longer than its eases": Stretch(-0.2, -0.155, 0.0, 0.1, 0.2),
    "eases that just meet": Stretch(0.0, 0.04, 0.1, 0.1, 0.2),
    "eased all along": Stretch(0.0, 0.08, 0.1, 0.1, 2.0),
    "too short for its speed": Stretch(1.0, 1.001, 0.5, 0.3, 0.2),
    "at once": Stretch(0.0, 0.3, 0.2, 0.1, 0.0),
    "at once, too short": Stretch(0.0, 1e-4, 0.0, 0.3, 0.0),
}


@pytest.fixture(params=STRETCHES)
def stretch(request):
    return STRETCHES[request.param]


@pytest.fixture(params=[name for name, stretch in STRETCHES.items() if stretch.ease_s])
def eased(request):
    return STRETCHES[request.param]


@pytest.fixture
def length_m(stretch):
    return stretch.end_m - stretch.begin_m


def moving_times(stretch, num=4001):
    return np.linspace(0.0, stretch.moving_s, num)


def smooth_step(x):
    x = np.clip(x, 0, 1)
    return 3 * x**2 - 2 * x**3


def test_it_begins_and_ends_where_it_should(stretch):
    np.testing.assert_allclose(stretch.position_m(np.array([-3.0, 0.0])), stretch.begin_m, atol=1e-15)
    np.testing.assert_allclose(stretch.position_m(stretch.moving_s + np.array([0.0, 1e-6, 50.0])), stretch.end_m, atol=1e-15)


def test_it_never_goes_back(stretch, length_m):
    steps = np.diff(stretch.position_m(moving_times(stretch)))
    assert steps.min() >= -1e-15 and steps[1:-1].min() > 0 and steps.sum() == pytest.approx(length_m)


def test_the_mean_speed_is_the_one_asked_for(stretch, length_m):
    """Or less, for a way that would take less than SHORTEST_S."""
    assert stretch.moving_s == pytest.approx(max(length_m / stretch.speed_m_s, SHORTEST_S), rel=1e-15)
    assert length_m / stretch.moving_s <= stretch.speed_m_s * (1 + 1e-12)
    assert stretch.total_s == pytest.approx(stretch.moving_s + stretch.rest_s)


def test_the_speed_is_the_smooth_step(eased):
    """Central differences of the way, against the closed form: off by h^2/6 of the third derivative, at most 12 w / e^2; where that jumps, by h/2 of it."""
    time, h = moving_times(eased)[1:-1], 1e-5
    speed = (eased.position_m(time + h) - eased.position_m(time - h)) / (2 * h)
    expected = eased.full_speed_m_s * smooth_step(np.minimum(time, eased.moving_s - time) / eased.ease)
    np.testing.assert_allclose(speed, expected, atol=eased.full_speed_m_s * (3 * h / eased.ease + 1e-6))


def test_the_speed_has_no_jumps(eased):
    """C1: over a short time the speed changes by no more than the steepest smooth step, 1.5 w / e, allows."""
    dt = eased.moving_s / 4000
    speed = np.diff(eased.position_m(np.arange(-200, 4200) * dt)) / dt
    assert np.abs(np.diff(speed)).max() <= 1.5 * eased.full_speed_m_s / eased.ease * dt * (1 + 1e-6)
    assert eased.ease == pytest.approx(min(eased.ease_s, eased.moving_s / 2))


@pytest.mark.parametrize("name", ["at once", "at once, too short"])
def test_without_an_ease_the_speed_is_constant(name):
    stretch = STRETCHES[name]
    expected = stretch.begin_m + (stretch.end_m - stretch.begin_m) * np.linspace(0, 1, 101)
    np.testing.assert_allclose(stretch.position_m(moving_times(stretch, 101)), expected, atol=1e-9)
    assert stretch.full_speed_m_s == pytest.approx((stretch.end_m - stretch.begin_m) / stretch.moving_s)


def test_the_second_half_is_the_mirror_of_the_first(stretch):
    time = moving_times(stretch)
    there, back = stretch.position_m(time) - stretch.begin_m, stretch.end_m - stretch.position_m(stretch.moving_s - time)
    np.testing.assert_allclose(there, back, atol=1e-14)


def test_full_speed_in_closed_form():
    """w = v / (1 - e v / l): 0.4 m at 0.05 m/s take 8 s, eases take a fortieth of it."""
    assert STRETCHES["long"].full_speed_m_s == pytest.approx(0.05 / (1 - 0.2 * 0.05 / 0.4))
    assert STRETCHES["long"].position_m(np.array([0.2]))[0] == pytest.approx(0.1 + STRETCHES["long"].full_speed_m_s * 0.1)  # half of the way of a glide
    assert STRETCHES["long"].position_m(np.array([0.1]))[0] == pytest.approx(0.1 + STRETCHES["long"].full_speed_m_s * 0.2 * (1 / 8 - 1 / 32))


@pytest.mark.parametrize("name", ["eases that just meet", "eased all along", "too short for its speed"])
def test_short_ways_are_eased_all_along(name):
    """e = l / 2v, w = 2v with v the mean speed of the way: twice as fast in the middle, half of the way in half of the time."""
    stretch = STRETCHES[name]
    mean = (stretch.end_m - stretch.begin_m) / stretch.moving_s
    assert stretch.ease == pytest.approx(stretch.moving_s / 2) and stretch.full_speed_m_s == pytest.approx(2 * mean)
    assert stretch.position_m(np.array([stretch.moving_s / 2]))[0] == pytest.approx((stretch.begin_m + stretch.end_m) / 2)


def test_no_stop_follows_another_sooner_than_the_shortest():
    hasty = STRETCHES["too short for its speed"]
    assert hasty.moving_s == SHORTEST_S and STRETCHES["at once, too short"].moving_s == SHORTEST_S
    assert Stretch(0.0, 1.001 * SHORTEST_S * 0.3, 0.0, 0.3, 0.2).moving_s > SHORTEST_S


def test_time_is_the_inverse_of_the_place(stretch, length_m):
    """By a table of the ease: off by 1.5 / (8 * 512^2) of the way that the ease would take at full speed."""
    places = stretch.begin_m + length_m * np.r_[0.0, 1e-9, np.linspace(1e-4, 1 - 1e-4, 301), 1.0]
    times = np.array([stretch.time_s(float(place)) for place in places])
    assert (np.diff(times) > 0).all() and 0 <= times[0] <= times[-1] <= stretch.moving_s * (1 + 1e-12)
    np.testing.assert_allclose(stretch.position_m(times), places, atol=1e-6 * stretch.full_speed_m_s * stretch.ease + 1e-12)


def test_places_out_of_the_stretch_are_its_ends_times(stretch):
    """Rounding may put a place beside its stretch."""
    assert stretch.time_s(stretch.begin_m - 1e-12) == 0.0
    assert stretch.time_s(stretch.end_m + 1e-12) == stretch.moving_s


def test_the_same_way_in_other_units_of_length_and_time():
    """Twice the way at twice the speed takes the same time; at half the speed and with eases and rests twice as long, twice the time."""
    once, time = STRETCHES["long"], moving_times(STRETCHES["long"])
    larger, slower = Stretch(0.2, 1.0, 0.3, 0.1, 0.2), Stretch(0.1, 0.5, 0.6, 0.025, 0.4)
    np.testing.assert_allclose(larger.position_m(time), 2 * once.position_m(time), rtol=1e-12)
    np.testing.assert_allclose(slower.position_m(2 * time), once.position_m(time), rtol=1e-12)


def test_resting_is_being_slow(eased):
    """Slower than AT_REST of full speed, by differences of the way; and before and after it."""
    time, h = moving_times(eased)[1:-1], 1e-6
    share = (eased.position_m(time + h) - eased.position_m(time - h)) / (2 * h) / eased.full_speed_m_s
    resting = eased.resting(time)
    assert resting[share < AT_REST - 0.002].all() and not resting[share > AT_REST + 0.002].any() and resting.any()
    assert eased.resting(np.array([-1.0, 0.0, eased.moving_s, eased.moving_s + 9.0])).all()


JOURNEY = [
    Stretch(0.0, 0.05, 0.4, 0.1, 0.2),
    Stretch(0.05, 0.051, 0.0, 0.1, 0.2),  # hasty, and on without a rest
    Stretch(0.051, 0.4, 1.0, 0.1, 0.2),
    Stretch(0.4, 0.43, 0.0, 0.1, 0.2),
]
WHOLE_S = sum(stretch.total_s for stretch in JOURNEY)


def one_by_one(stretches, time_s):
    """The slow twin of `travel`: walk through the stretches until the one of the time."""
    for stretch in stretches[:-1]:
        if time_s < stretch.total_s:
            break
        time_s -= stretch.total_s
    else:
        stretch = stretches[-1]
    return stretch.position_m(np.array([time_s]))[0], stretch.resting(np.array([time_s]))[0]


@pytest.mark.parametrize("begun_s", [0.0, 0.31, 0.95, WHOLE_S - 0.1, WHOLE_S + 3])
def test_travel_goes_through_its_stretches(begun_s):
    times = np.arange(300) / 30.0
    position, resting = travel(JOURNEY, begun_s, times)
    expected = [one_by_one(JOURNEY, time) for time in times + begun_s]
    np.testing.assert_allclose(position, [place for place, _ in expected], atol=1e-12)
    assert (resting == [rests for _, rests in expected]).mean() > 0.99  # rounding may decide at AT_REST itself
    assert (np.diff(position) >= -1e-15).all()


def test_travel_is_continuous_and_so_is_its_speed():
    dt = 1e-4
    position, _ = travel(JOURNEY, 0.0, np.arange(-0.2, WHOLE_S + 0.5, dt))
    speed = np.diff(position) / dt
    full, steepest = max(stretch.full_speed_m_s for stretch in JOURNEY), max(1.5 * stretch.full_speed_m_s / stretch.ease for stretch in JOURNEY)
    assert speed.min() >= -1e-11 and speed.max() <= full * (1 + 1e-9)
    assert np.abs(np.diff(speed)).max() <= steepest * dt * (1 + 1e-6) + 1e-10


def test_travel_rests_between_its_stretches():
    begins = np.concatenate([[0.0], np.cumsum([stretch.total_s for stretch in JOURNEY])])
    for stretch, (begin, end) in zip(JOURNEY, pairwise(begins), strict=True):
        times = np.linspace(begin + stretch.moving_s, end, 20)[:-1] if stretch.rest_s else np.array([end - 1e-9])
        position, resting = travel(JOURNEY, 0.0, times)
        np.testing.assert_allclose(position, stretch.end_m, atol=1e-12)
        assert resting.all()
    assert not travel(JOURNEY, 0.0, begins[:-1] + [stretch.moving_s / 2 for stretch in JOURNEY])[1].any()


def test_after_the_last_stretch_it_stays():
    position, resting = travel(JOURNEY, 0.0, WHOLE_S + np.array([0.0, 0.1, 100.0]))
    np.testing.assert_allclose(position, 0.43, rtol=1e-12)
    assert resting.all()


def test_before_the_first_it_has_not_begun():
    position, resting = travel(JOURNEY, -1.0, np.array([0.0, 0.5, 0.999]))
    assert (position == 0.0).all() and resting.all()


@pytest.mark.parametrize("later_s", [0.1, 0.7, 2.5])
def test_beginning_earlier_is_looking_later(later_s):
    times = np.arange(60) / 30.0
    np.testing.assert_allclose(travel(JOURNEY, 0.2 + later_s, times)[0], travel(JOURNEY, 0.2, times + later_s)[0], atol=1e-12)


def test_travel_of_one_stretch_and_of_no_times():
    [stretch] = JOURNEY[:1]
    times = np.linspace(0, 1.5, 40)
    np.testing.assert_array_equal(travel([stretch], 0.0, times)[0], stretch.position_m(times))
    assert [array.shape for array in travel(JOURNEY, 0.0, np.empty(0))] == [(0,), (0,)]
