"""A Pylontech-style battery on a socketcand bus, sent by python-can.

Sends the golden frames every second and prints each frame it receives as
`{"received": "305", "data": "0000000000000000", "t": seconds}`, so a test sees
whether the controller keeps the battery alive.

Commands: `dump`, `set ID HEX` (replaces a frame), `mute`, `unmute`.
"""

import argparse
import threading
import time

import can
import peer
from lvcan import GOLDEN, KEEP_ALIVE_ID


class Battery:
    """The frames to send and the account of what came back."""

    def __init__(self, bus, period_s):
        self.bus, self.period_s = bus, period_s
        self.frames = dict(GOLDEN)
        self.muted = threading.Event()
        self.stopped = threading.Event()
        self.rounds = self.keep_alives = 0

    def send_rounds(self):
        while not self.stopped.is_set():
            if not self.muted.is_set():
                for identifier, data in sorted(self.frames.items()):
                    self.bus.send(
                        can.Message(
                            arbitration_id=identifier, data=data, is_extended_id=False
                        )
                    )
                self.rounds += 1
            self.stopped.wait(self.period_s)

    def receive(self):
        began = time.monotonic()
        while not self.stopped.is_set():
            message = self.bus.recv(timeout=0.1)
            if message is None:
                continue
            width = 8 if message.is_extended_id else 3
            if message.arbitration_id == KEEP_ALIVE_ID:
                self.keep_alives += 1
            peer.say(
                received=f"{message.arbitration_id:0{width}X}",
                data=bytes(message.data).hex().upper(),
                t=round(time.monotonic() - began, 3),
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
    options.add_argument("--host", default="127.0.0.1")
    options.add_argument("--port", type=int, required=True)
    options.add_argument("--bus", default="can0")
    options.add_argument("--period-s", type=float, default=1.0)
    asked = options.parse_args()

    bus = can.Bus(
        interface="socketcand", channel=asked.bus, host=asked.host, port=asked.port
    )
    battery = Battery(bus, asked.period_s)
    peer.live(battery.obey, battery.stopped.set)
    peer.ready(port=asked.port)
    sending = threading.Thread(target=battery.send_rounds)
    sending.start()
    battery.receive()
    sending.join()
    bus.shutdown()


if __name__ == "__main__":
    main()
