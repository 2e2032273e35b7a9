"""The order book in the opinion of lightmatchingengine.

    market_cda.py make scripts COUNT SEED SCRIPTS.jsonl
    market_cda.py judge scripts SCRIPTS.jsonl RESULTS.jsonl

`make` writes one script of an order book per line as `gridrig market clear --lines` reads it;
`judge` plays the same orders to lightmatchingengine and compares every trade and what rests at
the end. One JSON line tells how many were compared, how many trade, and the first differences.
Their engine takes a price of zero for an order at any price, so prices are positive here; it
knows orders that stand until the gate only.
"""

import json
import random
import sys

from lightmatchingengine.lightmatchingengine import LightMatchingEngine, Side

SIDES = {"buy": Side.BUY, "sell": Side.SELL}


def make(count, seed, path):
    rng = random.Random(seed)
    with open(path, "w") as out:
        for _ in range(count):
            high = rng.choice([6, 60, 1000])
            script = [
                [f"o{i}", rng.choice(["buy", "sell"]), rng.randint(1, high), rng.randint(1, 20), "GTC"]
                for i in range(rng.randint(1, 80))
            ]
            out.write(json.dumps({"mech": "cda", "in": script}) + "\n")


def played(script):
    engine = LightMatchingEngine()
    names, trades, orders = {}, [], []
    for name, side, price, quantity, _ in script:
        order, told = engine.add_order("x", price, quantity, SIDES[side])
        names[order.order_id] = name
        orders.append((name, price, order))
        # First what the new order gets at a price, then whose orders that came from.
        for trade in told:
            if trade.order_id != order.order_id:
                pair = [name, names[trade.order_id]]
                trades.append((pair if side == "buy" else pair[::-1]) + [trade.trade_qty, trade.trade_price])
    rests = [[name, order.leaves_qty, price] for name, price, order in orders if order.leaves_qty]
    return {"trades": trades, "rejected": [], "expired": rests}


def judge(scripts, results):
    first, traded, count, different = [], 0, 0, 0
    with open(scripts) as ours, open(results) as told:
        for script, result in zip(ours, told, strict=True):
            expected = played(json.loads(script)["in"])
            found = json.loads(result)
            count += 1
            traded += bool(expected["trades"])
            if found != expected:
                different += 1
                if len(first) < 3:
                    first.append({"line": count, "ours": found, "theirs": expected})
    print(json.dumps({"compared": count, "traded": traded, "different": different, "first": first}))


if __name__ == "__main__":
    if sys.argv[1] == "make":
        make(int(sys.argv[3]), int(sys.argv[4]), sys.argv[5])
        print(json.dumps({"made": int(sys.argv[3])}))
    else:
        judge(*sys.argv[3:5])
