"""SunSpec devices of several kinds: pymodbus serves what pysunspec2 encoded.

`--chain` says which: `der` (701 to 705, 714, 715), `meter` (203), `float-meter`
(211), `battery` (802), `float-inverter` (111, 160). Neither image nor frames come
from gridrig.

Behaviour of `der`: half a second after the number of a curve is written to
AdptCrvReq, that curve is the active one (or has failed, when its voltages do not
ascend); meanwhile the result is 0. `--rescale` moves all power of ten scale factors
of model 701 every 300 ms, the values staying what they are.

Commands: `dump`.
"""

import argparse
import asyncio

import peer
import sunspec2.device as sunspec
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

BASE = 40000
# Chosen: long enough that a client which does not wait reads the old curve.
ADOPT_S = 0.5
IEEE = [(9200, 4400), (9800, 0), (10200, 0), (10800, -4400)]
COMMON = {"Mn": "Foreign Bench", "Md": "Chain", "Opt": "", "Vr": "1.0.0", "SN": "FB-0002", "DA": 1, "Pad": 0x8000}


def curve(read_only):
    return {
        "ActPt": 4, "DeptRef": 3, "Pri": 1, "VRef": 10000, "VRefAutoEna": 0, "VRefAutoTms": 300,
        "RspTms": 5, "ReadOnly": read_only, "Pt": [{"V": v, "Var": q} for v, q in IEEE],
    }


