"""Voltages of a radial network in the opinion of pandapower and OpenDSS.

    network_flow.py CASE OUT.toml [--seed N]

CASE is `cigre` (the low-voltage benchmark of CIGRE as pandapower ships it), `cigre_unbalanced`
(the same with its loads on single phases), `random` or `random_unbalanced` (a tree drawn by the
seed, with a transformer, cable capacitances and loads of all three kinds). The network is written
to OUT.toml as `gridrig plant flow` reads it; one JSON line tells per bus the voltages in per unit
that each of the two finds, phase by phase where the case is unbalanced.
"""

import argparse
import json
import math
import random
import sys
import warnings

warnings.filterwarnings("ignore")

import opendssdirect as dss  # noqa: E402
import pandapower as pp  # noqa: E402
import pandapower.networks  # noqa: E402

# Short-circuit power of the stiff source that both get, in MVA: its drop is below 1e-6.
STIFF_MVA = 1e7
SLACK_PU = 1.0


def cigre(unbalanced, seed):
    """The benchmark as a plain description, and pandapower's own network of it."""
    net = pandapower.networks.create_cigre_network_lv()
    rng = random.Random(seed)
    names = {i: str(row["name"]).replace("Bus ", "") for i, row in net.bus.iterrows()}
    described = {
        "unbalanced": unbalanced,
        "buses": [(names[i], row.vn_kv) for i, row in net.bus.iterrows()],
        "source": names[int(net.ext_grid.bus.iloc[0])],
        "lines": [
            {
                "from": names[row.from_bus], "to": names[row.to_bus], "km": row.length_km,
                "r": row.r_ohm_per_km, "x": row.x_ohm_per_km, "c": row.c_nf_per_km,
                # The benchmark gives no zero sequence; four times is what cables have.
                "r0": 4 * row.r_ohm_per_km, "x0": 4 * row.x_ohm_per_km, "c0": row.c_nf_per_km,
            }
            for _, row in net.line.iterrows()
        ],
        "transformers": [
            {
                "high": names[row.hv_bus], "low": names[row.lv_bus], "mva": row.sn_mva,
                "v_high": row.vn_hv_kv, "v_low": row.vn_lv_kv, "vk": row.vk_percent,
                "vkr": row.vkr_percent, "pfe_kw": row.pfe_kw, "i0": row.i0_percent, "tap": 0.0,
            }
            for _, row in net.trafo.iterrows()
        ],
        "switches": [
            {"from": names[row.bus], "to": names[row.element], "closed": bool(row.closed)}
            for _, row in net.switch.iterrows()
        ],
        "loads": [],
    }
    for _, row in net.load.iterrows():
        load = {"bus": names[row.bus], "kw": row.p_mw * 1e3, "kvar": row.q_mvar * 1e3, "z": 0, "i": 0}
        if unbalanced:
            shares = [rng.uniform(0.1, 1.0) for _ in "abc"]
            for phase, share in zip("abc", shares):
                part = share / sum(shares)
                described["loads"].append(
                    load | {"kw": load["kw"] * part, "kvar": load["kvar"] * part, "phase": phase}
                )
        else:
            described["loads"].append(load | {"phase": "abc"})
    return described, None if unbalanced else net


def random_tree(unbalanced, seed):
    """A tree behind a transformer, drawn by the seed."""
    rng = random.Random(seed)
    count = rng.randint(20, 60)
    buses = [("grid", 20.0), ("head", 0.4)] + [(f"b{n}", 0.4) for n in range(count)]
    lines = []
    for n in range(count):
        r = rng.uniform(0.1, 0.6)
        x, c = rng.uniform(0.07, 0.1), rng.uniform(200, 400)
        lines.append({
            "from": rng.choice(buses[1:2 + n])[0], "to": f"b{n}", "km": rng.uniform(0.01, 0.06),
            "r": r, "x": x, "c": c, "r0": r * rng.uniform(2, 4), "x0": x * rng.uniform(2, 4), "c0": c * 0.6,
        })
    loads = []
    for n in range(count):
        share = rng.choice([(0, 0), (0, 0), (100, 0), (0, 100), (30, 20)])
        if unbalanced:
            # pandapower's unbalanced solution has loads of constant power only.
            share = (0, 0)
        loads.append({
            "bus": f"b{n}", "kw": rng.uniform(-3, 6), "kvar": rng.uniform(-1, 2),
            "z": share[0], "i": share[1], "phase": rng.choice("abc") if unbalanced else "abc",
        })
    transformer = {
        "high": "grid", "low": "head", "mva": 0.25, "v_high": 20.0, "v_low": 0.4, "vk": 4.0, "vkr": 1.3,
        "pfe_kw": 0.0 if unbalanced else 0.6, "i0": 0.0 if unbalanced else 0.4,
        "tap": 0.0 if unbalanced else rng.choice([-2.5, 0.0, 2.5]),
    }
    described = {
        "unbalanced": unbalanced, "buses": buses, "source": "grid", "lines": lines,
        "transformers": [transformer], "switches": [], "loads": loads,
    }
    return described, None


