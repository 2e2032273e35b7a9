"""Writes SunSpec points with pysunspec2 and reads them back.

`write_sunspec.py --port P 123.WMaxLimPct=50 123.WMaxLim_Ena=1` sets scaled
values, sends neighbouring points of a model in one request, and prints
`{"points": {"123.WMaxLimPct": 50.0}}` as read back from the device.
"""

import json
import sys

import sunspec2.modbus.client as client
from read_sunspec import find, main_options, open_device


def number(text):
    value = float(text)
    return int(value) if value.is_integer() else value


def main():
    options = main_options(__doc__.splitlines()[0])
    options.add_argument("settings", nargs="+", metavar="MODEL.POINT=VALUE")
    asked = options.parse_args()
    device = open_device(asked)
    names = []
    touched = []
    for setting in asked.settings:
        name, value = setting.split("=", 1)
        point = find(device, name)
        point.cvalue = number(value)
        names.append(name)
        if point.model not in touched:
            touched.append(point.model)
    for model in touched:
        model.write()
        model.read()
    print(json.dumps({"points": {name: find(device, name).cvalue for name in names}}))
    device.close()


if __name__ == "__main__":
    try:
        main()
    except (LookupError, ValueError, client.SunSpecModbusClientError) as reason:
        print(json.dumps({"error": str(reason)}))
        sys.exit(1)