CHAINS = {
    "der": {
        1: COMMON,
        701: {
            "ACType": 2, "St": 1, "InvSt": 3, "ConnSt": 1, "Alrm": 0, "DERMode": 1,
            "W": 5120, "VA": 5200, "Var": -910, "PF": 985, "A": 2260, "LLV": 3987, "LNV": 2302,
            "Hz": 50010, "TotWhInj": 123456789, "TotWhAbs": 4321,
            "WL1": 1710, "VL1": 2302, "AL1": 742, "WL2": 1700, "VL2": 2303, "AL2": 741,
            "WL3": 1710, "VL3": 2304, "AL3": 742,
            "A_SF": -2, "V_SF": -1, "Hz_SF": -3, "W_SF": 0, "PF_SF": -3, "VA_SF": 0, "Var_SF": 0,
            "TotWh_SF": 0, "TotVarh_SF": 0, "Tmp_SF": 0,
        },
        702: {
            "WMaxRtg": 1000, "VAMaxRtg": 1100, "VarMaxInjRtg": 480, "VarMaxAbsRtg": 480,
            "WMax": 1000, "VAMax": 1100, "VarMaxInj": 480, "VarMaxAbs": 480,
            "W_SF": 1, "VA_SF": 1, "Var_SF": 1, "PF_SF": -3, "V_SF": -1, "A_SF": -1,
        },
        703: {"ES": 1, "V_SF": -1, "Hz_SF": -2},
        704: {
            "PFWInjEna": 0, "WMaxLimPctEna": 0, "WMaxLimPct": 1000, "WMaxLimPctRvrt": 1000,
            "WMaxLimPctEnaRvrt": 0, "WMaxLimPctRvrtTms": 0,
            "PF_SF": -3, "WMaxLimPct_SF": -1, "WSet_SF": 0, "WSetPct_SF": -1, "VarSet_SF": 0,
            "VarSetPct_SF": -1,
        },
        705: {
            "Ena": 0, "AdptCrvReq": 0, "AdptCrvRslt": 1, "NPt": 4, "NCrv": 3, "RvrtTms": 0,
            "RvrtRem": 0, "RvrtCrv": 0, "V_SF": -2, "DeptRef_SF": -2, "RspTms_SF": 0,
            # The second curve is locked as well: a client has to look before it writes.
            "Crv": [curve(1), curve(1), curve(0)],
        },
        715: {"LocRemCtl": 0, "DERHb": 7, "ControllerHb": 0, "AlarmReset": 0, "OpCtl": 1},
    },
    "meter": {
        1: COMMON,
        203: {
            "A": 152, "AphA": 51, "AphB": 50, "AphC": 51, "A_SF": -1,
            "PhV": 2303, "PhVphA": 2302, "PhVphB": 2303, "PhVphC": 2304, "V_SF": -1,
            "Hz": 5001, "Hz_SF": -2, "W": -351, "WphA": -117, "WphB": -117, "WphC": -117, "W_SF": 1,
            "VA": 352, "VA_SF": 1, "VAR": 12, "VAR_SF": 1, "PF": -99, "PF_SF": 0,
            "TotWhExp": 1111, "TotWhImp": 2222, "TotWh_SF": 3,
            "TotVAh_SF": 0, "TotVArh_SF": 0, "Evt": 0,
        },
    },
    "float-meter": {
        1: COMMON,
        211: {
            "A": 5.25, "AphA": 5.25, "PhV": 230.5, "PhVphA": 230.5, "Hz": 49.98, "W": 1205.5,
            "WphA": 1205.5, "VA": 1210.0, "VAR": -104.0, "PF": 0.996,
            "TotWhExp": 512.0, "TotWhImp": 262144.0, "Evt": 0,
        },
    },
    "battery": {
        1: COMMON,
        802: {
            "AHRtg": 100, "WHRtg": 500, "WChaRteMax": 300, "WDisChaRteMax": 300,
            "SoC": 873, "SoH": 99, "ChaSt": 3, "LocRemCtl": 0, "Hb": 1, "CtrlHb": 0, "AlmRst": 0,
            "Typ": 4, "State": 3, "Evt1": 0, "V": 5112, "A": 125, "AChaMax": 60, "ADisChaMax": 80,
            "W": 639, "SetOp": 1,
            "AHRtg_SF": 0, "WHRtg_SF": 1, "WChaDisChaMax_SF": 1, "SoC_SF": -1, "SoH_SF": 0, "V_SF": -2,
            "A_SF": -1, "AMax_SF": 0, "W_SF": 0,
        },
    },
    "float-inverter": {
        1: COMMON,
        111: {
            "A": 12.5, "AphA": 12.5, "PhVphA": 231.25, "W": 2875.5, "Hz": 50.02, "VA": 2890.0,
            "VAr": 290.0, "PF": 99.5, "WH": 1048576.0, "DCA": 7.5, "DCV": 395.0, "DCW": 2962.5,
            "St": 4, "Evt1": 0,
        },
        120: {"DERTyp": 4, "WRtg": 3000, "WRtg_SF": 0, "VARtg": 3000, "VARtg_SF": 0},
        121: {"WMax": 3000, "WMax_SF": 0, "VRef": 230, "VRef_SF": 0},
        123: {
            "Conn_WinTms": 0, "Conn_RvrtTms": 0, "Conn": 1, "WMaxLimPct": 100, "WMaxLimPct_SF": 0,
            "WMaxLimPct_WinTms": 0, "WMaxLimPct_RvrtTms": 0, "WMaxLimPct_RmpTms": 0, "WMaxLim_Ena": 0,
        },
        160: {
            "DCA_SF": -2, "DCV_SF": -1, "DCW_SF": 0, "DCWH_SF": 0, "Evt": 0, "N": 2, "TmsPer": 0,
            "module": [
                {"ID": 1, "DCA": 400, "DCV": 3950, "DCW": 1580, "DCSt": 4},
                {"ID": 2, "DCA": 350, "DCV": 3950, "DCW": 1382, "DCSt": 4},
            ],
        },
    },
}


def encode(number, values):
    """The registers of a model, its length among them."""
    model = sunspec.Model(number, data={"ID": number, "L": 0, **values})
    encoded = model.get_mb()
    words = [int.from_bytes(encoded[i : i + 2], "big") for i in range(0, len(encoded), 2)]
    words[1] = len(words) - 2
    return words