def toml(d):
    """The description as gridrig reads it."""
    out = ['f = "50Hz"', "[network]", f"unbalanced = {str(d['unbalanced']).lower()}"]

    def entry(kind, **keys):
        out.append(f"[[network.{kind}]]")
        out.extend(
            f"{key} = {str(value).lower() if isinstance(value, bool) else json.dumps(value)}"
            for key, value in keys.items()
        )

    for name, kv in d["buses"]:
        entry("bus", name=name, v_ll=f"{kv * 1e3:.6f}V")
    entry("source", bus=d["source"], v_pu=SLACK_PU)
    for n, line in enumerate(d["lines"]):
        entry(
            "line", name=f"line {n}", **{"from": line["from"]}, to=line["to"], length_m=line["km"] * 1e3,
            r_ohm_per_km=line["r"], x_ohm_per_km=line["x"], c_nf_per_km=line["c"],
            r0_ohm_per_km=line["r0"], x0_ohm_per_km=line["x0"], c0_nf_per_km=line["c0"],
        )
    for n, t in enumerate(d["transformers"]):
        entry(
            "transformer", name=f"transformer {n}", high=t["high"], low=t["low"], s=f"{t['mva'] * 1e3}kVA",
            v_high=f"{t['v_high'] * 1e3}V", v_low=f"{t['v_low'] * 1e3}V", vk_percent=t["vk"],
            vkr_percent=t["vkr"], iron_loss=f"{t['pfe_kw']}kW", no_load_current_percent=t["i0"],
            tap_percent=t["tap"], group="Dyn1",
        )
    for n, switch in enumerate(d["switches"]):
        entry("switch", name=f"switch {n}", **{"from": switch["from"]}, to=switch["to"], closed=switch["closed"])
    for load in d["loads"]:
        entry(
            "load", bus=load["bus"], phase=load["phase"], p=f"{load['kw']:.9f}kW", q=f"{load['kvar']:.9f}kvar",
            constant_z_percent=load["z"], constant_i_percent=load["i"],
        )
    return "\n".join(out) + "\n"


def pandapower_net(d):
    """The description as a network of pandapower."""
    net = pp.create_empty_network(f_hz=50.0, sn_mva=0.1)
    at = {name: pp.create_bus(net, vn_kv=kv, name=name) for name, kv in d["buses"]}
    pp.create_ext_grid(
        net, at[d["source"]], vm_pu=SLACK_PU, s_sc_max_mva=STIFF_MVA, rx_max=0.1, r0x0_max=0.1, x0x_max=1.0,
    )
    for line in d["lines"]:
        pp.create_line_from_parameters(
            net, at[line["from"]], at[line["to"]], line["km"], line["r"], line["x"], line["c"], 10.0,
            r0_ohm_per_km=line["r0"], x0_ohm_per_km=line["x0"], c0_nf_per_km=line["c0"],
        )
    for t in d["transformers"]:
        pp.create_transformer_from_parameters(
            net, at[t["high"]], at[t["low"]], t["mva"], t["v_high"], t["v_low"], t["vkr"], t["vk"],
            t["pfe_kw"], t["i0"], shift_degree=30, vector_group="Dyn", vk0_percent=t["vk"],
            vkr0_percent=t["vkr"], mag0_percent=1e7, mag0_rx=0, si0_hv_partial=0.9,
            tap_side="hv", tap_pos=1, tap_neutral=0, tap_step_percent=t["tap"], tap_changer_type="Ratio",
        )
    for switch in d["switches"]:
        pp.create_switch(net, at[switch["from"]], at[switch["to"]], et="b", closed=switch["closed"])
    for load in d["loads"]:
        p, q = load["kw"] / 1e3, load["kvar"] / 1e3
        if d["unbalanced"]:
            of = {f"p_{x}_mw": p if x == load["phase"] else 0.0 for x in "abc"}
            of |= {f"q_{x}_mvar": q if x == load["phase"] else 0.0 for x in "abc"}
            pp.create_asymmetric_load(net, at[load["bus"]], **of)
        else:
            pp.create_load(
                net, at[load["bus"]], p, q, const_z_p_percent=load["z"], const_i_p_percent=load["i"],
                const_z_q_percent=load["z"], const_i_q_percent=load["i"],
            )
    return net


