#!/usr/bin/env python3
"""Orders for one participant of a bench's market from outside, interval by interval.

    GRIDRIG_TOKEN=... python3 bidder.py --participant plug1 --price 30000 --energy 8000

The bench's rig lets the participant order so: `strategy = "external"`. The token is that of the
participant, with the role `bid`, which can do nothing else; one that may operate does as well. Prices are whole milli-cent
per kilowatt-hour, energy is whole milliwatt-hours. Every order and every refusal is a line of JSON.
Nothing but Python's standard library is needed.
"""

import argparse
import json
import os
import sys
import time
import urllib.error
import urllib.request


def ask(url, token, body=None):
    """Status and answer of a request; a refusal is an answer, too."""
    request = urllib.request.Request(url)
    if body is not None:
        request.data = json.dumps(body).encode()
        request.add_header("Content-Type", "application/json")
        request.add_header("Authorization", f"Bearer {token}")
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as refusal:
        return refusal.code, json.load(refusal)


def open_gate(url):
    """The interval that takes orders now, once the market tells one."""
    for _ in range(100):
        _, market = ask(f"{url}/api/v1/market", None)
        if market and market["open"]:
            return market["open"]
        time.sleep(0.1)
    sys.exit("the market of this bench takes no orders from outside")


def price_at(interval, limit):
    """What a unit is worth in an interval. Put your own strategy here."""
    return limit


def main():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--url", default="http://127.0.0.1:7070")
    options.add_argument("--participant", required=True)
    options.add_argument("--side", choices=["buy", "sell"], default="buy")
    options.add_argument("--price", type=int, required=True, help="limit in mc/kWh")
    options.add_argument("--energy", type=int, required=True, help="energy in mWh")
    options.add_argument("--stage", choices=["real_time", "day_ahead"], default="real_time")
    options.add_argument("--intervals", type=int, default=0, help="0 = until the run ends")
    options.add_argument("--after-gate", action="store_true", help="order for the interval before: refused")
    given = options.parse_args()
    token = os.environ.get("GRIDRIG_TOKEN", "")
    taken, last = 0, -1
    while given.intervals == 0 or taken < given.intervals:
        gate = open_gate(given.url)
        if given.stage == "day_ahead":
            # The first interval of the next block: a bidder of its own would order for each of them.
            gate = gate["day_ahead"] or sys.exit("this market does not trade ahead")
        interval = gate["interval"]
        if interval <= last:
            time.sleep(0.1)
            continue
        order = {
            "participant": given.participant,
            "side": given.side,
            "stage": given.stage,
            "steps": [{"price_mc_per_kwh": price_at(interval, given.price), "energy_mwh": given.energy}],
        }
        if given.after_gate:
            order["interval"] = interval - 1
        status, answer = ask(f"{given.url}/api/v1/market/orders", token, order)
        print(json.dumps({"status": status, **answer}), flush=True)
        # What is told is up to a second old, so the order may be in the interval after it.
        last = answer.get("interval", interval)
        taken += 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
