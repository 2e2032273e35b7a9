"""A bench that one test has to itself: what it may ask for, when, and what was measured.

Every command is limited by the daemon like any other; what is measured is the daemon's own record.
"""

import time

from pytest_gridrig import quantity, signals
from pytest_gridrig.daemon import Refused
from pytest_gridrig.trace import BEFORE_S, Inconclusive, Trace

# How long the daemon may take to show what was asked, beyond the time that passes anyway, in seconds. Chosen:
# 10 s; its record is written once a second, and the safe end has deadlines of its own.
PATIENCE_S = 10.0
# Between two looks, in seconds. Chosen: a control cycle.
LOOK_AGAIN_S = 0.1
# Roles that a person can hold.
HELD = ("ess", "pv", "load", "breaker", "source", "genset")


class NotReady(Exception):
    """The bench cannot be used: it says why."""


class Moment:
    """A moment of the daemon's clock at which something is done; each method waits for it and says when it was."""

    def __init__(self, rig, at, away_s):
        self._rig, self._at, self._away_s = rig, at, away_s

    def step(self, signal, value):
        """Asks for a value of a signal ("ess1.p", "grid.f"); returns when that was, in seconds since the run began."""
        return self._rig._hold(signal, value, self._at, self._away_s)

    def release(self, device):
        """Lets a device go again."""
        return self._rig._wish("release", {"device": device}, self._at, self._away_s)

    def mode(self, mode):
        """Asks for a mode: "island", "disconnect", "reconnect", "black_start", "safe" or "resume"."""
        return self._rig._wish("mode", {"mode": mode}, self._at, self._away_s)


class Recording:
    """What is recorded of some signals from a second before it began; they are there when it is over."""

    def __init__(self, rig, names, tail_s):
        self._rig, self._tail_s = rig, tail_s
        self._places = {name: signals.measured(rig.roles, name) for name in names}
        self._traces = None

    def __enter__(self):
        self._from_s = self._rig.now() - BEFORE_S
        return self

    def __exit__(self, kind, *_):
        if kind is None:
            self._traces = self._rig._record(self._places, self._from_s, self._rig.now() + self._tail_s)

    def __getitem__(self, name):
        if self._traces is None:
            raise Inconclusive("the record is read when its `with` is over")
        return self._traces[name]


