"""minimalmodbus as the master of a serial line: one float and one refusal.

    minimalmodbus_read.py DEVICE BAUD UNIT ADDRESS REFUSED_ADDRESS

Reads the float of input register ADDRESS and its first word again, then a word
at REFUSED_ADDRESS, where the unit should have none. Prints one JSON line with
`float`, `word` and `refused` (the name of the exception, or null), or
`{"error": ...}` and ends with 1. Local echo is off and the port stays open, as
on a line with an adapter that turns round by itself.
"""

import json
import sys

import minimalmodbus

# Longest wait for an answer, in seconds. Chosen: far above what two busy cores need.
TIMEOUT_S = 2.0


def main():
    device, baud, unit, address, refused = sys.argv[1:6]
    line = minimalmodbus.Instrument(device, int(unit))
    line.serial.baudrate = int(baud)
    line.serial.timeout = TIMEOUT_S
    line.clear_buffers_before_each_transaction = True
    try:
        number = line.read_float(int(address), functioncode=4)
        word = line.read_register(int(address), functioncode=4)
    except minimalmodbus.ModbusException as reason:
        print(json.dumps({"error": f"{type(reason).__name__}: {reason}"}))
        sys.exit(1)
    name = None
    try:
        line.read_register(int(refused), functioncode=4)
    except minimalmodbus.ModbusException as reason:
        name = type(reason).__name__
    print(json.dumps({"float": number, "word": word, "refused": name}))


if __name__ == "__main__":
    main()
