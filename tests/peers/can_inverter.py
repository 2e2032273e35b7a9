"""A storage inverter on CAN as its owner's DBC file has it: python-can carries, cantools codes.

It reports its power ten times a second and its battery on two pages five
times, and obeys `PowerCommand` while its mode is 1. A second without a
command and it falls back to nothing, as `inverter.toml` says of it.

Commands: `dump` (the account below), `deaf` and `hearing` (commands are passed
over, as by an inverter in local control).
"""

import argparse
import pathlib
import threading
import time

import can
import can_bus
import cantools
import peer

# Seconds between reports, without a command until it falls back.
STATUS_S, BATTERY_S, REVERT_S = 0.1, 0.2, 1.0
BATTERY = {
    0: {"Page": 0, "Charge": 63.25, "Voltage": 51.2},
    1: {"Page": 1, "Current": -12.5, "Temperature": 31},
}


class Inverter:
    def __init__(self, database):
        self.database = database
        self.command = database.get_message_by_name("PowerCommand")
        self.stopped, self.deaf = threading.Event(), threading.Event()
        self.taken, self.heard_at = 0.0, None
        # What came: values in watts in the order of their first frame, and what was wrong with them.
        self.wanted, self.commands, self.reverts = [], 0, 0
        self.count, self.gaps, self.modes = None, 0, set()
        self.gap_s_max = 0.0

    def converse(self, bus):
        now = time.monotonic()
        status_due, battery_due, page = now, now, 0
        while not self.stopped.is_set():
            now = time.monotonic()
            if now >= status_due:
                status_due += STATUS_S
                self.say(
                    bus,
                    "PowerStatus",
                    # It loses two percent on the way, so that what it does is not what it was told.
                    {"PowerTaken": self.taken, "Power": self.taken * 0.98 / 1000, "Reactive": 150},
                )
            if now >= battery_due:
                battery_due += BATTERY_S
                self.say(bus, "Battery", BATTERY[page])
                page = 1 - page
            due = min(status_due, battery_due)
            message = bus.recv(timeout=max(0.0, due - time.monotonic()))
            if message is not None and message.arbitration_id == self.command.frame_id:
                self.hear(bytes(message.data))
            # What waits to be read has come in time, however late the system lets us read it.
            if message is None and self.taken and time.monotonic() - self.heard_at > REVERT_S:
                self.taken = 0.0
                self.reverts += 1

    def say(self, bus, name, values):
        message = self.database.get_message_by_name(name)
        bus.send(
            can.Message(
                arbitration_id=message.frame_id,
                is_extended_id=message.is_extended_frame,
                data=message.encode(values),
            )
        )

    def hear(self, data):
        command = self.command.decode(data)
        now = time.monotonic()
        self.commands += 1
        self.modes.add(command["Mode"])
        if self.count is not None and command["Count"] != (self.count + 1) % 16:
            self.gaps += 1
        self.count = command["Count"]
        if self.heard_at is not None:
            self.gap_s_max = max(self.gap_s_max, now - self.heard_at)
        if self.deaf.is_set() or command["Mode"] != 1:
            return
        self.heard_at = now
        self.taken = float(command["PowerWanted"])
        if not self.wanted or self.wanted[-1] != self.taken:
            self.wanted.append(self.taken)

    def obey(self, words):
        match words:
            case ["dump"]:
                return {
                    "wanted_w": self.wanted,
                    "taken_w": self.taken,
                    "commands": self.commands,
                    "modes": sorted(self.modes),
                    "counter_gaps": self.gaps,
                    "gap_s_max": round(self.gap_s_max, 3),
                    "reverts": self.reverts,
                }
            case ["deaf"]:
                self.deaf.set()
                return {"deaf": True}
            case ["hearing"]:
                self.deaf.clear()
                return {"deaf": False}
        raise ValueError(f"unknown command: {' '.join(words)}")


def main():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    can_bus.arguments(options)
    asked = options.parse_args()
    database = cantools.database.load_file(pathlib.Path(__file__).with_name("inverter.dbc"))
    inverter = Inverter(database)
    peer.live(inverter.obey, inverter.stopped.set)
    bus = can_bus.connect(asked)
    peer.ready(port=asked.port or 0)
    inverter.converse(bus)
    bus.shutdown()


if __name__ == "__main__":
    main()