class Device:
    """The registers, and what happens when some of them are written."""

    def __init__(self, unit, chain):
        self.live = [0x5375, 0x6E53]
        self.models = {}
        for number, values in CHAINS[chain].items():
            self.models[number] = len(self.live)
            self.live += encode(number, values)
        self.live += [0xFFFF, 0]
        self.length = len(self.live)
        self.device = SimDevice(
            unit,
            simdata=[SimData(BASE, values=list(self.live), datatype=DataType.REGISTERS)],
            action=self.on_access,
        )

    async def on_access(self, _function, _start, address, _count, registers, values):
        """pymodbus calls this before every read and write."""
        if self.live is not registers:
            registers[: len(self.live)] = self.live
            self.live = registers
        if values is None or 705 not in self.models:
            return
        place = self.models[705] + 3 - (address - BASE)
        if 0 <= place < len(values):
            self.live[self.models[705] + 4] = 0
            asyncio.get_running_loop().call_later(ADOPT_S, self.adopt, values[place])

    def adopt(self, number):
        """Copies a curve to the first place, unless its voltages do not ascend."""
        first = self.models[705] + 15
        size = 10 + 2 * 4
        if not 1 <= number <= 3:
            self.live[self.models[705] + 4] = 2
            return
        copied = self.live[first + (number - 1) * size : first + number * size]
        volts = copied[10 : 10 + 2 * copied[0] : 2]
        if volts != sorted(volts) or not volts:
            self.live[self.models[705] + 4] = 2
            return
        copied[9] = 1
        self.live[first : first + size] = copied
        self.live[self.models[705] + 4] = 1

    def rescale(self):
        """Moves the scale factors of model 701 between two exponents, values staying the same."""
        at = self.models[701]
        finer = self.live[at + 116] == 1
        for offset in (10, 41, 64, 87):
            raw = self.live[at + offset]
            # The power is a multiple of ten here, so nothing is lost on the way.
            self.live[at + offset] = raw * 10 if finer else raw // 10
        self.live[at + 116] = 0 if finer else 1

    def dump(self):
        said = {"registers": self.live[: self.length]}
        if 705 in self.models:
            at = self.models[705]
            signed = [w - 0x10000 if w >= 0x8000 else w for w in self.live[at + 25 : at + 33]]
            said |= {
                "ena": self.live[at + 2],
                "curve": [[signed[i], signed[i + 1]] for i in range(0, 8, 2)],
                "revert_s": self.live[at + 8],
            }
        if 715 in self.models:
            at = self.models[715]
            said["controller_hb"] = self.live[at + 5] << 16 | self.live[at + 6]
        return said

    def obey(self, words):
        if words == ["dump"]:
            return self.dump()
        raise ValueError(f"unknown command: {' '.join(words)}")


async def main():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--port", type=int, default=0)
    options.add_argument("--unit", type=int, default=1)
    options.add_argument("--chain", choices=list(CHAINS), default="der")
    options.add_argument("--rescale", action="store_true")
    asked = options.parse_args()

    device = Device(asked.unit, asked.chain)
    server = ModbusTcpServer(device.device, address=("127.0.0.1", asked.port))
    await server.serve_forever(background=True)
    port = server.transport.sockets[0].getsockname()[1]

    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()

    def obey(words):
        async def run():
            return device.obey(words)

        return asyncio.run_coroutine_threadsafe(run(), loop).result()

    async def move():
        while True:
            await asyncio.sleep(0.3)
            device.rescale()

    moving = asyncio.create_task(move()) if asked.rescale else None
    peer.live(obey, lambda: loop.call_soon_threadsafe(stopped.set))
    peer.ready(port=port, unit=asked.unit, base=BASE, models=list(device.models))
    await stopped.wait()
    if moving:
        moving.cancel()
    await server.shutdown()


if __name__ == "__main__":
    asyncio.run(main())
