"""The frequency of an island with one diesel set in the opinion of ANDES.

    andes_island.py --s-kva S --h H --droop R --lag T --damping D --load-kw P --step-kw DP

A classical machine with a governor (TGOV1, its lead and lag equal, so that one lag is left) feeds a
load of constant power; a second load is switched on after a second. One JSON line tells the lowest
frequency, when it was, the one at the end, and the rate at the beginning.
"""

import argparse
import json
import logging
import os
import sys
import warnings

warnings.filterwarnings("ignore")
# What it compiles on its first run stays beside it, not with a person.
os.environ["HOME"] = sys.prefix

import andes  # noqa: E402

F0 = 50.0
# When the second load comes, in seconds, and when the simulation ends.
AT, UNTIL = 1.0, 13.0


def island(a):
    andes.config_logger(stream_level=logging.CRITICAL)
    ss = andes.System(default_config=True, no_output=True)
    ss.config.mva = a.s_kva / 1e3
    ss.config.freq = F0
    base = a.s_kva
    ss.add("Bus", {"idx": 1, "name": "set", "Vn": 0.4, "v0": 1.0})
    ss.add("Bus", {"idx": 2, "name": "load", "Vn": 0.4, "v0": 1.0})
    # Short enough that its drop does not count.
    ss.add("Line", {"idx": "cable", "bus1": 1, "bus2": 2, "Vn1": 0.4, "Vn2": 0.4, "Sn": a.s_kva / 1e3,
                    "r": 0.0, "x": 1e-3})
    ss.add("Slack", {"idx": "slack", "bus": 1, "Vn": 0.4, "Sn": a.s_kva / 1e3, "v0": 1.0, "a0": 0.0,
                     "p0": a.load_kw / base})
    ss.add("PQ", {"idx": "base", "bus": 2, "Vn": 0.4, "p0": a.load_kw / base, "q0": 0.0})
    ss.add("GENCLS", {"idx": "gen", "bus": 1, "gen": "slack", "Vn": 0.4, "Sn": a.s_kva / 1e3,
                      "fn": F0, "M": 2 * a.h, "D": a.damping, "xd1": 0.1, "ra": 0.0})
    ss.add("TGOV1", {"idx": "gov", "syn": "gen", "R": a.droop, "VMAX": 2.0, "VMIN": 0.0,
                     "T1": a.lag, "T2": 1.0, "T3": 1.0, "Dt": 0.0})
    ss.add("Alter", {"idx": "step", "model": "PQ", "dev": "base", "src": "Ppf", "attr": "v",
                     "t": AT, "method": "+", "amount": a.step_kw / base})
    ss.setup()
    # Constant power, in the time domain as well.
    ss.PQ.config.p2p, ss.PQ.config.p2i, ss.PQ.config.p2z = 1.0, 0.0, 0.0
    ss.PQ.config.q2q, ss.PQ.config.q2i, ss.PQ.config.q2z = 1.0, 0.0, 0.0
    ss.PFlow.run()
    ss.TDS.config.tf = UNTIL
    ss.TDS.config.tstep = 0.01
    ss.TDS.config.fixt = 1
    ss.TDS.config.no_tqdm = 1
    ss.TDS.run()
    t = ss.dae.ts.t
    f = F0 * ss.dae.ts.x[:, ss.GENCLS.omega.a[0]]
    return t, f


def main():
    parser = argparse.ArgumentParser()
    # Without any it is run to let it compile its equations.
    for name in ("s-kva", "h", "droop", "lag", "damping", "load-kw", "step-kw"):
        parser.add_argument("--" + name, type=float, default=1.0)
    t, f = island(parser.parse_args())
    lowest = int(f.argmin())
    soon = int((t < AT + 0.02).sum())
    print(json.dumps({
        "before_hz": float(f[0]),
        "nadir_hz": float(f[lowest]),
        "nadir_s": float(t[lowest] - AT),
        "steady_hz": float(f[-1]),
        "rocof_hz_per_s": float((f[soon] - F0) / (t[soon] - AT)),
    }))


if __name__ == "__main__":
    main()
