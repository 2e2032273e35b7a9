"""What EPRI's OpenDER 2.2.0 is known to do wrong where nobody may copy it.

`opender_defects.py` drives it through the steps of each and prints one JSON line:
`{"absorbs": {"0": 0.0, "-1": -0.65}, "off_at_first": "TypeError"}`.
"""

import json
import logging
import sys

logging.disable(logging.CRITICAL)

from opender import DER, DER_BESS, DER_PV  # noqa: E402

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


if __name__ == "__main__":
    try:
        print(json.dumps({"absorbs": {str(least): absorbs(least) for least in (0, -1)}, "off_at_first": off_at_first()}))
    except Exception as error:  # noqa: BLE001
        print(json.dumps({"error": f"{type(error).__name__}: {error}"}))
        sys.exit(1)
