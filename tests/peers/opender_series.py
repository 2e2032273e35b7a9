"""A series through EPRI's OpenDER, with the files of `gridrig der run`.

    opender_series.py --job S.toml in.csv out.csv [--job ..]

Reads the same settings and the same series of each job, and writes the same columns; the status is OpenDER's
own word. OpenDER knows 60 Hz only: frequency and dead bands of another nominal frequency are
mapped, so trip and enter service can be compared at 60 Hz only. Prints one JSON line with the rows
and the seconds of CPU that the steps alone took.
"""

import argparse
import csv
import json
import logging
import sys
import time
import tomllib

logging.disable(logging.CRITICAL)

from opender import DER, DER_BESS, DER_PV  # noqa: E402

# The nameplate of both: one per unit.
RATED = 100_000
VOLTS = 240


def model(s):
    """The device that the settings describe."""
    storage = s.get("kind", "pv") == "storage"
    der = DER_BESS() if storage else DER_PV()
    f = der.der_file
    f.NP_NORMAL_OP_CAT = "CAT_" + s.get("category", "B")
    f.NP_ABNORMAL_OP_CAT = "CAT_" + s.get("abnormal", "III")
    f.NP_VA_MAX = f.NP_P_MAX = f.NP_P_MAX_CHARGE = f.NP_APPARENT_POWER_CHARGE_MAX = RATED
    f.NP_AC_V_NOM = VOLTS
    f.NP_Q_MAX_INJ = 0.44 * RATED
    # The category's own capability; OpenDER's file has that of category B for both.
    f.NP_Q_MAX_ABS = (0.25 if f.NP_NORMAL_OP_CAT == "CAT_A" else 0.44) * RATED
    f.NP_P_MIN_PU = -1 if storage else 0
    f.QP_CURVE_P1_GEN, f.QP_CURVE_P1_LOAD = 0.2, -0.2
    f.CONST_PF = 1.0
    scale = 60.0 / s.get("f_nom_hz", 60)

    def on(section, usual=False):
        return s[section].get("enabled", True) if section in s else usual

    def take(section, names):
        for key, names_there in names.items():
            if key in s.get(section, {}):
                for name, value in zip(names_there, listed(s[section][key])):
                    setattr(f, name, value)

    f.QV_MODE_ENABLE = on("volt_var")
    take("volt_var", {
        "curve": [f"QV_CURVE_{axis}{n}" for n in (1, 2, 3, 4) for axis in "VQ"],
        "olrt_s": ["QV_OLRT"], "vref_pu": ["QV_VREF"], "vref_tau_s": ["QV_VREF_TIME"],
        "vref_auto": ["QV_VREF_AUTO_MODE"],
    })
    f.PV_MODE_ENABLE = on("volt_watt")
    take("volt_watt", {
        "v1": ["PV_CURVE_V1"], "p1": ["PV_CURVE_P1"], "v2": ["PV_CURVE_V2"], "p2": ["PV_CURVE_P2"],
        "olrt_s": ["PV_OLRT"],
    })
    f.QP_MODE_ENABLE = on("watt_var")
    take("watt_var", {
        "curve": [
            f"QP_CURVE_{axis}{n}" for n in ("3_LOAD", "2_LOAD", "1_LOAD", "1_GEN", "2_GEN", "3_GEN") for axis in "PQ"
        ],
        "olrt_s": ["QP_RT"],
    })
    f.CONST_PF_MODE_ENABLE = on("const_pf")
    excitation = s.get("const_pf", {}).get("excitation", "absorb")
    f.CONST_PF_EXCITATION = "INJ" if excitation == "inject" else "ABS"
    take("const_pf", {"pf": ["CONST_PF"], "olrt_s": ["CONST_PF_RT"]})
    f.CONST_Q_MODE_ENABLE = on("const_q")
    take("const_q", {"q_pu": ["CONST_Q"], "olrt_s": ["CONST_Q_RT"]})
    f.PF_MODE_ENABLE = on("freq_droop", True)
    f.PF_DBOF, f.PF_DBUF = 0.036 * scale, 0.036 * scale
    take("freq_droop", {"k_of": ["PF_KOF"], "k_uf": ["PF_KUF"], "olrt_s": ["PF_OLRT"], "p_min_pu": ["NP_P_MIN_PU"]})
    for key, name in (("db_of_hz", "PF_DBOF"), ("db_uf_hz", "PF_DBUF")):
        if key in s.get("freq_droop", {}):
            setattr(f, name, s["freq_droop"][key] * scale)
    f.AP_LIMIT_ENABLE = on("p_limit")
    take("p_limit", {"p_pu": ["AP_LIMIT"], "response_s": ["AP_RT"]})
    take("enter_service", {
        "v_lo_pu": ["ES_V_LOW"], "v_hi_pu": ["ES_V_HIGH"], "f_lo_hz": ["ES_F_LOW"], "f_hi_hz": ["ES_F_HIGH"],
        "delay_s": ["ES_DELAY"], "ramp_s": ["ES_RAMP_RATE"],
    })
    f.MC_RESP_T = s.get("ride_through", {}).get("mc_response_s", 0)
    f.MC_RETURN_T = s.get("ride_through", {}).get("mc_return_s", 0)
    # One threshold on each side, at once: more OpenDER does not know. Categories I and II have none by themselves.
    agreed = s.get("momentary_cessation", {})
    if agreed:
        third = f.NP_ABNORMAL_OP_CAT == "CAT_III"
        f.MC_ENABLE = True
        for key, name, usual in (("lv", "MC_LVRT_V1", 0.5 if third else 0.0), ("hv", "MC_HVRT_V1", 1.1 if third else 3.0)):
            [[threshold, after_s]] = agreed.get(key, [[usual, 0]])
            assert after_s == 0
            setattr(f, name, threshold)
    take("trip", {
        key: [f"{key.upper()}_TRIP_{'F' if key[1] == 'f' else 'V'}", f"{key.upper()}_TRIP_T"]
        for key in ("ov1", "ov2", "uv1", "uv2", "of1", "of2", "uf1", "uf2")
    })
    return der, storage


