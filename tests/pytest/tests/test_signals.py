"""Names and quantities, as a scenario writes them."""

import pytest

from pytest_gridrig import quantity, signals

ROLES = {"ess1": "ess", "pv1": "pv", "plug1": "load", "brk1": "breaker", "grid1": "source"}


@pytest.mark.parametrize(
    "signal, value, device, wanted",
    [
        ("ess1.p", "1.5kW", "ess1", {"p_w": 1500.0}),
        ("ess1.p", -200, "ess1", {"p_w": -200.0}),
        ("pv1.p", "800W", "pv1", {"ceiling_w": 800.0}),
        ("plug1.on", "off", "plug1", {"on": False}),
        ("brk1.closed", "open", "brk1", {"on": False}),
        ("grid.f", "49.5Hz", "grid1", {"f_hz": 49.5}),
        ("grid1.v", 230, "grid1", {"v_v": 230.0}),
    ],
)
def test_a_signal_and_its_value_are_one_setpoint(signal, value, device, wanted):
    assert signals.setpoint(ROLES, signal, value) == (device, wanted)


@pytest.mark.parametrize(
    "signal, place",
    [
        ("ess1.p", ("ess1", "ac.p")),
        ("ess1.soc", ("ess1", "bat.soc")),
        ("plug1.on", ("plug1", "switch.on")),
        ("ess1.dc.v", ("ess1", "dc.v")),
        ("grid.f", ("brk1", "grid.f")),
    ],
)
def test_a_signal_is_measured_at_a_point_of_a_device(signal, place):
    assert signals.measured(ROLES, signal) == place


@pytest.mark.parametrize(
    "signal, value, why",
    [
        ("ess2.p", 1, "no device"),
        ("ess1", 1, "no signal"),
        ("ess1.soc", "50%", "cannot be set"),
        ("ess1.p", "1kV", "1W"),
        ("ess1.p", "much", "1W"),
        ("ess1.p", True, "1W"),
        ("ess1.p", float("nan"), "no number"),
        ("plug1.on", "perhaps", "no position"),
    ],
)
def test_what_cannot_be_set_is_told_before_anything_is_asked(signal, value, why):
    with pytest.raises(ValueError, match=why):
        signals.setpoint(ROLES, signal, value)


def test_without_a_breaker_the_source_sees_the_utility():
    assert signals.measured({"grid1": "source"}, "grid.f") == ("grid1", "ac.f")


def test_a_bench_without_a_source_or_breaker_says_so():
    with pytest.raises(ValueError, match="has none"):
        signals.setpoint({"ess1": "ess"}, "grid.f", 49.5)
    with pytest.raises(ValueError, match="not measured"):
        signals.measured({"ess1": "ess"}, "grid.f")


@pytest.mark.parametrize("text, seconds", [("150ms", 0.15), ("1.5s", 1.5), ("2min", 120.0), (3, 3.0)])
def test_times_have_units(text, seconds):
    assert quantity.number(text, quantity.TIME) == seconds