def by_pandapower(d, own):
    net = own if own is not None else pandapower_net(d)
    names = [name for name, _ in d["buses"]]
    if d["unbalanced"]:
        pp.runpp_3ph(net, tolerance_mva=1e-9, max_iteration=100)
        rows = net.res_bus_3ph[["vm_a_pu", "vm_b_pu", "vm_c_pu"]].to_numpy().tolist()
    else:
        pp.runpp(net, numba=False, tolerance_mva=1e-9)
        rows = [[v] for v in net.res_bus.vm_pu.tolist()]
    return dict(zip(names, rows))


def by_opendss(d):
    kv = dict(d["buses"])
    key = {name: f"n{n}" for n, (name, _) in enumerate(d["buses"])}

    def say(command):
        dss.Text.Command(command)

    say("clear")
    say("set DefaultBaseFrequency=50")
    say(
        f"new circuit.c bus1={key[d['source']]} basekv={kv[d['source']]} pu={SLACK_PU} "
        f"mvasc3={STIFF_MVA} mvasc1={STIFF_MVA} phases=3 frequency=50"
    )
    for n, line in enumerate(d["lines"]):
        say(
            f"new line.l{n} bus1={key[line['from']]} bus2={key[line['to']]} phases=3 r1={line['r']} x1={line['x']} "
            f"r0={line['r0']} x0={line['x0']} c1={line['c']} c0={line['c0']} units=km length={line['km']}"
        )
    for n, t in enumerate(d["transformers"]):
        x = math.sqrt(t["vk"] ** 2 - t["vkr"] ** 2)
        iron = t["pfe_kw"] / t["mva"] / 10
        imag = math.sqrt(max(t["i0"] ** 2 - iron**2, 0.0))
        say(
            f"new transformer.t{n} phases=3 windings=2 buses=({key[t['high']]} {key[t['low']]}) conns=(delta wye) "
            f"kvs=({t['v_high']} {t['v_low']}) kvas=({t['mva'] * 1e3} {t['mva'] * 1e3}) %loadloss={t['vkr']} xhl={x} "
            f"%noloadloss={iron} %imag={imag} taps=({1 + t['tap'] / 100} 1) ppm_antifloat=0"
        )
    for n, switch in enumerate(d["switches"]):
        if switch["closed"]:
            say(
                f"new line.s{n} bus1={key[switch['from']]} bus2={key[switch['to']]} phases=3 r1=1e-7 x1=0 r0=1e-7 x0=0 "
                "c1=0 c0=0 length=1"
            )
    for n, load in enumerate(d["loads"]):
        z, i = load["z"] / 100, load["i"] / 100
        zip_v = f"({z} {i} {1 - z - i} {z} {i} {1 - z - i} 0)"
        one = load["phase"] != "abc"
        node = f".{'abc'.index(load['phase']) + 1}" if one else ""
        volts = kv[load["bus"]] / (math.sqrt(3) if one else 1)
        say(
            f"new load.d{n} bus1={key[load['bus']]}{node} phases={1 if one else 3} kv={volts} kw={load['kw']} "
            f"kvar={load['kvar']} model=8 zipv={zip_v} vminpu=0.1 vmaxpu=2"
        )
    say(f"set voltagebases=[{' '.join(str(v) for v in sorted(set(kv.values())))}]")
    say("calcvoltagebases")
    say("set tolerance=1e-9 maxiterations=200 maxcontroliter=20")
    dss.Solution.Solve()
    if not dss.Solution.Converged():
        raise RuntimeError("OpenDSS did not converge")
    found = {}
    for name, _ in d["buses"]:
        dss.Circuit.SetActiveBus(key[name])
        per_node = dict(zip(dss.Bus.Nodes(), dss.Bus.puVmagAngle()[::2]))
        phases = [per_node[n] for n in (1, 2, 3)]
        found[name] = phases if d["unbalanced"] else [sum(phases) / 3]
    return found


def main():
    asked = argparse.ArgumentParser()
    asked.add_argument("case", choices=["cigre", "cigre_unbalanced", "random", "random_unbalanced"])
    asked.add_argument("out")
    asked.add_argument("--seed", type=int, default=7)
    asked = asked.parse_args()
    make = cigre if asked.case.startswith("cigre") else random_tree
    described, own = make(asked.case.endswith("unbalanced"), asked.seed)
    with open(asked.out, "w", encoding="utf-8") as file:
        file.write(toml(described))
    pandas_says, dss_says = by_pandapower(described, own), by_opendss(described)
    print(json.dumps({
        name: {"pandapower": pandas_says[name], "opendss": dss_says[name]} for name, _ in described["buses"]
    }))


if __name__ == "__main__":
    try:
        main()
    except Exception as error:  # noqa: BLE001
        print(json.dumps({"error": f"{type(error).__name__}: {error}"}))
        sys.exit(1)
