"""The market in the opinion of two other engines, where they are right, and where they are known to be wrong.

    market_engines.py make KIND COUNT SEED BOOKS.jsonl
    market_engines.py judge KIND BOOKS.jsonl RESULTS.jsonl
    market_engines.py wrong

KIND is `auction` (TESP's double auction, which follows GridLAB-D) or `huang` (pymarket's truthful
trade reduction of several units). `make` writes one document per line as `gridrig market clear
--lines` reads it. `judge` compares its results, line by line. TESP has our quantity, and its price
lies in our competitive interval (it moves it off an order that is not served by 0.0001). pymarket
has our quantity and both prices; it cuts the longer side in real numbers and we in whole ones, so
parts differ by less than one for each trader. Before it judges, it plants a wrong number in a copy
of a result and must find it. One JSON line tells how many were compared, how many of them trade,
and the first differences. `wrong` shows what TESP 1.3.8 is known to do wrong: one JSON line with
what it says and what is right. When it is mended that line is another, and the test that holds it
says so.
"""

import json
import random
import sys
import types
import warnings

# pymarket needs a solver for its statistics only, and pandas warns of how it sums.
sys.modules.setdefault("pulp", types.ModuleType("pulp"))
warnings.simplefilter("ignore")

import pymarket  # noqa: E402
from tesp_support.original.simple_auction import simple_auction  # noqa: E402

# What TESP moves a price by, in the unit of prices, and some more.
OFF = 1e-3


def make(kind, count, seed, path):
    rng = random.Random(seed)
    with open(path, "w") as out:
        for _ in range(count):
            high = rng.choice([8, 120, 100_000])

            def side(letter, most):
                sizes = [rng.randint(1, 60) for _ in range(rng.randint(1, most))]
                if kind == "huang":
                    # It groups equal prices: they would share by another rule.
                    prices = rng.sample(range(1, 100_000), len(sizes))
                else:
                    prices = [rng.randint(-high // 3, high) for _ in sizes]
                return [[f"{letter}{i}", p, q] for i, (p, q) in enumerate(zip(prices, sizes))]

            document = {"in": {"bids": side("b", 9), "offers": side("s", 9)}}
            document["mech"] = {"auction": "uniform_k_half", "huang": "huang"}[kind]
            out.write(json.dumps(document) + "\n")


def tesp(bids, offers):
    names = "stat_mode stat_interval stat_type stat_value".split()
    about = {"init_stdev": 0, "init_price": 0, "period": 300, "pricecap": 1e9, "statistic_mode": 1}
    about |= {"max_capacity_reference_bid_quantity": 0} | {name: "" for name in names}
    auction = simple_auction(about, "auction")
    auction.clear_bids()
    for _, price, quantity in bids:
        auction.curve_buyer.add_to_curve(price, quantity, True)
    auction.curve_buyer.set_curve_order("descending")
    for _, price, quantity in offers:
        auction.supplier_bid([price, quantity])
    auction.clear_market()
    return auction


def judge_auction(document, result):
    inputs = document["in"]
    auction = tesp(inputs["bids"], inputs["offers"])
    expected, found = {"q": auction.clearing_quantity}, {"q": result["q"]}
    if result["q"]:
        low, high = result["interval"]
        is_within = low - OFF <= auction.clearing_price <= high + OFF
        expected["their price"], found["their price"] = "in our interval", (
            "in our interval" if is_within else [auction.clearing_price, low, high]
        )
    return bool(result["q"]), expected, found


def judge_huang(document, result):
    inputs = document["in"]
    market = pymarket.Market()
    names = []
    for side, is_bid in (("bids", True), ("offers", False)):
        for name, price, quantity in inputs[side]:
            market.accept_bid(quantity, price, len(names), is_bid)
            names.append(name)
    transactions, about = market.run("huang")
    parts = {names[row.bid]: row.quantity for row in transactions.get_df().itertuples()}
    quantity = sum(part for name, part in parts.items() if name.startswith("s"))
    if not quantity:
        # It names no prices where nothing is traded.
        return False, {"q": 0}, {"q": result["q"]}
    expected = {"buy": about["price_buy"], "sell": about["price_sell"], "q": round(quantity)}
    found = {key: result[key] for key in expected}
    traders = len(names)
    for name in names:
        part, own = parts.get(name, 0), result["alloc"].get(name, 0)
        if abs(part - own) >= traders:
            expected[name], found[name] = part, own
    return True, expected, found


JUDGES = {"auction": judge_auction, "huang": judge_huang}


def differences(kind, document, result):
    trades, expected, found = JUDGES[kind](document, result)
    return trades, {key: [found[key], expected[key]] for key in expected if found[key] != expected[key]}


def judge(kind, books, results):
    with open(books) as lines:
        documents = [json.loads(line) for line in lines]
    with open(results) as lines:
        results = [json.loads(line) for line in lines]
    assert len(documents) == len(results), f"{len(documents)} documents, {len(results)} results"
    # A quantity that is wrong by one must not pass.
    at = next(i for i, result in enumerate(results) if result["q"])
    planted = dict(results[at], q=results[at]["q"] + 1)
    assert differences(kind, documents[at], planted)[1], "a planted fault is not found"
    first, traded, count = [], 0, 0
    for number, (document, result) in enumerate(zip(documents, results)):
        trades, wrong = differences(kind, document, result)
        traded += trades
        count += bool(wrong)
        if wrong and len(first) < 3:
            first.append({"line": number + 1, "ours and theirs": wrong})
    print(json.dumps({"compared": len(documents), "traded": traded, "different": count, "first": first}))


def wrong():
    """A bid of which half is served with another one behind it, and a heat pump that is paid to run."""
    auction = tesp([["b0", 30, 10], ["b1", 20, 10], ["b2", 5, 20]], [["s0", 10, 15]])
    auction_without = tesp([["b0", 30, 10], ["b1", 20, 10]], [["s0", 10, 15]])
    auction_without.clear_bids()
    auction_without.collect_bid([-5.0, 3.0, False])
    return {
        # Its inner loop asks for the price of the marginal bid again and not of the one it has come to.
        "marginal_frac": auction.marginal_frac,
        "right": 0.5,
        # A bid at a negative price is left out of the curve.
        "negative_bids": auction_without.curve_buyer.count,
        "negative_bids_right": 1,
    }


if __name__ == "__main__":
    if sys.argv[1] == "wrong":
        print(json.dumps(wrong()))
    elif sys.argv[1] == "make":
        make(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), sys.argv[5])
        print(json.dumps({"made": int(sys.argv[3])}))
    else:
        judge(*sys.argv[2:5])
