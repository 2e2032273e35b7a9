"""The market in the opinion of a linear program: scipy's HiGHS.

    market_lp.py make KIND COUNT SEED BOOKS.jsonl
    market_lp.py judge KIND BOOKS.jsonl RESULTS.jsonl
    market_lp.py time ORDERS SEED

KIND is `books` (bids and offers of one node), `trees` (feeders with capacities and fees),
`reserve` (energy and reserve together, every other one in both directions) or `together` (books of
energy and of readiness up and down, joined by what providers can do). `make` writes one document per line as `gridrig market
clear --lines` reads it. `judge` compares its results, line by line, with the optimum: quantity,
welfare and both ends of the competitive interval of a book, the welfare of a tree and that what
is traded is possible and worth it, the cost of reserve, and of books together the welfare, both ends of the
interval of energy, and that what is traded is possible and worth it. Many programs are solved as one whose
blocks do not touch, which is what makes a hundred thousand of them a matter of seconds. Before
it judges, it plants a wrong number in a copy of a result and must find it. One JSON line tells
how many were compared, how many of them trade, and the first differences. `time` tells how long
HiGHS takes for one book of that many orders, beside which `gridrig bench market` can be laid.
"""

import json
import random
import sys
import time

import numpy
import scipy.optimize
import scipy.sparse

# Programs solved as one. The time of a solver grows faster than the size of its program.
TOGETHER = {"books": 400, "trees": 50, "reserve": 50, "together": 50}

# The corners of these programs are whole numbers; HiGHS finds them to this.
WHOLE_WITHIN = 1e-6


def orders(rng, name, most, prices=(-40, 120), quantities=(1, 60)):
    def side(letter):
        return [
            [f"{name}{letter}{i}", rng.randint(*prices), rng.randint(*quantities)]
            for i in range(rng.randint(0, most))
        ]

    return side("b"), side("s")


