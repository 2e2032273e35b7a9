"""An Eastron SDM630 on a serial line, served by pymodbus.

Input registers (function 4), each value a big-endian 32-bit float, in the
layout of the maker's manual; the meter counts import as positive. The serial
path is one end of a pseudo-terminal pair, so parity must stay N: a pty does
not keep it, and pyserial stumbles over that.

Commands: `dump`, `set NAME VALUE` with the names of LAYOUT.
"""

import argparse
import asyncio
import logging
import struct

import peer
from pymodbus import pymodbus_apply_logging_config
from pymodbus.framer import FramerType
from pymodbus.server import ModbusSerialServer
from pymodbus.simulator import DataType, SimData, SimDevice
from pymodbus.simulator.simutils import SimUtils

# Name: first register, value at the start. V, A, W, VA, var, 1, Hz, kWh, kvarh.
LAYOUT = {
    "v1": (0x00, 230.1), "v2": (0x02, 230.9), "v3": (0x04, 229.4),
    "i1": (0x06, 5.02), "i2": (0x08, 4.81), "i3": (0x0A, 6.13),
    "p1": (0x0C, 1150.0), "p2": (0x0E, 1105.5), "p3": (0x10, 1400.25),
    "s1": (0x12, 1155.1), "s2": (0x14, 1110.6), "s3": (0x16, 1406.2),
    "q1": (0x18, 108.0), "q2": (0x1A, 106.5), "q3": (0x1C, 129.0),
    "pf1": (0x1E, 0.9956), "pf2": (0x20, 0.9954), "pf3": (0x22, 0.9958),
    "p": (0x34, 3655.75), "s": (0x38, 3671.9), "q": (0x3C, 343.5), "pf": (0x3E, 0.9956),
    "f": (0x46, 49.98),
    "import_kwh": (0x48, 1234.5), "export_kwh": (0x4A, 56.75),
    "import_kvarh": (0x4C, 78.5), "export_kvarh": (0x4E, 9.25),
    "total_kwh": (0x156, 1291.25),
}
# The real meter answers every register of its block, with 0 where it measures
# nothing, so a client may read across the gaps.
REGISTERS = 0x180


def words(value):
    return SimUtils.bytesToRegisters(struct.pack(">f", value))


class Meter:
    """The register block and the values in it."""

    def __init__(self, unit):
        self.values = {name: value for name, (_, value) in LAYOUT.items()}
        self.requests = 0
        unused = [SimData(0, values=0, datatype=DataType.REGISTERS)]
        self.device = SimDevice(
            unit,
            simdata=(
                [SimData(0, values=[False] * 16, datatype=DataType.BITS)],
                [SimData(0, values=[False] * 16, datatype=DataType.BITS)],
                unused,
                [SimData(0, values=[0] * REGISTERS, datatype=DataType.REGISTERS)],
            ),
            action=self.on_access,
        )

    async def on_access(self, function, start, _address, _count, registers, _values):
        """Puts the current values into the block before it is read."""
        self.requests += 1
        if function == 4:
            for name, (at, _) in LAYOUT.items():
                registers[at - start : at - start + 2] = words(self.values[name])

    def obey(self, command):
        match command:
            case ["dump"]:
                return {"values": self.values, "requests": self.requests}
            case ["set", name, value] if name in self.values:
                self.values[name] = float(value)
                return {name: self.values[name]}
        raise ValueError(f"unknown command: {' '.join(command)}")


def only_from(unit):
    """Keeps the server silent when another meter of the line is asked.

    pymodbus would answer with an exception in the other's name, and its
    `ignore_missing_devices` does not reach a SimDevice.
    """

    def trace(sending, packet):
        return b"" if sending and packet[0] != unit else packet

    return trace


async def main():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--pty", required=True, help="serial device or pty to serve on")
    options.add_argument("--unit", type=int, default=1)
    options.add_argument("--baud", type=int, default=9600)
    asked = options.parse_args()

    # A request to another unit is no error worth a traceback.
    pymodbus_apply_logging_config(logging.CRITICAL)
    meter = Meter(asked.unit)
    server = ModbusSerialServer(
        meter.device,
        framer=FramerType.RTU,
        port=asked.pty,
        baudrate=asked.baud,
        parity="N",
        trace_packet=only_from(asked.unit),
    )
    await server.serve_forever(background=True)
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    peer.live(meter.obey, lambda: loop.call_soon_threadsafe(stopped.set))
    peer.ready(pty=asked.pty, unit=asked.unit)
    await stopped.wait()
    await server.shutdown()


if __name__ == "__main__":
    asyncio.run(main())
