"""A hybrid inverter and a meter with registers of their makers, served by pymodbus.

Unit 1 is a Sungrow SH inverter: input registers with the low word first, and
three holding registers that take function 6 alone (mode, command, power; the
maker's table counts them from 13050). Unit 2 is a Carlo Gavazzi EM24 with
Ethernet: whole numbers with the low word first, in tenths and thousandths.
Both are written down from the makers' tables, not from gridrig's files.

Command: `dump` tells every write as [unit, function, register, words].
"""

import asyncio
import logging
import struct

import peer
from pymodbus import pymodbus_apply_logging_config
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

SUNGROW, EM24 = 1, 2
REGISTERS = 13100


def low_first(kind, value):
    high, low = struct.unpack(">HH", struct.pack(f">{kind}", value))
    return [low, high]


def one(kind, value):
    return list(struct.unpack(">H", struct.pack(f">{kind}", value)))


IMAGES = {
    SUNGROW: {
        5000: one("H", 100),               # nominal power, 0.1 kW
        5003: low_first("I", 45678),       # total output, 0.1 kWh
        5016: low_first("I", 70000),       # DC power, W
        5018: one("H", 2311), 5019: one("H", 2323), 5020: one("H", 2320),
        5035: one("H", 500),               # frequency, 0.1 Hz
        13019: one("H", 2561),             # battery voltage, 0.1 V
        13022: one("H", 555),              # state of charge, 0.1 %
        13033: low_first("i", -2500),      # active power, W
    },
    EM24: {
        0x00: low_first("i", 2307), 0x02: low_first("i", 2309), 0x04: low_first("i", 2295),
        0x0B: one("H", 1650),              # EM24DINAV23XE1PFB
        0x12: low_first("i", -4100), 0x14: low_first("i", -4120), 0x16: low_first("i", -4125),
        0x28: low_first("i", -12345),      # power of all phases, 0.1 W
        0x33: one("H", 499),               # frequency, 0.1 Hz
        0x34: low_first("i", 123456),      # energy in, 0.1 kWh
    },
}


def image(unit):
    words = [0] * REGISTERS
    for start, values in IMAGES[unit].items():
        words[start : start + len(values)] = values
    return words


class Bench:
    """The devices and what was written to them."""

    def __init__(self):
        self.writes = []
        self.devices = [self.device(unit) for unit in IMAGES]

    def device(self, unit):
        async def on_access(function, _start, address, _count, _registers, values):
            if values is not None:
                self.writes.append([unit, function, address, list(values)])

        bits = [SimData(0, values=[False] * 16, datatype=DataType.BITS)]
        return SimDevice(
            unit,
            simdata=(
                bits,
                bits,
                [SimData(0, values=[0] * REGISTERS, datatype=DataType.REGISTERS)],
                [SimData(0, values=image(unit), datatype=DataType.REGISTERS)],
            ),
            action=on_access,
        )

    def obey(self, command):
        if command == ["dump"]:
            return {"writes": self.writes}
        raise ValueError(f"unknown command: {' '.join(command)}")


async def main():
    pymodbus_apply_logging_config(logging.CRITICAL)
    bench = Bench()
    server = ModbusTcpServer(bench.devices, address=("127.0.0.1", 0))
    await server.serve_forever(background=True)
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    peer.live(bench.obey, lambda: loop.call_soon_threadsafe(stopped.set))
    peer.ready(port=server.transport.sockets[0].getsockname()[1])
    await stopped.wait()
    await server.shutdown()


if __name__ == "__main__":
    asyncio.run(main())
