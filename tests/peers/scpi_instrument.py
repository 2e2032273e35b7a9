"""A grid simulator that speaks SCPI, over TCP or on a pseudo-terminal.

sinstruments carries it: sockets, pty, the cutting of lines. Headers, short and
long, and the error queue are written down here from SCPI-1999, not from
gridrig's files. It sets and measures frequency, voltage, phase and output.

Commands: `dump`; `slow SECONDS` before each reply; `queue CODE TEXT` puts an
entry into the error queue; `refuse HEADER` answers that header's settings with
an execution error; `drift NAME VALUE` makes a setting what nobody asked for
whenever it is set; `unit FACTOR` multiplies what is read back of a setting, as
an instrument does that counts in another unit; `well` ends all of that.
"""

import argparse
import math
import os
import socket
import threading
from collections import deque

import gevent
import peer
from sinstruments.simulator import BaseDevice, Server

# Long form, capitals for the short one: the value it holds and the least and most it takes.
SETTINGS = {
    "FREQuency": ("f", 10.0, 1000.0),
    "VOLTage": ("v", 0.0, 600.0),
    "PHASe": ("phase", -180.0, 180.0),
}
MEASURED = ["FREQuency", "VOLTage", "POWer", "POWer:REACtive"]
LIMITS = ["FREQuency:LIMit:LOW", "FREQuency:LIMit:HIGH", "VOLTage:LIMit:LOW", "VOLTage:LIMit:HIGH"]
IDENTITY = "Foreign Instruments,GRIDSIM 3000,SN0042,2.1"


def spellings(header):
    """All ways in which a header may be written: each node short or long."""
    ways = [""]
    for node in header.split(":"):
        short = "".join(c for c in node if not c.islower())
        ways = [f"{way}:{n.upper()}" for way in ways for n in {short, node}]
    return {way[1:] for way in ways}


def table(headers, root):
    """Spelling: header. The root node may be left out where it is SOURce."""
    found = {}
    for header in headers:
        whole = f"{root}:{header}" if root else header
        for spelling in spellings(whole) | (spellings(header) if root == "SOURce" else set()):
            found[spelling] = header
    return found


SET = table(SETTINGS, "SOURce")
LIMIT = table(LIMITS, "SOURce")
MEASURE = table(MEASURED, "MEASure") | table(MEASURED, "FETCh")
OUTPUT = table(["OUTPut", "OUTPut:STATe"], "")
REMOTE = table(["SYSTem:REMote", "SYSTem:LOCal"], "")
ERRORS = table(["SYSTem:ERRor", "SYSTem:ERRor:NEXT"], "")


