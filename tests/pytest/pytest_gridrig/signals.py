"""Names of signals as a scenario writes them, and where the daemon has them.

Positive is power into the AC bus. Not responsible for giving or measuring anything (see `bench`).
"""

from pytest_gridrig import quantity

# The point that is measured, by quantity of a device.
MEASURED = {
    "p": "ac.p",
    "q": "ac.q",
    "f": "ac.f",
    "v": "ac.v.l1",
    "soc": "bat.soc",
    "on": "switch.on",
    "closed": "switch.on",
}
# The same for the utility: what the meter of the coupling breaker sees, or, where there is none, the grid simulator.
OF_UTILITY = {
    "breaker": {"f": "grid.f", "v": "grid.v"},
    "source": {"f": "ac.f", "v": "ac.v.l1"},
}
SWITCH = {"on": True, "closed": True, "off": False, "open": False, True: True, False: False}


class Unknown(ValueError):
    """The bench has no such signal, or it cannot be set there."""


def split(signal):
    device, dot, what = signal.partition(".")
    if not (device and dot and what):
        raise Unknown(f'{signal!r} is no signal; write a device and a quantity, such as "ess1.p" or "grid.f"')
    return device, what


def role_of(roles, name):
    if name not in roles:
        raise Unknown(f"the rig has no device called {name!r}; it has {', '.join(roles)}")
    return roles[name]


def _only(roles, role):
    return next((name for name, of in roles.items() if of == role), None)


def measured(roles, signal):
    """Device and point of a signal; `roles` has the role of each device."""
    device, what = split(signal)
    if device == "grid":
        for role, points in OF_UTILITY.items():
            device = _only(roles, role)
            if device is not None and what in points:
                return device, points[what]
        raise Unknown(f"{signal!r} is not measured here: a breaker or a source sees `grid.f` and `grid.v` of the utility")
    role_of(roles, device)
    # Whatever is no quantity is the name of a point, such as `dc.v`.
    return device, MEASURED.get(what, what)


def setpoint(roles, signal, value):
    """Device and setpoint that ask for a value of a signal."""
    device, what = split(signal)
    if device == "grid":
        device = _only(roles, "source")
        if device is None:
            raise Unknown(f"{signal!r} is set by a grid simulator (role `source`), and this rig has none")
    role = role_of(roles, device)
    if what in ("on", "closed"):
        if value not in SWITCH:
            raise ValueError(f'{value!r} is no position; write "on", "off", "closed" or "open"')
        return device, {"on": SWITCH[value]}
    if role == "source" and what in ("f", "v"):
        units = quantity.FREQUENCY if what == "f" else quantity.VOLTAGE
        return device, {"f_hz" if what == "f" else "v_v": quantity.number(value, units)}
    if what == "p":
        watts = quantity.number(value, quantity.POWER)
        return device, {"ceiling_w": watts} if role == "pv" else {"p_w": watts}
    raise Unknown(f"{signal!r} cannot be set: `p` of storages and inverters, `on` of switches, `f` and `v` of a source")
