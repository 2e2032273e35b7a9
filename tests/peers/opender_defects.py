"""What EPRI's OpenDER 2.2.0 is known to do wrong where nobody may copy it.

`opender_defects.py` drives it through the steps of each and prints one JSON line:
`{"absorbs": {"0": 0.0, "-1": -0.65}, "off_at_first": "TypeError", "passed_at_once": true, "low_frequency": [..],
"answered": 0.8997}`.
"""

import json
import logging
import sys

logging.disable(logging.CRITICAL)

from opender import DER, DER_BESS, DER_PV  # noqa: E402
from opender.auxiliary_funcs.low_pass_filter import LowPassFilter  # noqa: E402

# The nameplate of both: one per unit.
RATED = 100_000
DER.t_s = 0.05


def absorbs(least_pu):
    """Power of a storage that charges with half of its rating, a minute after the frequency has gone to 60.5 Hz."""
    der = DER_BESS()
    f = der.der_file
    f.NP_PHASE, f.NP_AC_V_NOM = "SINGLE", 240
    f.NP_VA_MAX = f.NP_P_MAX = f.NP_P_MAX_CHARGE = f.NP_APPARENT_POWER_CHARGE_MAX = RATED
    f.NP_P_MIN_PU, f.PF_MODE_ENABLE = least_pu, True
    for hertz in [60.0] * 20 + [60.5] * 1200:
        der.update_der_input(v_pu=1.0, f=hertz, p_dem_pu=-0.5)
        der.run()
    return der.p_out_pu


def off_at_first():
    """What becomes of a device whose file says that it is not in service when it begins."""
    file = DER_PV().der_file
    file.STATUS_INIT, file.NP_PHASE = False, "SINGLE"
    der = DER_PV(file)
    try:
        der.update_der_input(v_pu=1.0, f=60, p_dc_pu=0.8)
        der.run()
    except Exception as error:  # noqa: BLE001
        return type(error).__name__
    return der.der_status


def through(seconds, v_pu, hertz):
    """The criteria of ride-through of a device of category I after so many seconds of this."""
    der = DER_PV()
    der.der_file.NP_PHASE, der.der_file.NP_ABNORMAL_OP_CAT = "SINGLE", "CAT_I"
    for _ in range(round(seconds / DER.t_s)):
        der.update_der_input(v_pu=v_pu, f=hertz, p_dc_pu=0.8)
        der.run()
    return criteria_of(der)


def criteria_of(der):
    """They are a part of the part that says how the device is."""
    for part in vars(der).values():
        if hasattr(part, "ridethroughcrit"):
            return part.ridethroughcrit
    raise LookupError("no criteria of ride-through")


def answered(t_olrt_s):
    """How much of a step the filter has given when its response time is over."""
    step_s, DER.t_s = DER.t_s, 0.001
    lag = LowPassFilter()
    lag.low_pass_filter(0.0, t_olrt_s)
    for _ in range(round(t_olrt_s / DER.t_s)):
        out = lag.low_pass_filter(1.0, t_olrt_s)
    DER.t_s = step_s
    return out


def told():
    """All of them."""
    low = through(10, 1.0, 58.6)
    return {
        "absorbs": {str(least): absorbs(least) for least in (0, -1)},
        "off_at_first": off_at_first(),
        # A second at 1.12 has to be ridden through: it cannot be over after the first tenth.
        "passed_at_once": through(0.1, 1.12, 60.0).rt_pass_time_req,
        # Its file calls 58.6 Hz both continuous, which resets the timer, and a time that is counted.
        "low_frequency": [low.rt_mode_f, low.rt_time_lf],
        "answered": answered(5.0),
    }


if __name__ == "__main__":
    try:
        print(json.dumps(told()))
    except Exception as error:  # noqa: BLE001
        print(json.dumps({"error": f"{type(error).__name__}: {error}"}))
        sys.exit(1)
