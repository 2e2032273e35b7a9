"""How fast books are cleared beside others, in one run: `gridrig bench market`, scipy's HiGHS, and the
engines of other people in Python.

    market_speed.py GRIDRIG [--size-max N] [--plot FILE.svg]

One JSON line has the time for ten thousand orders of everybody and how many times longer than ours it
is, and for each size of our books the time for one order. Ours is the whole clearing with its self-check; TESP
sorts each order in as it comes, so that its time is that of both, and of its clearing alone beside it; the
order book of lightmatchingengine trades what comes. `--plot` draws time against size.
"""

import json
import random
import subprocess
import sys
import time

import market_lp
from lightmatchingengine.lightmatchingengine import LightMatchingEngine, Side
from market_engines import simple_auction

ORDERS = 10_000
SEED = 7


def rows():
    rng = random.Random(SEED)
    return [(rng.randrange(-50_000, 300_001, 10), rng.randint(1, 10**6)) for _ in range(ORDERS)]


def tesp():
    names = "stat_mode stat_interval stat_type stat_value".split()
    about = {"init_stdev": 0, "init_price": 0, "period": 300, "pricecap": 1e9, "statistic_mode": 1}
    about |= {"max_capacity_reference_bid_quantity": 0} | {name: "" for name in names}
    auction = simple_auction(about, "auction")
    begin = time.process_time()
    auction.clear_bids()
    for number, (price, quantity) in enumerate(rows()):
        if number % 2:
            auction.supplier_bid([price, quantity])
        else:
            auction.curve_buyer.add_to_curve(price, quantity, True)
    auction.curve_buyer.set_curve_order("descending")
    added = time.process_time()
    auction.clear_market()
    now = time.process_time()
    return 1e3 * (now - begin), 1e3 * (now - added)


def order_book():
    engine = LightMatchingEngine()
    begin = time.process_time()
    for number, (price, quantity) in enumerate(rows()):
        engine.add_order("e", price, quantity, Side.SELL if number % 2 else Side.BUY)
    return 1e3 * (time.process_time() - begin)


def plot(rows, path):
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams.update({"svg.hashsalt": "market", "svg.fonttype": "none"})
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6, 4))
    sizes = [row["orders"] for row in rows]
    axes.loglog(sizes, [row["price_only_ms"] + row["allocation_ms"] for row in rows], "o-", label="price and allocation")
    axes.loglog(sizes, [row["whole_clear_ms"] for row in rows], "s-", label="with fills that have names, and self-check")
    line = [row["whole_clear_ms"] for row in rows][2] / sizes[2]
    axes.loglog(sizes, [line * size for size in sizes], ":", color="grey", label="in proportion to the orders")
    axes.set_xlabel("orders in a book")
    axes.set_ylabel("ms on one core")
    axes.grid(True, which="major", alpha=0.3)
    axes.legend()
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})


def main(gridrig, *options):
    options = dict(zip(options[::2], options[1::2]))
    size = options.get("--size-max", str(ORDERS))
    ours = json.loads(subprocess.check_output([gridrig, "bench", "market", "--size-max", size]))
    own = next(row["whole_clear_ms"] for row in ours["rows"] if row["orders"] == ORDERS)
    (auction, clearing), book = tesp(), order_book()
    theirs = {
        "HiGHS": market_lp.timed(ORDERS, SEED)["ms"],
        "TESP": auction,
        "TESP, sorted": clearing,
        "lightmatchingengine": book,
    }
    per_order = {row["orders"]: round(1e6 * row["whole_clear_ms"] / row["orders"], 1) for row in ours["rows"]}
    told = {
        "orders": ORDERS,
        "optimised": ours["optimised"],
        "ours_ms": own,
        "theirs_ms": {name: round(ms, 2) for name, ms in theirs.items()},
        "times_ours": {name: round(ms / own) for name, ms in theirs.items()},
        "whole_clear_ns_per_order": per_order,
    }
    print(json.dumps(told))
    if path := options.get("--plot"):
        plot(ours["rows"], path)


if __name__ == "__main__":
    main(*sys.argv[1:])
