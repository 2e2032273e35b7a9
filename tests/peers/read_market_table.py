"""Reads a table of a run's market with pandas, as Parquet (by fastparquet) and as CSV, and prints what is in
both as one JSON line.

read_market_table.py PARQUET CSV: rows, columns with their types, the sum of every column of whole numbers
and of every column of money (`_eur`, exact decimals), how many values each has, and whether both files say
the same.
"""

import json
import sys
from decimal import Decimal

import pandas

try:
    table = pandas.read_parquet(sys.argv[1], engine="fastparquet")
    money = [name for name in table.columns if name.endswith("_eur")]
    plain = pandas.read_csv(sys.argv[2], dtype={name: str for name in money})
    said = {
        "rows": len(table),
        "columns": list(table.columns),
        "types": {name: str(table[name].dtype) for name in table.columns},
        "counts": {name: int(table[name].count()) for name in table.columns},
        "wholes": {},
        "money": {},
        "first_utc": str(table["begins_utc_ns"].iloc[0]) if "begins_utc_ns" in table else None,
        "same": list(table.columns) == list(plain.columns) and len(table) == len(plain),
    }
    for name in table.columns:
        said["same"] = said["same"] and int(plain[name].count()) == said["counts"][name]
        if name in money:
            sums = [sum(map(Decimal, side[name].dropna()), Decimal(0)) for side in (table, plain)]
            said["money"][name] = format(sums[0], "f")
            said["same"] = said["same"] and sums[0] == sums[1]
        elif name.endswith(("_mwh", "_per_kwh")):
            sums = [int(side[name].dropna().sum()) for side in (table, plain)]
            said["wholes"][name] = sums[0]
            said["same"] = said["same"] and sums[0] == sums[1]
    print(json.dumps(said))
except Exception as error:  # noqa: BLE001  (whatever it is, the test shall see it)
    print(json.dumps({"error": repr(error)}))
    sys.exit(1)
