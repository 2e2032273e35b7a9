"""Random DBC files, and random frames of them as cantools reads and writes them.

`--seed N --files COUNT --frames COUNT` writes one JSON line for each file:

    {"dbc": TEXT, "messages": [{"name", "frames": [..], "writes": [..]}]}

A frame is `{"data": HEX, "signals": {NAME: {"raw", "value"}}}`: what cantools
reads, and nothing for a signal that is not in this frame (another page of the
multiplexer, or beyond the end of a short frame). A write is `{"values": {NAME:
VALUE}, "raws": {NAME: RAW or null}, "data": HEX}`: the bytes that cantools
makes of values in the file's unit; null where the bits cannot carry the value.

Raw numbers are decimal text, for they may have 64 bits; values are the 16
hexadecimal digits of a double, for they must arrive to the last bit. The same
seed gives the same lines.
"""

import argparse
import json
import random
import struct
import sys

import cantools

# Lengths of frames; those above eight bytes are frames of CAN FD.
LENGTHS = [*range(1, 9), 8, 8, 8, 12, 16, 20, 24, 32, 48, 64]
FACTORS = [1, 2, 0.5, 0.1, 0.01, 1e-3, -1, -0.1, 0.25, 3, 1.7, 1e-7, 65536]
OFFSETS = [0, 0, 0, 1, -40, 0.5, -273.15, 1e6, -32768]
# How often, in frames of a message.
SHORT, JUNK = 0.15, 0.1
SIGNALS_MAX = 7


