"""The LV-CAN frames of a Pylontech-style battery, as captured on real wires.

Golden frames only: what they mean is written down in `lvcan.dbc`, which
cantools reads. Identifiers are 11 bits, numbers little-endian.
"""

# Identifier: data. 53.2 V and 370 A limits; 88 % charge; 49.86 V, -27.0 A,
# 36.3 degrees; no alarm; charge and discharge allowed; the maker's name.
GOLDEN = {
    0x351: bytes.fromhex("1402740E740ECC01"),
    0x355: bytes.fromhex("58005E00"),
    0x356: bytes.fromhex("7A13F2FE6B01"),
    0x359: bytes.fromhex("0000000006504E"),
    0x35C: bytes.fromhex("C000"),
    0x35E: bytes.fromhex("50594C4F4E202020"),
}

# What an inverter must send every second for the battery to stay closed.
KEEP_ALIVE_ID = 0x305