def listed(value):
    """The numbers of a setting, one after the other."""
    if isinstance(value, list):
        return [number for part in value for number in listed(part)]
    return [value]


def run(settings_path, series_path, out_path):
    """Rows of a job, and the seconds that its steps took."""
    with open(settings_path, "rb") as file:
        settings = tomllib.load(file)
    with open(series_path, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    der, storage = model(settings)
    phases = "v_a_pu" in rows[0]
    der.der_file.NP_PHASE = "THREE" if phases else "SINGLE"
    scale = 60.0 / settings.get("f_nom_hz", 60)
    written = ["t_s,p_pu,q_pu,status\n"]
    spent = 0.0
    before = None
    for row in rows:
        t = float(row["t_s"])
        DER.t_s = settings.get("step_s", 0.05) if before is None else t - before
        before = t
        volts = [float(row[f"v_{x}_pu"]) for x in "abc"] if phases else float(row["v_pu"])
        at = {"v_pu": volts, "f": float(row["f_hz"]) * scale}
        if storage:
            at["p_dem_pu"] = float(row["p_demand_pu"])
        else:
            at["p_dc_pu"] = float(row["p_avail_pu"])
        der.der_file.ES_PERMIT_SERVICE = row.get("permit", "1") in ("1", "true")
        begun = time.process_time()
        der.update_der_input(**at)
        der.run()
        spent += time.process_time() - begun
        written.append(f"{row['t_s']},{der.p_out_pu:.9f},{der.q_out_pu:.9f},{der.der_status}\n")
    with open(out_path, "w", encoding="utf-8") as file:
        file.writelines(written)
    return len(rows), spent


def main():
    asked = argparse.ArgumentParser()
    asked.add_argument("--job", nargs=3, action="append", required=True, metavar=("SETTINGS", "IN", "OUT"))
    done = [run(*job) for job in asked.parse_args().job]
    print(json.dumps({"rows": sum(rows for rows, _ in done), "cpu_seconds": sum(spent for _, spent in done)}))


if __name__ == "__main__":
    try:
        main()
    except Exception as error:  # noqa: BLE001
        print(json.dumps({"error": f"{type(error).__name__}: {error}"}))
        sys.exit(1)
