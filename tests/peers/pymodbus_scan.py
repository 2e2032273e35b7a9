"""pymodbus in the benches: a client of many devices, of a late one, or a server.

`scan` reads the same registers of many devices at a fixed rate, each over a
connection of its own, all in one asyncio loop. It prints when each device has
answered and what CPU time the loop took; `gridrig bench modbus` does the sums.
A device that falls behind by a whole period skips what it missed, as ours.

`late` reads single registers from a unit that answers every tenth request too
late; register N holds N exclusive-or 0x5a5a. It prints how many answers were
right, wrong and missing.

Both print one JSON line and end.

`serve` is an asyncio server with a device of 64 holding registers; it prints
{"ready": true, "port": ...} and leaves when standard input closes.
"""

import argparse
import asyncio
import json
import socket
import sys
import time

import peer
import pymodbus
from pymodbus import pymodbus_apply_logging_config
from pymodbus.client import AsyncModbusTcpClient, ModbusTcpClient
from pymodbus.exceptions import ModbusException
from pymodbus.framer import FramerType
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice


async def read_on(client, options, start, answers, count):
    """Reads one device on its grid until it is told to stop."""
    period = 1.0 / options.hz
    due = time.perf_counter()
    while True:
        try:
            result = await client.read_holding_registers(0, count=options.registers)
            good = not result.isError() and len(result.registers) == options.registers
        except ModbusException:
            good = False
        now = time.perf_counter()
        if good:
            answers.append(now - start)
        else:
            count["failed"] += 1
        due += period
        if due + period < now:
            due = now
        await asyncio.sleep(max(0.0, due - now))


async def scan(options):
    clients = []
    for port in options.ports:
        client = AsyncModbusTcpClient(
            "127.0.0.1", port=port, timeout=options.timeout, retries=0
        )
        if not await client.connect():
            raise ConnectionError(f"port {port} does not answer")
        clients.append(client)
    start = time.perf_counter()
    count = {"failed": 0}
    answers = [[] for _ in clients]
    tasks = [
        asyncio.create_task(read_on(client, options, start, times, count))
        for client, times in zip(clients, answers)
    ]
    await asyncio.sleep(options.warm_up)
    begin, before, failed = time.perf_counter() - start, time.process_time(), count["failed"]
    await asyncio.sleep(options.seconds)
    cpu, failed = time.process_time() - before, count["failed"] - failed
    await asyncio.sleep(options.after)
    for task in tasks:
        task.cancel()
    for client in clients:
        client.close()
    return {
        "version": pymodbus.__version__,
        "cpu_s": cpu,
        "from_s": begin,
        "failed": failed,
        "answers_s": [[round(t, 6) for t in times] for times in answers],
    }


def late(options):
    count = {"right": 0, "wrong": 0, "lost": 0}
    client = ModbusTcpClient(
        "127.0.0.1",
        port=options.port,
        framer=FramerType(options.framer),
        timeout=options.timeout,
        retries=0,
    )
    if not client.connect():
        raise ConnectionError(f"port {options.port} does not answer")
    for turn in range(options.reads):
        address = options.spread * (turn % options.addresses)
        try:
            result = client.read_holding_registers(address, count=1)
            # Of an answer with too many registers the first one counts, as for the other clients.
            if result.isError() or not result.registers:
                count["lost"] += 1
            elif result.registers[0] == address ^ 0x5A5A:
                count["right"] += 1
            else:
                count["wrong"] += 1
        except ModbusException:
            count["lost"] += 1
            # The client has closed the connection: a new one, as any program would.
            client.connect()
        time.sleep(options.gap)
    client.close()
    return {"version": pymodbus.__version__, **count}


async def serve():
    device = SimDevice(1, simdata=[SimData(0, values=[7] * 64, datatype=DataType.REGISTERS)])
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = ModbusTcpServer(device, address=("127.0.0.1", port))
    await server.serve_forever(background=True)
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()

    def obey(command):
        raise ValueError(f"unknown command: {' '.join(command)}")

    peer.live(obey, lambda: loop.call_soon_threadsafe(stopped.set))
    peer.ready(port=port, version=pymodbus.__version__)
    await stopped.wait()
    await server.shutdown()


def main():
    parser = argparse.ArgumentParser()
    verbs = parser.add_subparsers(dest="verb", required=True)
    verb = verbs.add_parser("scan")
    verb.add_argument("--hz", type=float, required=True)
    verb.add_argument("--seconds", type=float, required=True)
    verb.add_argument("--warm-up", type=float, required=True)
    verb.add_argument("--after", type=float, required=True)
    verb.add_argument("--timeout", type=float, required=True)
    verb.add_argument("--registers", type=int, required=True)
    verb.add_argument("ports", type=int, nargs="+")
    verb = verbs.add_parser("late")
    verb.add_argument("--framer", choices=["rtu", "socket"], required=True)
    verb.add_argument("--port", type=int, required=True)
    verb.add_argument("--timeout", type=float, required=True)
    verb.add_argument("--gap", type=float, required=True)
    verb.add_argument("--reads", type=int, required=True)
    verb.add_argument("--addresses", type=int, required=True)
    verb.add_argument("--spread", type=int, required=True)
    verbs.add_parser("serve")
    options = parser.parse_args()
    pymodbus_apply_logging_config("CRITICAL")
    if options.verb == "serve":
        asyncio.run(serve())
        return
    try:
        answer = asyncio.run(scan(options)) if options.verb == "scan" else late(options)
    except (ConnectionError, ModbusException) as reason:
        print(json.dumps({"error": str(reason)}), flush=True)
        sys.exit(1)
    print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
