"""A Pylontech-style battery on a socketcand bus or a serial line, sent by python-can.

Sends the golden frames every second, reconnects when the daemon restarts, and
prints each frame it receives as `{"received": "305", "data": "00..", "t": s}`,
so a test sees whether the controller keeps the battery alive.

Commands: `dump`, `set ID HEX` (replaces a frame), `mute`, `unmute`.
"""

import argparse
import threading
import time

import can
import can_bus
import peer
from lvcan import GOLDEN, KEEP_ALIVE_ID


class Battery:
    """The frames to send and the account of what came back."""

    def __init__(self, period_s):
        self.period_s = period_s
        self.frames = dict(GOLDEN)
        self.muted = threading.Event()
        self.stopped = threading.Event()
        self.rounds = self.keep_alives = 0
        self.began = time.monotonic()

    def converse(self, bus):
        """Sends and receives until it is told to stop or the connection dies."""
        due = time.monotonic()
        while not self.stopped.is_set():
            if time.monotonic() >= due:
                due += self.period_s
                self.send_round(bus)
            message = bus.recv(timeout=max(0.0, min(0.1, due - time.monotonic())))
            if message is not None:
                self.account(message)

    def send_round(self, bus):
        if self.muted.is_set():
            return
        for identifier, data in sorted(self.frames.items()):
            bus.send(
                can.Message(arbitration_id=identifier, data=data, is_extended_id=False)
            )
        self.rounds += 1

    def account(self, message):
        width = 8 if message.is_extended_id else 3
        if message.arbitration_id == KEEP_ALIVE_ID:
            self.keep_alives += 1
        peer.say(
            received=f"{message.arbitration_id:0{width}X}",
            data=bytes(message.data).hex().upper(),
            t=round(time.monotonic() - self.began, 3),
        )

    def obey(self, words):
        match words:
            case ["dump"]:
                return {"rounds": self.rounds, "keep_alives": self.keep_alives}
            case ["set", identifier, data]:
                self.frames[int(identifier, 16)] = bytes.fromhex(data)
                return {"set": identifier}
            case ["mute"]:
                self.muted.set()
                return {"muted": True}
            case ["unmute"]:
                self.muted.clear()
                return {"muted": False}
        raise ValueError(f"unknown command: {' '.join(words)}")


def main():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    can_bus.arguments(options)
    options.add_argument("--period-s", type=float, default=1.0)
    asked = options.parse_args()

    battery = Battery(asked.period_s)
    peer.live(battery.obey, battery.stopped.set)
    connections = 0
    while not battery.stopped.is_set():
        try:
            bus = can_bus.connect(asked)
        except (OSError, can.CanError):
            battery.stopped.wait(0.2)
            continue
        connections += 1
        if connections == 1:
            peer.ready(port=asked.port or 0)
        else:
            peer.say(reconnected=connections)
        try:
            battery.converse(bus)
        except (OSError, can.CanError) as reason:
            peer.say(lost=str(reason))
        bus.shutdown()


if __name__ == "__main__":
    main()
