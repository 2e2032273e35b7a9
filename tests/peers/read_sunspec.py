"""Discovers a SunSpec device with pysunspec2 and prints chosen points.

One JSON line: `{"base": 40000, "models": [1, 103], "lengths": {"1": 66},
"points": {"103.W": 8200}}`. Points are scaled; a point the device does not
implement is null. `704[0].WMaxLimPct` names a model that occurs more than
once.
"""

import argparse
import json
import sys

import sunspec2.modbus.client as client


def find(device, name):
    """The point named `MODEL.POINT` or `MODEL[INDEX].POINT`, or `MODEL.GROUP.POINT`."""
    model, *path = name.split(".")
    index = 0
    if "[" in model:
        model, index = model[:-1].split("[")
    if int(model) not in device.models:
        raise LookupError(f"the device has no model {model}")
    at = device.models[int(model)][int(index)]
    *groups, point = path
    for group in groups:
        group_index = 0
        if "[" in group:
            group, group_index = group[:-1].split("[")
        at = at.groups[group]
        at = at[int(group_index)] if isinstance(at, list) else at
    if point not in at.points:
        raise LookupError(f"model {model} has no point {point}")
    return at.points[point]


def open_device(asked):
    device = client.SunSpecModbusClientDeviceTCP(
        slave_id=asked.unit, ipaddr=asked.host, ipport=asked.port, timeout=asked.timeout_s
    )
    device.scan()
    return device


def main_options(summary):
    options = argparse.ArgumentParser(description=summary)
    options.add_argument("--host", default="127.0.0.1")
    options.add_argument("--port", type=int, required=True)
    options.add_argument("--unit", type=int, default=1)
    options.add_argument("--timeout-s", type=float, default=3.0)
    return options


def main():
    options = main_options(__doc__.splitlines()[0])
    options.add_argument("points", nargs="*", help="MODEL.POINT, e.g. 103.W")
    asked = options.parse_args()
    device = open_device(asked)
    found = [model for model in device.models if isinstance(model, int)]
    print(
        json.dumps(
            {
                "base": device.base_addr,
                "models": found,
                "lengths": {str(m): device.models[m][0].model_len for m in found},
                "errors": {
                    str(m): device.models[m][0].error_info
                    for m in found
                    if device.models[m][0].error_info
                },
                "points": {name: find(device, name).cvalue for name in asked.points},
            }
        )
    )
    device.close()


if __name__ == "__main__":
    try:
        main()
    except (LookupError, client.SunSpecModbusClientError) as reason:
        print(json.dumps({"error": str(reason)}))
        sys.exit(1)