def positions(start, length, big):
    """The bits of a signal as byte * 8 + bit, the least significant first."""
    if not big:
        return [start + n for n in range(length)]
    from_top = 8 * (start // 8) + 7 - start % 8
    return [
        8 * (place // 8) + 7 - place % 8
        for place in reversed(range(from_top, from_top + length))
    ]


class Message:
    """The lines of a random message, and which signals choose its pages."""

    def __init__(self, chance, number):
        self.chance = chance
        self.name = f"M{number}"
        self.size = chance.choice(LENGTHS)
        # Eight bytes with 29 bits are as common as with 11.
        self.identifier = 0x100 + number if chance.random() < 0.5 else 0x80000000 | 0x18FE0000 | number
        self.lines, self.later, self.names = [], [], []
        self.taken = set()
        layout = chance.choice(["plain", "plain", "pages", "nested"])
        if layout == "plain":
            for _ in range(chance.randint(1, SIGNALS_MAX)):
                self.signal("", self.taken)
        else:
            self.pages(nested=layout == "nested")

    def place(self, taken, length=None):
        """Free bits for a signal; None when a few attempts found none."""
        for _ in range(40):
            big = self.chance.random() < 0.5
            bits = length or self.chance.choice([1, 2, 7, 8, 12, 16, 24, 31, 32, 33, 53, 63, 64, self.chance.randint(1, 64)])
            start = self.chance.randrange(8 * self.size)
            where = positions(start, bits, big)
            if max(where) < 8 * self.size and not taken & set(where):
                taken |= set(where)
                return start, bits, big
        return None

    def signal(self, mark, taken, whole_length=None):
        """Adds a signal, unless there is no room; its name."""
        is_float = whole_length is None and self.chance.random() < 0.15
        length = whole_length or (self.chance.choice([32, 64]) if is_float else None)
        found = self.place(taken, length)
        if found is None:
            return None
        start, bits, big = found
        switch = whole_length is not None
        signed = not switch and (is_float or self.chance.random() < 0.5)
        factor = 1 if switch else self.chance.choice(FACTORS)
        offset = 0 if switch else self.chance.choice(OFFSETS)
        name = f"S{len(self.names)}"
        self.names.append(name)
        self.lines.append(
            f" SG_ {name} {mark}{' ' if mark else ''}: {start}|{bits}@{'0' if big else '1'}"
            f"{'-' if signed else '+'} ({factor},{offset}) [0|0] \"\" B"
        )
        if is_float:
            self.later.append(f"SIG_VALTYPE_ {self.identifier} {name} : {1 if bits == 32 else 2};")
        return name

    def pages(self, nested):
        """A multiplexer with pages; when nested, one page has a multiplexer of its own."""
        switch = self.signal("M", self.taken, self.chance.choice([2, 3, 4, 8]))
        if switch is None:
            self.signal("", self.taken)
            return
        self.signal("", self.taken)
        for page in range(self.chance.randint(1, 3)):
            taken = set(self.taken)
            if nested and page == 0:
                inner = self.signal("m0M", taken, 2)
                if inner is None:
                    continue
                self.later.append(f"SG_MUL_VAL_ {self.identifier} {inner} {switch} 0-0;")
                for value in range(self.chance.randint(1, 2)):
                    # The upper values of the inner multiplexer are one range.
                    deep, end = set(taken), 3 if value else 0
                    name = self.signal(f"m{value}", deep)
                    if name:
                        self.later.append(f"SG_MUL_VAL_ {self.identifier} {name} {inner} {value}-{end};")
            else:
                for _ in range(self.chance.randint(1, 2)):
                    name = self.signal(f"m{page}", taken)
                    if nested and name:
                        self.later.append(f"SG_MUL_VAL_ {self.identifier} {name} {switch} {page}-{page};")

    def text(self):
        return "\n".join([f"BO_ {self.identifier} {self.name}: {self.size} A", *self.lines])


def file(chance):
    messages = [m for m in (Message(chance, n) for n in range(3)) if m.names]
    text = 'VERSION ""\n\nNS_ :\n\nBS_:\n\nBU_: A B\n\n'
    text += "\n\n".join(m.text() for m in messages) + "\n\n"
    return text + "\n".join(line for m in messages for line in m.later) + "\n"


def double(value):
    return struct.pack(">d", float(value)).hex()


def random_raw(chance, signal):
    if signal.is_float:
        code = "f" if signal.length == 32 else "d"
        return struct.unpack(code, chance.randbytes(struct.calcsize(code)))[0]
    low = -(1 << signal.length - 1) if signal.is_signed else 0
    high = low + (1 << signal.length) - 1
    return chance.choice([low, high, 0, chance.randint(low, high), chance.randint(low, high)])


def page_of(chance, message):
    """Random raw numbers for all signals, with multiplexers that choose a page that is there."""
    raws = {s.name: random_raw(chance, s) for s in message.signals}

    def choose(tree):
        for entry in tree:
            if isinstance(entry, dict):
                for switch, pages in entry.items():
                    raws[switch] = chance.choice(sorted(pages))
                    choose(pages[raws[switch]])

    choose(message.signal_tree)
    return raws


def data_of(chance, message):
    """Bytes of a frame: mostly of a page that is there, sometimes anything, sometimes too few."""
    if chance.random() < JUNK:
        data = chance.randbytes(message.length)
    else:
        made = message.encode(page_of(chance, message), scaling=False, strict=False)
        padded = message.encode(page_of(chance, message), scaling=False, strict=False, padding=True)
        data = chance.choice([made, padded])
    if chance.random() < SHORT and message.length <= 8:
        data = data[: chance.randint(0, message.length)]
    return data


def read(message, data):
    """What cantools reads; None when it refuses the frame as a whole."""
    try:
        raws = message.decode(data, decode_choices=False, scaling=False, allow_truncated=True)
        values = message.decode(data, decode_choices=False, scaling=True, allow_truncated=True)
    except (cantools.database.DecodeError, KeyError):
        # A multiplexer that chooses no page, or that is cut off.
        return None
    signals = {}
    for name, raw in raws.items():
        is_float = message.get_signal_by_name(name).is_float
        signals[name] = {
            "raw": None if is_float else str(raw),
            "value": double(values[name]),
        }
    return signals


def write(chance, message):
    """Values in the file's unit, and the bytes that cantools makes of them."""
    raws = page_of(chance, message)
    data = message.encode(raws, scaling=False, strict=False)
    present = message.decode(data, decode_choices=False, scaling=False)
    values, expected = {}, {}
    for name, raw in present.items():
        signal = message.get_signal_by_name(name)
        value = signal.raw_to_scaled(raw, decode_choices=False)
        if not signal.is_multiplexer and not signal.is_float:
            # Off the grid, but not so far that it is a matter of taste which raw number is nearer.
            value += chance.uniform(-0.45, 0.45) * abs(signal.scale)
            if chance.random() < 0.1:
                value += chance.choice([-1, 1]) * abs(signal.scale) * 2.0**signal.length
        if not signal.is_float and (value - signal.offset) / signal.scale % 1 == 0.5:
            # Between two raw numbers cantools takes the even one, we the one farther from zero.
            value = signal_zero(signal)
        values[name] = value = float(value)
        expected[name] = carried(signal, value)
    if None in expected.values():
        # What cannot be carried is left zero by both: it has a raw number, but no value.
        raws = {
            n: 0 if expected[n] is None else message.get_signal_by_name(n).scaled_to_raw(v)
            for n, v in values.items()
        }
        encoded = message.encode(raws, scaling=False, strict=False)
    else:
        encoded = message.encode(values, scaling=True, strict=False)
    return {
        "values": {n: double(v) for n, v in values.items()},
        "raws": expected,
        "data": encoded.hex(),
    }


def signal_zero(signal):
    return signal.raw_to_scaled(0, decode_choices=False)


def carried(signal, value):
    """The raw number of a value, as text; None when the bits cannot carry it."""
    try:
        raw = signal.scaled_to_raw(value)
        if signal.is_float:
            struct.pack("f" if signal.length == 32 else "d", raw)
            return "float" if abs(raw) < float("inf") else None
    except (OverflowError, ValueError):
        return None
    low = -(1 << signal.length - 1) if signal.is_signed else 0
    return str(raw) if low <= raw < low + (1 << signal.length) else None


def main():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--files", type=int, default=100)
    options.add_argument("--frames", type=int, default=20)
    asked = options.parse_args()
    for number in range(asked.files):
        chance = random.Random(asked.seed * 1_000_003 + number)
        text = file(chance)
        database = cantools.database.load_string(text, "dbc")
        messages = []
        for message in database.messages:
            frames = []
            for _ in range(asked.frames):
                data = data_of(chance, message)
                signals = read(message, data)
                if signals is not None:
                    frames.append({"data": data.hex(), "signals": signals})
            writes = [write(chance, message) for _ in range(asked.frames // 2)]
            messages.append({"name": message.name, "frames": frames, "writes": writes})
        json.dump({"dbc": text, "messages": messages}, sys.stdout)
        print(flush=True)


if __name__ == "__main__":
    main()
