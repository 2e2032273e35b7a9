"""What can be said of a record, and what cannot."""

import pytest

from pytest_gridrig import Inconclusive, Measured, Trace


def course(*points, unit="W", name="ess1.p"):
    return Trace(name, unit, [t for t, _ in points], [v for _, v in points])


def step(at=10.0, over=1.0, to=1000.0, period=0.1, end=20.0):
    """Nothing until `at`, then a straight line to `to` in `over`, then `to`."""
    points = []
    for n in range(int(end / period) + 1):
        t = n * period
        points.append((t, to * min(max((t - at) / over, 0.0), 1.0)))
    return course(*points)


def test_t90_is_the_first_of_two_readings_in_a_row_that_cover_nine_tenths():
    trace = step()
    found = trace.t90(since=10.0)
    assert (round(found.low, 6), round(found.high, 6)) == (0.8, 0.9)
    assert found < 1.0
    assert not found > 1.0


def test_a_single_reading_above_is_noise():
    trace = course((9.5, 0), (10.1, 0), (10.2, 1000), (10.3, 0), (11.0, 950), (11.5, 1000), (15, 1000), (16, 1000))
    assert trace.t90(since=10.0).high == pytest.approx(1.0)


def test_a_step_downwards_is_a_step():
    trace = course(*[(t / 10, 500 if t <= 100 else -500) for t in range(60, 200)])
    assert trace.t90(since=10.0) <= 0.2


def test_begin_and_end_of_a_step_are_measured_as_its_ninety_percent_are():
    trace = step()
    assert trace.t_start(since=10.0).high == pytest.approx(0.1)
    assert trace.t_full(since=10.0).high == pytest.approx(1.0)


def test_a_step_that_is_not_reached_took_longer_than_the_record():
    trace = step(to=500.0)
    found = trace.t90(since=10.0, to=1000.0)
    assert found.low == pytest.approx(10.0)
    assert not found < 1.0
    assert "not reached" in repr(found)


def test_a_limit_between_two_readings_is_neither_kept_nor_missed():
    found = Measured(0.8, 1.2, "s", "90 %")
    for ask in (
        lambda: found < 1.0,
        lambda: found <= 1.0,
        lambda: found > 1.0,
        lambda: found >= 1.0,
    ):
        with pytest.raises(Inconclusive, match="too coarse"):
            ask()
    assert found < 1.3 and found > 0.7 and found <= 1.2 and found >= 0.8
    assert float(found) == pytest.approx(1.0)


@pytest.mark.parametrize(
    "trace, why",
    [
        (course(), "second before"),
        (course((8.0, 0.0), (10.1, 1.0)), "second before"),
        (course((9.5, 0.0)), "after the step"),
        (course((9.5, 1000.0), (9.8, 1000.0), (10.1, 1000.0), (11, 1000.0)), "no step"),
        (course((9.9, 0), (10.1, 0), (13.0, 1000), (13.1, 1000), (20, 1000)), "hole"),
    ],
)
def test_what_the_record_does_not_tell_is_inconclusive(trace, why):
    with pytest.raises(Inconclusive, match=why):
        trace.t90(since=10.0, max_gap=2.0)


def test_a_bad_reading_is_no_reading_and_never_zero():
    trace = Trace("ess1.p", "W", [1.0, 2.0, 3.0], [100.0, None, 100.0])
    assert trace.values == [100.0, 100.0]
    assert trace.low(since=1.0, until=3.0) == 100.0


def test_a_band_is_kept_only_without_holes_and_left_also_with_them():
    trace = course((1.0, 5.0), (2.0, 5.0), (9.0, 5.0), (10.0, 50.0))
    assert trace.stays(0, 10, since=1.0, until=2.0)
    with pytest.raises(Inconclusive, match="hole"):
        trace.stays(0, 10, since=1.0, until=9.0)
    assert not trace.stays(0, 10, since=1.0, until=10.0)


def test_a_window_that_ends_behind_the_record_is_a_hole():
    trace = course((1.0, 5.0), (2.0, 5.0))
    assert trace.high(since=1.0) == 5.0
    for ask in (trace.high, trace.low):
        with pytest.raises(Inconclusive, match="hole"):
            ask(since=1.0, until=60.0)


def test_what_was_found_is_told_to_whoever_listens():
    told = []
    trace = Trace("ess1.p", "W", [9.5, 10.1, 10.2, 15, 16], [0, 1000, 1000, 1000, 1000], lambda *what: told.append(what))
    trace.t90(since=10.0, max_gap=10)
    assert told[0][0] == "t90 of ess1.p"
    assert "from 0 to 1000 W" in told[0][1]