def make(kind, count, seed, path):
    rng = random.Random(seed)
    with open(path, "w") as out:
        for _ in range(count):
            if kind == "books":
                # Few prices make ties, many make none.
                high = rng.choice([5, 120, 100_000])
                bids, offers = orders(rng, "", rng.choice([2, 6, 12]), (-high // 3, high))
                document = {"bids": bids, "offers": offers}
            elif kind == "trees":
                nodes = []
                for i in range(rng.randint(1, 8)):
                    bids, offers = orders(rng, f"n{i}", 4)
                    node = {"name": f"n{i}", "bids": bids, "offers": offers}
                    if i:
                        node |= {
                            "toward": f"n{rng.randrange(i)}",
                            "cap": rng.randint(0, 80), "fee": rng.randint(0, 20),
                        }
                    nodes.append(node)
                document = {"mech": "network_uniform", "in": {"nodes": nodes}}
            elif kind == "together":
                document = {"mech": "co_optimised", "in": made_together(rng)}
            else:
                generators = {
                    f"G{i}": [
                        rng.randint(0, 300), rng.randint(10, 100), rng.randint(0, 30),
                        rng.choice([None, rng.randint(0, 60)]),
                    ]
                    for i in range(rng.randint(1, 9))
                }
                room = sum(g[1] for g in generators.values())
                quick = sum(min(g[1], g[1] if g[3] is None else g[3]) for g in generators.values())
                demand = rng.randint(0, room)
                need = {"D": demand, "R": rng.randint(0, min(quick, room - demand) // 2)}
                if rng.random() < 0.5:
                    for generator in generators.values():
                        if rng.random() < 0.8:
                            generator += [rng.randint(0, 30), rng.choice([None, rng.randint(0, 60)])]
                    slow = sum(min(g[1], g[1] if g[5] is None else g[5]) for g in generators.values() if len(g) > 4)
                    # An eighth of what there is: whoever goes down must produce, and whoever goes up must not.
                    need["R_down"] = rng.randint(0, min(slow, demand) // 8)
                document = {"mech": "cooptimise", "in": need | generators}
            out.write(json.dumps(document) + "\n")


def made_together(rng):
    """Providers that trade energy either way and are ready, between loads and a grid."""
    can, bids, offers, ready = {}, [], [], {"up": [], "down": []}
    for i in range(rng.randint(1, 8)):
        name = f"p{i}"
        can[name] = [rng.randint(1, 60), rng.randint(1, 60)]
        inject, withdraw = can[name]
        low = rng.randint(0, 100)
        if rng.random() < 0.8:
            offers.append([name, low + rng.randint(1, 60), rng.randint(1, inject)])
        if rng.random() < 0.8:
            bids.append([name, low, rng.randint(1, withdraw)])
        for side, room in (("up", inject), ("down", withdraw)):
            if rng.random() < 0.8:
                ready[side].append([name, rng.randint(0, 12), rng.randint(1, room)])
    bids += [[f"l{i}", rng.randint(40, 200), rng.randint(1, 80)] for i in range(rng.randint(0, 4))]
    bids.append(["grid", rng.randint(0, 60), 200])
    offers.append(["grid", bids[-1][1] + rng.randint(0, 100), 200])
    document = {"can": can, "energy": {"bids": bids, "offers": offers}}
    for side in ready:
        need = [["grid", rng.randint(0, 60), rng.randint(1, 120)]] if rng.random() < 0.9 else []
        document[side] = {"bids": need, "offers": ready[side]}
    return document


def blocks(programs):
    """Solves (costs, A_eq, b_eq, A_ub, b_ub, bounds) of many at once; their columns, one list
    each. A program is feasible by how it is made."""
    costs, bounds, ends = [], [], []
    matrices = {1: ([], [], [], []), 3: ([], [], [], [])}
    for program in programs:
        for key, (rows, columns, terms, limits) in matrices.items():
            above, before = len(limits), len(costs)
            rows += [above + row for row in program[key][0]]
            columns += [before + column for column in program[key][1]]
            terms += program[key][2]
            limits += program[key + 1]
        costs += program[0]
        bounds += program[5]
        ends.append(len(costs))

    def whole(key):
        rows, columns, terms, limits = matrices[key]
        if not limits:
            return None, None
        return scipy.sparse.csr_matrix((terms, (rows, columns)), shape=(len(limits), len(costs))), limits

    found = scipy.optimize.linprog(costs, *whole(3), *whole(1), numpy.array(bounds), method="highs")
    assert found.status == 0, found.message
    corner = numpy.rint(found.x)
    assert numpy.abs(found.x - corner).max(initial=0) < WHOLE_WITHIN, "a corner is no whole number"
    corner = corner.astype(int).tolist()
    return [corner[begin:end] for begin, end in zip([0, *ends], ends)]


def book_program(document, extra):
    """The welfare of a book into which `extra` is injected from outside."""
    bids, offers = document["bids"], document["offers"]
    rows = bids + offers
    # What can go nowhere is dropped, what cannot come from anywhere is missing, at a price that
    # no order reaches; so that books in which nothing trades have a solution too.
    costs = [-p for _, p, _ in bids] + [p for _, p, _ in offers] + [10**7, 10**7]
    terms = [1] * len(bids) + [-1] * len(offers) + [1, -1]
    columns = list(range(len(costs)))
    bounds = [(0, q) for _, _, q in rows] + [(0, 1), (0, 1)]
    return costs, ([0] * len(costs), columns, terms), [extra], ([], [], []), [], bounds


def judge_books(documents, results):
    solved = [blocks([book_program(d, extra) for d in documents]) for extra in (0, 1, -1)]
    for document, result, *columns in zip(documents, results, *solved):
        worth = [p for _, p, _ in document["bids"]] + [-p for _, p, _ in document["offers"]]
        welfare = [sum(p * q for p, q in zip(worth, x)) for x in columns]
        expected = {"welfare": welfare[0]}
        found = {"welfare": int(result["welfare"])}
        # Of all quantities at that welfare the largest one, which trades also where it gains
        # nothing: the linear program does not tell it.
        found["q"], expected["q"] = result["q"], largest(document)
        trades = result["q"] > 0
        if trades:
            expected |= {"lo": welfare[1] - welfare[0], "hi": welfare[0] - welfare[2]}
            found |= {"lo": result["interval"][0], "hi": result["interval"][1]}
            found["p"], expected["p"] = result["p"], sum(result["interval"]) // 2
        for side, sign in (("bids", 1), ("offers", -1)):
            for name, price, quantity in document[side]:
                part = result["alloc"].get(name, 0)
                if not 0 <= part <= quantity:
                    expected[name] = quantity
                    found[name] = part
                if result["pay"].get(name, 0) != sign * part * (result["p"] or 0):
                    expected[f"pay of {name}"] = sign * part * (result["p"] or 0)
                    found[f"pay of {name}"] = result["pay"].get(name, 0)
        yield trades, expected, found


def largest(document):
    """The most that can be traded without loss, by filling the better orders first."""
    bids = sorted(((p, q) for _, p, q in document["bids"]), reverse=True)
    offers = sorted((p, q) for _, p, q in document["offers"])
    traded, i, j, bid_left, offer_left = 0, 0, 0, 0, 0
    while True:
        if not bid_left:
            if i == len(bids):
                return traded
            bid, bid_left = bids[i]
            i += 1
        if not offer_left:
            if j == len(offers):
                return traded
            offer, offer_left = offers[j]
            j += 1
        if bid < offer:
            return traded
        part = min(bid_left, offer_left)
        traded, bid_left, offer_left = traded + part, bid_left - part, offer_left - part


def tree_program(document):
    nodes = document["in"]["nodes"]
    place = {node["name"]: i for i, node in enumerate(nodes)}
    costs, rows, columns, terms, bounds = [], [], [], [], []

    def column(cost, limit, entries):
        for row, term in entries:
            rows.append(row)
            columns.append(len(costs))
            terms.append(term)
        costs.append(cost)
        bounds.append((0, limit))

    for i, node in enumerate(nodes):
        for _, price, quantity in node["bids"]:
            column(-price, quantity, [(i, -1)])
        for _, price, quantity in node["offers"]:
            column(price, quantity, [(i, 1)])
        if i:
            there = place[node["toward"]]
            column(node["fee"], node["cap"], [(i, -1), (there, 1)])
            column(node["fee"], node["cap"], [(i, 1), (there, -1)])
    return costs, (rows, columns, terms), [0] * len(nodes), ([], [], []), [], bounds


def judge_trees(documents, results):
    programs = [tree_program(d) for d in documents]
    for document, result, program, x in zip(documents, results, programs, blocks(programs)):
        expected = {"welfare": -sum(c * q for c, q in zip(program[0], x))}
        found = {"welfare": result["welfare"]}
        # What is traded must be worth that and balance in every node.
        value, trades = 0, False
        for node in document["in"]["nodes"]:
            name, price = node["name"], result["price"][node["name"]]
            left = 0
            for side, sign in (("bids", 1), ("offers", -1)):
                for order, limit, quantity in node[side]:
                    part = result["alloc"][order]
                    trades |= part > 0
                    value += sign * limit * part
                    left -= sign * part
                    if not 0 <= part <= quantity or sign * (limit - (price or 0)) * part < 0:
                        expected[order], found[order] = "within its limits", part
            left -= result["flow_to_root"][name]
            for child in document["in"]["nodes"]:
                if child.get("toward") == name:
                    left += result["flow_to_root"][child["name"]]
            if "cap" in node:
                flow = abs(result["flow_to_root"][name])
                value -= node["fee"] * flow
                if flow > node["cap"]:
                    expected[name], found[name] = node["cap"], flow
            expected[f"left in {name}"], found[f"left in {name}"] = 0, left
        expected["value"], found["value"] = value, result["welfare"]
        paid = sum(result["pay"].values())
        expected["paid"], found["paid"] = result["congestion_rent"] + result["fee_rev"], paid
        yield trades, expected, found


def reserve_program(document):
    inputs = document["in"]
    generators = [inputs[key] for key in sorted(k for k in inputs if k.startswith("G"))]
    costs, bounds, rows, columns, terms, limits = [], [], [], [], [], []
    for price, most, reserve, quick, *down in generators:
        down_price, slow = down or (0, 0)
        energy, up, back = range(len(costs), len(costs) + 3)
        costs += [price, reserve, down_price]
        bounds += [(0, most), (0, most if quick is None else quick), (0, most if slow is None else slow)]
        # What it produces and could produce more is within its capacity, and no more is taken back than it produces.
        rows += [len(limits)] * 2 + [len(limits) + 1] * 2
        columns += [energy, up, energy, back]
        terms += [1, 1, -1, 1]
        limits += [most, 0]
    for offset, need in ((1, inputs["R"]), (2, inputs.get("R_down", 0))):
        every = range(offset, len(costs), 3)
        rows += [len(limits)] * len(every)
        columns += every
        terms += [-1] * len(every)
        limits.append(-need)
    every = range(0, len(costs), 3)
    demand = ([0] * len(every), list(every), [1] * len(every))
    return costs, demand, [inputs["D"]], (rows, columns, terms), limits, bounds


def judge_reserve(documents, results):
    programs = [reserve_program(d) for d in documents]
    for document, result, program, x in zip(documents, results, programs, blocks(programs)):
        costs, inputs = program[0], document["in"]
        down = result.get("r_down", [0] * len(result["e"]))
        own = [value for of_one in zip(result["e"], result["r"], down) for value in of_one]
        expected = {"cost": sum(c * q for c, q in zip(costs, x)), "D": inputs["D"]}
        found = {"cost": result["cost"], "D": sum(result["e"])}
        expected["own cost"], found["own cost"] = result["cost"], sum(c * q for c, q in zip(costs, own))
        for key, ready in (("R", result["r"]), ("R_down", down)):
            if sum(ready) < inputs.get(key, 0):
                expected[key], found[key] = inputs[key], sum(ready)
        # What one is to do it can do.
        (rows, columns, terms), limits = program[3], program[4]
        sums = [0] * len(limits)
        for row, column, term in zip(rows, columns, terms):
            sums[row] += term * own[column]
        beyond = [row for row, limit in enumerate(limits) if sums[row] > limit]
        beyond += [column for column, (low, high) in enumerate(program[5]) if not low <= own[column] <= high]
        if beyond:
            expected["beyond its limits"], found["beyond its limits"] = [], beyond
        yield inputs["R"] > 0 and inputs.get("R_down", 1) > 0, expected, found


STAGES = ("energy", "up", "down")


def together_columns(document):
    """(stage, side, name, price, most, sign of injection) of every order, in the order of the program."""
    for stage in STAGES:
        for side, sign in (("bids", -1), ("offers", 1)):
            for name, price, most in document["in"][stage][side]:
                yield stage, side, name, price, most, sign


def together_program(document, extra):
    columns = list(together_columns(document))
    costs = [sign * price for _, _, _, price, _, sign in columns]
    balance = ([STAGES.index(it[0]) for it in columns], list(range(len(columns))), [it[5] for it in columns])
    rooms = {(name, way): i for i, (name, way) in enumerate((n, w) for n in document["in"]["can"] for w in (0, 1))}
    limits = [document["in"]["can"][name][way] for name, way in rooms]
    rows, places, terms = [], [], []
    for place, (stage, side, name, _, _, _) in enumerate(columns):
        way = {"energy": 0 if side == "offers" else 1, "up": 0, "down": 1}[stage]
        if name in document["in"]["can"]:
            rows.append(rooms[name, way])
            places.append(place)
            terms.append(1)
    bounds = [(0, most) for _, _, _, _, most, _ in columns]
    return costs, balance, [extra, 0, 0], (rows, places, terms), limits, bounds


def judge_together(documents, results):
    solved = [blocks([together_program(d, extra) for d in documents]) for extra in (0, 1, -1)]
    for document, result, *columns in zip(documents, results, *solved):
        program = together_program(document, 0)
        cost = [sum(c * q for c, q in zip(program[0], x)) for x in columns]
        own = [
            result[stage]["sold" if side == "offers" else "bought"].get(name, 0)
            for stage, side, name, _, _, _ in together_columns(document)
        ]
        expected = {"welfare": -cost[0], "own welfare": result["welfare"]}
        found = {"welfare": result["welfare"], "own welfare": -sum(c * q for c, q in zip(program[0], own))}
        if result["energy"]["q"] > 0:
            ends = [cost[0] - cost[2], cost[1] - cost[0]]
            expected |= {"interval": ends, "p": sum(ends) // 2}
            found |= {"interval": result["energy"]["interval"], "p": result["energy"]["p"]}
        for (rows, places, terms), limits, kept in (
            (program[1], program[2], lambda total, limit: total == limit),
            (program[3], program[4], lambda total, limit: total <= limit),
        ):
            sums = [0] * len(limits)
            for row, place, term in zip(rows, places, terms):
                sums[row] += term * own[place]
            for row, limit in enumerate(limits):
                if not kept(sums[row], limit):
                    expected[f"row {row} of {len(limits)}"], found[f"row {row} of {len(limits)}"] = limit, sums[row]
        yield result["up"]["q"] > 0 and result["down"]["q"] > 0, expected, found


JUDGES = {"books": judge_books, "trees": judge_trees, "reserve": judge_reserve, "together": judge_together}


def differences(kind, documents, results):
    for number, (trades, expected, found) in enumerate(JUDGES[kind](documents, results)):
        wrong = {key: [found[key], expected[key]] for key in expected if found[key] != expected[key]}
        yield number, trades, wrong


def judge(kind, books, results):
    with open(books) as lines:
        documents = [json.loads(line) for line in lines]
    with open(results) as lines:
        results = [json.loads(line) for line in lines]
    assert len(documents) == len(results), f"{len(documents)} documents, {len(results)} results"
    # A number that is wrong by one must not pass.
    key = {"books": "welfare", "trees": "welfare", "reserve": "cost", "together": "welfare"}[kind]
    planted = [dict(results[0], **{key: results[0][key] + 1})]
    assert any(wrong for _, _, wrong in differences(kind, documents[:1], planted)), "a planted fault is not found"
    first, traded, count = [], 0, 0
    for start in range(0, len(documents), TOGETHER[kind]):
        part = slice(start, start + TOGETHER[kind])
        for number, trades, wrong in differences(kind, documents[part], results[part]):
            traded += trades
            count += bool(wrong)
            if wrong and len(first) < 3:
                first.append({"line": start + number + 1, "ours and theirs": wrong})
    print(json.dumps({"compared": len(documents), "traded": traded, "different": count, "first": first}))


def timed(count, seed):
    rng = random.Random(seed)
    rows = [[str(i), rng.randrange(-50_000, 300_001, 10), rng.randint(1, 10**6)] for i in range(count)]
    program = book_program({"bids": rows[::2], "offers": rows[1::2]}, 0)
    begin = time.process_time()
    blocks([program])
    return {"orders": count, "ms": round(1e3 * (time.process_time() - begin), 3)}


if __name__ == "__main__":
    if sys.argv[1] == "time":
        print(json.dumps(timed(int(sys.argv[2]), int(sys.argv[3]))))
    elif sys.argv[1] == "make":
        make(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), sys.argv[5])
        print(json.dumps({"made": int(sys.argv[3])}))
    else:
        judge(*sys.argv[2:5])
