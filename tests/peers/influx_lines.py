"""How many values per second Python's client of InfluxDB turns into line protocol, on one core.

One JSON line: {"values_per_s": …}. The argument is the number of fields of a line.
"""

import json
import sys
import time

from influxdb_client import Point

FIELDS = [f"ac_v_l{n}" for n in range(int(sys.argv[1]))]
SECONDS = 2.0


def line(cycle: int) -> str:
    point = Point("ess").tag("bus", "lan1").tag("device", "bat7").tag("quality", "good").tag("role", "ess")
    for n, field in enumerate(FIELDS):
        point = point.field(field, 7 + n * 0.1 + cycle % 997 * 1e-3)
    return point.time(1_795_341_600_000_000_000 + cycle * 100_000_000).to_line_protocol()


began, lines, size = time.perf_counter(), 0, 0
while time.perf_counter() - began < SECONDS:
    for _ in range(100):
        size += len(line(lines))
        lines += 1
assert size > lines
print(json.dumps({"values_per_s": lines * len(FIELDS) / (time.perf_counter() - began)}))
