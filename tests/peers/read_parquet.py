"""Reads a Parquet file with fastparquet into pandas, and prints what is in it as one JSON line.

read_parquet.py FILE: rows, columns with their types, and of every column of numbers how many values
it has and their sum; of `flaws` and `scenario` the distinct texts.
"""

import json
import sys

import pandas

try:
    table = pandas.read_parquet(sys.argv[1], engine="fastparquet")
    numbers = {
        name: [int(table[name].count()), float(table[name].sum())]
        for name in table.columns
        if table[name].dtype.kind == "f"
    }
    print(json.dumps({
        "rows": len(table),
        "types": {name: str(table[name].dtype) for name in table.columns},
        "numbers": numbers,
        "scenarios": sorted(table["scenario"].dropna().unique().tolist()),
        "flaws": sorted(table["flaws"].dropna().unique().tolist()),
        "first_utc": str(table["utc"].iloc[0]),
    }))
except Exception as error:  # noqa: BLE001  (whatever it is, the test shall see it)
    print(json.dumps({"error": repr(error)}))
    sys.exit(1)