class Rig:
    """The bench. Made by the fixture `rig`."""

    def __init__(self, daemon, lease, tell=None):
        self._daemon, self._lease, self._tell = daemon, lease, tell
        self._held = set()
        devices = daemon.read("/api/v1/devices")
        self.roles = {device["name"]: device["role"] for device in devices}

    def state(self):
        """The whole state as `GET /api/v1/state` tells it."""
        self._lease.check()
        return self._daemon.read("/api/v1/state")

    def now(self):
        """The time by the daemon's clock, in seconds since its run began, to a control cycle."""
        cycle = self.state()["cycle"]
        if cycle is None:
            raise NotReady("the daemon has not begun its first cycle")
        return cycle["t_s"]

    def at(self, moment):
        """A moment: "+1.5s" from now, or seconds since the run began (a moment that was returned, plus some)."""
        if isinstance(moment, str) and moment.strip().startswith("+"):
            away_s = quantity.number(moment.strip()[1:], quantity.TIME)
            return Moment(self, f"+{away_s:.9f}", away_s)
        at_s = quantity.number(moment, quantity.TIME)
        return Moment(self, f"{at_s:.9f}", max(0.0, at_s - self.now()))

    def step(self, signal, value):
        """Asks for a value of a signal now; as `at("+0s").step(..)`."""
        return self._hold(signal, value, None, 0.0)

    def release(self, device):
        """Lets a device go again, now."""
        return self._wish("release", {"device": device}, None, 0.0)

    def mode(self, mode):
        """Asks for a mode, now."""
        return self._wish("mode", {"mode": mode}, None, 0.0)

    def safe(self):
        """Brings every device to its safe state."""
        self._daemon.command("/api/v1/safe")

    def record(self, *names, tail="2s"):
        """Records signals while the block runs, and for `tail` by the daemon's clock behind it."""
        if not names:
            raise ValueError("nothing is recorded; name signals, such as \"ess1.p\"")
        return Recording(self, names, quantity.number(tail, quantity.TIME))

    def wait(self, what, holds, within="10s"):
        """Waits until `holds(state)` is true of the state; `what` is told when it never was."""
        end = time.monotonic() + quantity.number(within, quantity.TIME)
        while True:
            state = self.state()
            if holds(state):
                return state
            if time.monotonic() > end:
                raise AssertionError(f"never came true within {within}: {what}")
            time.sleep(LOOK_AGAIN_S)

    # What the fixture does around a test.

    def begin(self):
        """Lets go of whatever somebody left held, and arms."""
        arming = self._daemon.read("/api/v1/arming")
        if arming["blocked"]:
            raise NotReady(f"the bench cannot be armed: {arming['blocked']}")
        mode = (self.state()["cycle"] or {}).get("mode")
        if mode == "safe":
            raise NotReady('the bench is in its safe mode; whoever brought it there says `resume`, then it can be used')
        for name, role in self.roles.items():
            if role in HELD:
                self._patiently("release", {"device": name})
        self._lease.arm()
        self.wait("the bench is armed", lambda state: state["cycle"] and state["cycle"]["armed"], f"{PATIENCE_S}s")

    def end(self):
        """Lets go of what this test holds, gives the bench back, and waits until it is at rest and disarmed."""
        try:
            for device in sorted(self._held):
                self._patiently("release", {"device": device})
        finally:
            self._lease.drop()
        end = time.monotonic() + PATIENCE_S
        while self._daemon.read("/api/v1/state")["cycle"]["armed"]:
            if time.monotonic() > end:
                self.safe()
                raise NotReady(f"the bench was not at rest {PATIENCE_S:g} s after it was given back; it was asked to be safe")
            time.sleep(LOOK_AGAIN_S)

    def _hold(self, signal, value, at, away_s):
        device, wanted = signals.setpoint(self.roles, signal, value)
        self._held.add(device)
        return self._wish("hold", {"device": device, "setpoint": wanted}, at, away_s)

    def _wish(self, path, body, at, away_s):
        self._lease.check()
        return self._daemon.command(f"/api/v1/{path}", body, at, away_s)["t_s"]

    def _patiently(self, path, body):
        """The queue of commands is short; what is full now is empty a cycle later."""
        end = time.monotonic() + PATIENCE_S
        while True:
            try:
                return self._daemon.command(f"/api/v1/{path}", body)
            except Refused as no:
                if no.code != "busy" or time.monotonic() > end:
                    raise
                time.sleep(LOOK_AGAIN_S)

    def _record(self, places, from_s, to_s):
        self._written(places, to_s)
        traces = {}
        for name, (device, point) in places.items():
            found = self._daemon.read("/api/v1/history", device=device, point=point, from_s=max(from_s, 0.0), to_s=to_s)
            traces[name] = Trace(name, found["unit"], found["t_s"], found["value"], self._tell)
        return traces

    def _written(self, places, to_s):
        """Waits until the daemon has written its record up to a moment; a bench that stalls has none, which the
        holes in it tell.
        """
        device, point = next(iter(places.values()))
        end = None
        while True:
            self._lease.check()
            # A sample is written a moment after it is taken, and all of a second at once.
            found = self._daemon.read("/api/v1/history", device=device, point=point, from_s=to_s, to_s=to_s + 1.0)
            missing_s = to_s - found["recorded_to_s"]
            if missing_s < 0:
                return
            end = end or time.monotonic() + missing_s + PATIENCE_S
            if time.monotonic() > end:
                raise Inconclusive(f"the daemon's record does not go on: {missing_s:.1f} s of it are missing")
            time.sleep(min(max(missing_s, LOOK_AGAIN_S), 1.0))
