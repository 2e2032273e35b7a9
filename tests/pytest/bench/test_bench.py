"""On a running bench with a storage, a plug and a breaker, such as `gridrig run rigs/virtual/lab.toml --on sim`.

Without one all of them are skipped. `tests/run` gives them one.
"""

import os

import pytest


def test_a_step_is_answered_and_held(rig):
    with rig.record("ess1.p", "grid.f", tail="4s") as record:
        asked = rig.at("+1.2s").step("ess1.p", "1kW")
    power = record["ess1.p"]
    assert power.t90(since=asked, to=1000) < 2.0
    assert power.stays(900, 1100, since=asked + 2.0)
    assert record["grid.f"].low(since=asked) > 49.0


def test_moments_are_those_of_the_daemon(rig):
    first = rig.step("ess1.p", "500W")
    later = rig.at(first + 0.5).step("ess1.p", "-500W")
    assert first + 0.5 <= later < first + 1.5
    with pytest.raises(Exception, match="bad_moment"):
        rig.at(first).step("ess1.p", 0)


def test_a_switch_is_switched_and_let_go(rig):
    rig.step("plug1.on", "off")
    rig.wait(
        "the plug is off",
        lambda state: any(d["name"] == "plug1" and d["switch_on"]["value"] is False for d in state["devices"]),
    )
    rig.release("plug1")


def test_a_bench_is_had_by_one_test_at_a_time(rig):
    state = rig.state()
    assert state["cycle"]["armed"]
    from pytest_gridrig import Daemon, Refused

    stranger = Daemon(rig._daemon.api, rig._daemon._token, "a stranger", os.environ.get("GRIDRIG_CA"))
    with pytest.raises(Refused, match="locked"):
        stranger.command("/api/v1/hold", {"device": "ess1", "setpoint": {"p_w": 1}})
