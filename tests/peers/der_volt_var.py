"""Lets a DER adopt a volt-var curve with pysunspec2 and steps its voltage at the grid simulator.

`der_volt_var.py --port P --unit U --source HOST:PORT --nominal 277` reads models 701 to 715, writes
a curve to 705, adopts and enables it, then sets voltages over SCPI and looks at the reactive power
in model 701. One JSON line: `{"models": [...], "errors": {...}, "told": {...}, "adopted": 1,
"steps": [{"v_pu": 0.95, "var": [...]}]}` with the power each half second;
and, in `cessation`, what it gives at 0.75 and 1.0 before and after a curve of momentary cessation is adopted in 707.
"""

import json
import socket
import sys
import time

import sunspec2.modbus.client as client
from read_sunspec import find, main_options, open_device

# Per cent of nominal voltage, per cent of apparent power: steeper than any default.
CURVE = [(92.0, 40.0), (97.0, 20.0), (103.0, -20.0), (108.0, -40.0)]
# Response time in seconds, and how often and how long the power is looked at.
RESPONSE_S, EVERY_S, FOR_S = 1.0, 0.5, 6.0
# The device says within so many seconds whether it has adopted a curve.
ADOPTION_S = 5.0
# Time in which a device that ceases or comes back has done so, far shorter than what it rides through.
SETTLES_S = 1.5
# Points that only a whole chain tells.
TOLD = [
    "701.ConnSt", "701.InvSt", "701.Alrm", "702.WMaxRtg", "702.AbnOpCatRtg", "703.ES",
    "703.ESDlyTms", "704.WMaxLimPct", "706.Ena", "707.Crv[0].MustTrip.Pt[0].Tms",
    "707.Crv[0].MayTrip.Pt[2].V", "707.Crv[0].MomCess.Pt[0].V",
    "708.Crv[0].MustTrip.Pt[0].V", "709.Crv[0].MustTrip.Pt[1].Hz", "710.Crv[0].MustTrip.Pt[1].Hz",
    "711.Ctl[0].KOf", "712.Ena", "714.NPrt", "715.OpCtl",
]


class Source:
    """The grid simulator that the plant hangs on."""

    def __init__(self, address, nominal_v):
        host, port = address.rsplit(":", 1)
        self.socket = socket.create_connection((host, int(port)), timeout=5)
        self.nominal_v = nominal_v
        self.tell("SYSTem:REMote")

    def tell(self, message):
        self.socket.sendall(message.encode() + b"\n")

    def set(self, v_pu):
        self.tell(f"SOURce:VOLTage {v_pu * self.nominal_v:.3f}")


def adopt(model):
    """Writes the curve to the second place and lets the device adopt it; the result."""
    curve = model.Crv[1]
    curve.ActPt.cvalue = len(CURVE)
    curve.DeptRef.cvalue = 3  # per cent of the largest apparent power
    curve.VRef.cvalue = 100.0
    curve.VRefAutoEna.cvalue = 0
    curve.RspTms.cvalue = RESPONSE_S
    for point, (v, q) in zip(curve.Pt, CURVE):
        point.V.cvalue, point.Var.cvalue = v, q
    model.write()
    model.AdptCrvReq.cvalue = 2
    model.write()
    until = time.monotonic() + ADOPTION_S
    while time.monotonic() < until:
        model.read()
        if model.AdptCrvRslt.cvalue != 0:
            break
        time.sleep(0.1)
    result = model.AdptCrvRslt.cvalue
    model.Ena.cvalue = 1
    model.write()
    model.read()
    return result


def adopt_cessation(model):
    """Lets the device cease at or below 80 % at once, without a curve of may-trip; the result and the active curves."""
    curve = model.Crv[1]
    curve.MayTrip.ActPt.cvalue = 0
    curve.MomCess.ActPt.cvalue = 1
    curve.MomCess.Pt[0].V.cvalue, curve.MomCess.Pt[0].Tms.cvalue = 80.0, 0.0
    model.write()
    model.AdptCrvReq.cvalue = 2
    model.write()
    until = time.monotonic() + ADOPTION_S
    while time.monotonic() < until:
        model.read()
        if model.AdptCrvRslt.cvalue != 0:
            break
        time.sleep(0.1)
    active = model.Crv[0]
    cease = active.MomCess.Pt[0]
    return {
        "result": model.AdptCrvRslt.cvalue, "may": active.MayTrip.ActPt.cvalue, "must": active.MustTrip.ActPt.cvalue,
        "cease": [active.MomCess.ActPt.cvalue, cease.V.cvalue, cease.Tms.cvalue],
    }


def powers_at(source, measured, voltages):
    """Active power and state of the connection a while after each voltage."""
    found = []
    for v_pu in voltages:
        source.set(v_pu)
        time.sleep(SETTLES_S)
        measured.read()
        found.append([measured.W.cvalue, measured.ConnSt.cvalue])
    return found


def watch(measured):
    values = []
    until = time.monotonic() + FOR_S
    while time.monotonic() < until:
        time.sleep(EVERY_S)
        measured.read()
        values.append(measured.Var.cvalue)
    return values


def main():
    options = main_options(__doc__.splitlines()[0])
    options.add_argument("--source", required=True, metavar="HOST:PORT")
    options.add_argument("--nominal", type=float, required=True, help="volts, line to neutral")
    options.add_argument("--step", type=float, action="append", required=True, help="volts per unit")
    asked = options.parse_args()
    source = Source(asked.source, asked.nominal)
    source.set(1.0)
    device = open_device(asked)
    found = [model for model in device.models if isinstance(model, int)]
    for model in found:
        device.models[model][0].read()
    told = {name: find(device, name).cvalue for name in TOLD}
    adopted = adopt(device.models[705][0])
    shown = [[p.V.cvalue, p.Var.cvalue] for p in device.models[705][0].Crv[0].Pt]
    steps = []
    for v_pu in asked.step:
        source.set(v_pu)
        steps.append({"v_pu": v_pu, "var": watch(device.models[701][0])})
    trips = device.models[707][0]
    cessation = {"before": powers_at(source, device.models[701][0], [0.75, 1.0])}
    cessation["adopted"] = adopt_cessation(trips)
    cessation["after"] = powers_at(source, device.models[701][0], [0.75, 1.0])
    errors = {str(m): device.models[m][0].error_info for m in found if device.models[m][0].error_info}
    told = {"models": found, "errors": errors, "told": told, "adopted": adopted, "shown": shown, "steps": steps,
            "cessation": cessation}
    print(json.dumps(told))
    device.close()


if __name__ == "__main__":
    try:
        main()
    except (LookupError, OSError, client.SunSpecModbusClientError) as reason:
        print(json.dumps({"error": str(reason)}))
        sys.exit(1)
