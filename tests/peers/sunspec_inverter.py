"""A three-phase SunSpec inverter: pymodbus serves what pysunspec2 encoded.

Neither the register image nor the Modbus frames come from gridrig, so a
controller that reads 8200 W here and sees it fall to its own limit has read
and written SunSpec as others understand it. Models 1, 103, 120, 121, 123.

Behaviour: active power follows model 123 (WMaxLimPct, WMaxLim_Ena, Conn)
200 ms after a write, never above what the sun gives; WMaxLimPct_RvrtTms
releases the limit when it is not refreshed.

Commands: `dump`, `available WATTS`.
"""

import argparse
import asyncio

import peer
import sunspec2.device as sunspec
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

# Where the image begins; the first place a SunSpec client looks.
BASE = 40000
# What the sun gives at the start, in watts.
AVAILABLE_W = 8200
# The setting WMax of model 121, in watts; limits are per cent of it.
WMAX_W = 10000
# From a write to the power that follows it, in seconds. Chosen: slow enough
# that a test sees the old value once, as on a real inverter.
RESPONSE_S = 0.2
# Operating states of model 103.
OFF, MPPT, THROTTLED = 1, 4, 5

# Raw values as in the registers, with their scale factors beside them; what
# depends on power (A, W, VA, DCW, St) the inverter fills in by itself.
POINTS = {
    1: {
        "Mn": "Foreign Bench",
        "Md": "PV-10K",
        "Opt": "3P",
        "Vr": "1.0.0",
        "SN": "FB-0001",
        "DA": 1,
        "Pad": 0x8000,
    },
    103: {
        "A_SF": -2,
        "PPVphAB": 3987, "PPVphBC": 3989, "PPVphCA": 3990,
        "PhVphA": 2302, "PhVphB": 2303, "PhVphC": 2304, "V_SF": -1,
        "W_SF": 1,
        "Hz": 5000, "Hz_SF": -2,
        "VA_SF": 1, "VAr": 0, "VAr_SF": 1, "PF": 1000, "PF_SF": -1,
        "WH": 12345678, "WH_SF": 0,
        "DCA": 1395, "DCA_SF": -2, "DCV": 6000, "DCV_SF": -1,
        "DCW_SF": 1,
        "TmpCab": 412, "Tmp_SF": -1,
        "Evt1": 0, "Evt2": 0,
    },
    120: {
        "DERTyp": 4, "WRtg": 1000, "WRtg_SF": 1, "VARtg": 1000, "VARtg_SF": 1,
        "VArRtgQ1": 480, "VArRtgQ4": -480, "VArRtg_SF": 1,
        "ARtg": 145, "ARtg_SF": -1, "PFRtgQ1": 800, "PFRtgQ4": -800, "PFRtg_SF": -3,
    },
    121: {
        "WMax": 1000, "WMax_SF": 1, "VRef": 2300, "VRef_SF": -1,
        "VRefOfs": 0, "VRefOfs_SF": 0, "VAMax": 1000, "VAMax_SF": 1,
        "ECPNomHz": 50, "ECPNomHz_SF": 0,
    },
    123: {
        "Conn_WinTms": 0, "Conn_RvrtTms": 0, "Conn": 1,
        "WMaxLimPct": 10000, "WMaxLimPct_SF": -2, "WMaxLimPct_WinTms": 0,
        "WMaxLimPct_RvrtTms": 0, "WMaxLimPct_RmpTms": 0, "WMaxLim_Ena": 0,
        "OutPFSet": 1000, "OutPFSet_SF": -3, "OutPFSet_Ena": 0,
        "VArMaxPct": 0, "VArPct_SF": -1, "VArPct_Mod": 2, "VArPct_Ena": 0,
    },
}


def build_image():
    """The registers from BASE on, and where each point of each model is."""
    registers = [0x5375, 0x6E53]
    places = {}
    for model_id, values in POINTS.items():
        model = sunspec.Model(model_id)
        for name, value in values.items():
            model.points[name].value = value
        start = len(registers)
        for name, point in model.points.items():
            places[f"{model_id}.{name}"] = start + point.offset
        encoded = model.get_mb()
        registers += [
            int.from_bytes(encoded[i : i + 2], "big") for i in range(0, len(encoded), 2)
        ]
        # pysunspec2 leaves the length of a model that was not read unset.
        registers[start + 1] = len(encoded) // 2 - 2
    return registers + [0xFFFF, 0], places