class Instrument(BaseDevice):
    """What is set, the error queue, and whatever is wrong with it."""

    def __init__(self, name, **options):
        super().__init__(name, **options)
        self.held = {"f": 60.0, "v": 0.0, "phase": 0.0, "on": False}
        self.limits, self.errors, self.heard = {}, deque(), []
        self.remote = False
        self.well()

    def well(self):
        self.slow, self.refused, self.drift, self.factor = 0.0, None, {}, 1.0

    def handle_message(self, message):
        text = message.decode("ascii", "replace").strip()
        if not text:
            return None
        self.heard.append(text)
        replies, path = [], []
        for part in text.split(";"):
            part = part.strip()
            header, _, parameter = part.partition(" ")
            if not header.startswith("*"):
                nodes = header[1:].split(":") if header.startswith(":") else path + header.split(":")
                path = nodes[:-1]
                header = ":".join(nodes)
            reply = self.answer(header.upper(), parameter.strip())
            if reply is not None:
                replies.append(reply)
        if not replies:
            return None
        if self.slow:
            gevent.sleep(self.slow)
        return (";".join(replies) + "\n").encode()

    def fault(self, code, text):
        if len(self.errors) < 20:
            self.errors.append((code, text))

    def answer(self, header, parameter):
        if header.endswith("?"):
            reply = self.ask(header[:-1])
            if reply is None:
                self.fault(-113, "Undefined header")
            return reply
        self.tell(header, parameter)
        return None

    def ask(self, header):
        if header == "*IDN":
            return IDENTITY
        if header == "*OPC":
            return "1"
        if header in ERRORS:
            code, text = self.errors.popleft() if self.errors else (0, "No error")
            return f'{code},"{text}"'
        if header in OUTPUT:
            return str(int(self.held["on"]))
        if header in SET:
            return f"{self.held[SETTINGS[SET[header]][0]] * self.factor:.6g}"
        if header in MEASURE:
            return f"{self.measured(MEASURE[header]):.4E}"
        return None

    def measured(self, what):
        on = self.held["on"]
        return {
            "FREQuency": self.held["f"] if on else 9.91e37,
            "VOLTage": self.held["v"] if on else 0.0,
            "POWer": 1250.0 if on else 0.0,
            "POWer:REACtive": -310.0 if on else 0.0,
        }[what]

    def tell(self, header, parameter):
        if header == "*CLS":
            self.errors.clear()
        elif self.refused in (header, SET.get(header), OUTPUT.get(header)) and self.refused:
            self.fault(-200, "Execution error")
        elif header in REMOTE:
            self.remote = REMOTE[header] == "SYSTem:REMote"
        elif header in OUTPUT:
            word = parameter.upper()
            if word in ("ON", "1", "OFF", "0"):
                self.held["on"] = word in ("ON", "1")
            else:
                self.fault(-104, "Data type error")
        elif header in LIMIT or header in SET:
            self.number(header, parameter)
        else:
            self.fault(-113, "Undefined header")

    def number(self, header, parameter):
        try:
            value = float(parameter)
        except ValueError:
            self.fault(-109 if not parameter else -104, "Missing parameter or data type")
            return
        if header in LIMIT:
            self.limits[LIMIT[header]] = value
            return
        setting = SET[header]
        name, low, high = SETTINGS[setting]
        low = self.limits.get(f"{setting}:LIMit:LOW", low)
        high = self.limits.get(f"{setting}:LIMit:HIGH", high)
        if not math.isfinite(value) or not low <= value <= high:
            self.fault(-222, "Data out of range")
            return
        self.held[name] = self.drift.get(name, value)

    def obey(self, command):
        match command:
            case ["dump"]:
                return {
                    "held": self.held, "limits": self.limits, "remote": self.remote,
                    "errors": len(self.errors), "heard": self.heard[-200:],
                }
            case ["slow", seconds]:
                self.slow = float(seconds)
            case ["queue", code, *text]:
                self.errors.append((int(code), " ".join(text)))
            case ["refuse", header]:
                self.refused = header
            case ["drift", name, value] if name in self.held:
                self.drift[name] = float(value)
            case ["unit", factor]:
                self.factor = float(factor)
            case ["well"]:
                self.well()
            case _:
                raise ValueError(f"unknown command: {' '.join(command)}")
        return {"done": command[0]}


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def main():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--pty", help="link that is made to a pseudo-terminal; without it TCP is served")
    options.add_argument("--port", type=int, default=0)
    asked = options.parse_args()
    port = asked.port or free_port()
    transport = (
        {"type": "serial", "url": os.path.abspath(asked.pty)} if asked.pty
        else {"type": "tcp", "url": ["127.0.0.1", port]}
    )
    server = Server(
        devices=[{"class": "Instrument", "package": "__main__", "name": "grid", "transports": [transport]}],
    )
    tasks = server.start()
    gevent.sleep(0.05)
    # Commands are obeyed in a thread of their own; what they touch is set, never counted.
    peer.live(server.get_device_by_name("grid").obey, lambda: os._exit(0))
    assert threading.active_count() > 1
    peer.ready(port=port, pty=asked.pty)
    gevent.joinall(tasks)


if __name__ == "__main__":
    main()
