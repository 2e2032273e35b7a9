"""Listens to a battery on a socketcand bus or a serial adapter with python-can and cantools.

For a fixed time it collects frames, decodes each by `lvcan.dbc` and prints
one JSON line: per message the newest signals and how many frames came, and
the identifiers nobody could decode. With `--keep-alive` it also plays the
inverter and sends 0x305 every second.
"""

import argparse
import json
import pathlib
import time

import can
import can_bus
import cantools
from lvcan import KEEP_ALIVE_ID


def main():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    can_bus.arguments(options)
    options.add_argument("--for-s", type=float, default=2.5)
    options.add_argument("--keep-alive", action="store_true")
    asked = options.parse_args()

    database = cantools.database.load_file(pathlib.Path(__file__).with_name("lvcan.dbc"))
    known = {message.frame_id: message for message in database.messages}
    bus = can_bus.connect(asked)
    decoded, counts, frames, unknown = {}, {}, {}, set()
    end = time.monotonic() + asked.for_s
    next_keep_alive = time.monotonic()
    while time.monotonic() < end:
        if asked.keep_alive and time.monotonic() >= next_keep_alive:
            next_keep_alive += 1.0
            bus.send(
                can.Message(
                    arbitration_id=KEEP_ALIVE_ID, data=bytes(8), is_extended_id=False
                )
            )
        message = bus.recv(timeout=0.05)
        if message is None:
            continue
        identifier = message.arbitration_id
        frames[f"{identifier:03X}"] = bytes(message.data).hex().upper()
        if identifier not in known:
            unknown.add(f"{identifier:03X}")
            continue
        name = known[identifier].name
        # A strict decoder would hide a battery that leaves bytes away.
        decoded[name] = known[identifier].decode(bytes(message.data), allow_truncated=True)
        counts[name] = counts.get(name, 0) + 1
    bus.shutdown()
    print(
        json.dumps(
            {"decoded": decoded, "counts": counts, "frames": frames, "unknown": sorted(unknown)}
        )
    )


if __name__ == "__main__":
    main()