class Inverter:
    """The registers and the little physics behind them."""

    def __init__(self, unit):
        image, self.places = build_image()
        self.live = list(image)
        self.available_w = AVAILABLE_W
        self.revert = None
        self.writes = 0
        self.device = SimDevice(
            unit,
            simdata=[SimData(BASE, values=image, datatype=DataType.REGISTERS)],
            action=self.on_access,
        )
        self.length = len(image)
        self.follow()

    def at(self, name):
        return self.live[self.places[name]]

    def put(self, name, value):
        self.live[self.places[name]] = value

    def scale(self, name):
        raw = self.at(name)
        return 10.0 ** (raw - 0x10000 if raw >= 0x8000 else raw)

    async def on_access(self, _function, _start, address, _count, registers, values):
        """pymodbus calls this before every read and write."""
        # The server keeps a list of its own; from the first access on, it is
        # the live one, with what changed before it carried over.
        if self.live is not registers:
            registers[: len(self.live)] = self.live
            self.live = registers
        if values is not None:
            self.writes += 1
            asyncio.get_running_loop().call_later(RESPONSE_S, self.follow)
            self.arm_revert(address - BASE, values)

    def arm_revert(self, offset, values):
        """(Re)starts the revert timer when the limit's block was written."""
        first, last = self.places["123.WMaxLimPct"], self.places["123.WMaxLim_Ena"]
        if offset > last or offset + len(values) <= first:
            return
        if self.revert:
            self.revert.cancel()
            self.revert = None
        place = self.places["123.WMaxLimPct_RvrtTms"]
        inside = 0 <= place - offset < len(values)
        seconds = values[place - offset] if inside else self.at("123.WMaxLimPct_RvrtTms")
        if seconds:
            loop = asyncio.get_running_loop()
            self.revert = loop.call_later(seconds, self.release)

    def release(self):
        self.put("123.WMaxLim_Ena", 0)
        self.follow()

    def follow(self):
        """Sets power, current and state to what the controls now allow."""
        limit_w = WMAX_W
        if self.at("123.WMaxLim_Ena") == 1:
            percent = self.at("123.WMaxLimPct") * self.scale("123.WMaxLimPct_SF")
            limit_w = WMAX_W * percent / 100.0
        connected = self.at("123.Conn") == 1
        watts = min(self.available_w, limit_w) if connected else 0
        state = OFF
        if connected:
            state = THROTTLED if watts < self.available_w else MPPT
        self.put("103.St", state)
        self.put("103.W", round(watts / self.scale("103.W_SF")))
        self.put("103.VA", round(watts / self.scale("103.VA_SF")))
        self.put("103.DCW", round(watts * 1.02 / self.scale("103.DCW_SF")))
        phase_a = watts / 3 / 230.3
        for name in ("AphA", "AphB", "AphC"):
            self.put(f"103.{name}", round(phase_a / self.scale("103.A_SF")))
        self.put("103.A", round(3 * phase_a / self.scale("103.A_SF")))

    def dump(self):
        watts = self.at("103.W") * self.scale("103.W_SF")
        percent = self.at("123.WMaxLimPct") * self.scale("123.WMaxLimPct_SF")
        return {
            "w": watts,
            "available_w": self.available_w,
            "wmaxlimpct": percent,
            "wmaxlim_ena": self.at("123.WMaxLim_Ena"),
            "rvrt_s": self.at("123.WMaxLimPct_RvrtTms"),
            "conn": self.at("123.Conn"),
            "st": self.at("103.St"),
            "writes": self.writes,
            "registers": self.live[: self.length],
        }

    def obey(self, words):
        match words:
            case ["dump"]:
                return self.dump()
            case ["available", watts]:
                self.available_w = float(watts)
                self.follow()
                return {"available_w": self.available_w}
        raise ValueError(f"unknown command: {' '.join(words)}")


async def main():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--port", type=int, default=0)
    options.add_argument("--unit", type=int, default=1)
    asked = options.parse_args()

    inverter = Inverter(asked.unit)
    server = ModbusTcpServer(inverter.device, address=("127.0.0.1", asked.port))
    await server.serve_forever(background=True)
    port = server.transport.sockets[0].getsockname()[1]

    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()

    def obey(words):
        async def run():
            return inverter.obey(words)

        return asyncio.run_coroutine_threadsafe(run(), loop).result()

    peer.live(obey, lambda: loop.call_soon_threadsafe(stopped.set))
    peer.ready(port=port, unit=asked.unit, base=BASE, models=list(POINTS))
    await stopped.wait()
    await server.shutdown()


if __name__ == "__main__":
    asyncio.run(main())
