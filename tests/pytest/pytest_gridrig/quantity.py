"""Quantities with their units, as a scenario writes them: "1kW", "49.5Hz", "20%", "+1.5s".

Not responsible for what a quantity is set to (see `bench`).
"""

import re

# Factor to the unit of the API, by unit.
POWER = {"W": 1.0, "kW": 1e3, "MW": 1e6}
REACTIVE = {"var": 1.0, "kvar": 1e3, "Mvar": 1e6}
FREQUENCY = {"Hz": 1.0, "mHz": 1e-3}
VOLTAGE = {"V": 1.0, "kV": 1e3}
TIME = {"s": 1.0, "ms": 1e-3, "min": 60.0, "h": 3600.0}

_WRITTEN = re.compile(r"\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*([A-Za-z%]*)\s*")


def number(value, units):
    """The number of a quantity in the first of `units`; a bare number is in that unit already.

    >>> number("1.5kW", POWER), number(-20, POWER), number("150ms", TIME)
    (1500.0, -20.0, 0.15)
    """
    if isinstance(value, bool):
        raise ValueError(f"{value!r} is no quantity; write it like {_example(units)}")
    if isinstance(value, (int, float)):
        found = float(value)
    else:
        written = _WRITTEN.fullmatch(str(value))
        factor = units.get(written.group(2)) if written else None
        if factor is None:
            raise ValueError(f"{value!r} is not in {' or '.join(units)}; write it like {_example(units)}")
        found = float(written.group(1)) * factor
    if found != found or found in (float("inf"), float("-inf")):
        raise ValueError(f"{value!r} is no number that a device can be set to")
    return found


def _example(units):
    return f'"1{next(iter(units))}"'
