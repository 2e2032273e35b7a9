"""Prints the layouts of SunSpec models as `drivers/profile/sunspec/models.toml` has them.

The facts (offsets, names, types, sizes, scale factors, units, access) are computed
from the model definitions that come with pysunspec2, so that this file is the one
place where the two are compared: `interop_sunspec` runs it and wants the very bytes
of the bundled file. To add a model, add its number to `MODELS` and write the output
over the file.
"""

import json
import pathlib

import sunspec2

# The models that gridrig knows.
MODELS = [
    1,
    *range(101, 104), *range(111, 114),
    *range(120, 125), 160,
    *range(201, 205), *range(211, 215),
    *range(701, 716), 802,
]
# Registers of a type that has a fixed size.
SIZES = {
    "int16": 1, "uint16": 1, "count": 1, "enum16": 1, "bitfield16": 1, "sunssf": 1, "pad": 1,
    "int32": 2, "uint32": 2, "acc32": 2, "enum32": 2, "bitfield32": 2, "float32": 2,
    "int64": 4, "uint64": 4, "acc64": 4,
}
HEAD = """\
# Layouts of SunSpec models: facts only (offsets, names, types, sizes, units, access),
# from the model definitions of the SunSpec Alliance as published with pysunspec2 1.3.7.
# Written by `tests/peers/sunspec_models.py`; a test compares the two.
# A point is written `offset name type size scale access unit`; `-` stands for none, the unit
# runs to the end of the line. Offsets count registers from the model's ID register. Members
# of a nested group carry its name and a dot. `length` leaves out the ID and length registers.
# A `group` stands behind the points, as often as its `count` point says (`*`: as often as the
# length register leaves room for; `1`: once, inside one that repeats); its offsets count from
# where one of them begins.
"""


def lines(points, offset, prefix=""):
    """The lines of some points, and the offset behind them."""
    written = []
    for point in points:
        size = point.get("size") or SIZES[point["type"]]
        if point["type"] in SIZES and SIZES[point["type"]] != size:
            raise ValueError(f"{prefix}{point['name']}: {size} registers for a {point['type']}")
        access = "rw" if point.get("access") == "RW" else "r"
        words = [
            offset, prefix + point["name"], point["type"], size,
            point.get("sf") or "-", access, (point.get("units") or "-").strip(),
        ]
        written.append(" ".join(str(word) for word in words))
        offset += size
    return written, offset


def single(groups):
    return [group for group in groups if group.get("count", 1) == 1]


def repeated(groups):
    return [group for group in groups if group.get("count", 1) != 1]


def array(points):
    return "points = [\n" + "".join(f'  "{line}",\n' for line in points) + "]\n"


def group_text(group, path):
    points, length = lines(group["points"], 0)
    count = group.get("count", 1) or "*"
    text = f'\n[[{path}]]\nname = "{group["name"]}"\ncount = "{count}"\nlength = {length}\n'
    text += array(points)
    for inner in group.get("groups", []):
        text += group_text(inner, path + ".group")
    return text


def model_text(number, definition):
    body = definition["group"]
    groups = body.get("groups", [])
    kinds = [group in single(groups) for group in groups]
    if kinds != sorted(kinds, reverse=True):
        raise ValueError(f"{number}: a single group behind a repeated one")
    points, offset = lines(body["points"], 0)
    for group in single(groups):
        if group.get("groups"):
            raise ValueError(f"{number}: {group['name']} has groups of its own")
        more, offset = lines(group["points"], offset, group["name"] + ".")
        points += more
    text = f'\n[[model]]\nnumber = {number}\nname = "{body["name"]}"\nlength = {offset - 2}\n'
    text += array(points)
    for group in repeated(groups):
        text += group_text(group, "model.group")
    return text


def main():
    folder = pathlib.Path(sunspec2.__file__).parent / "models" / "json"
    print(HEAD, end="")
    for number in MODELS:
        definition = json.loads((folder / f"model_{number}.json").read_text())
        print(model_text(number, definition), end="")


if __name__ == "__main__":
    main()
