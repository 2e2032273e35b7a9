#!/usr/bin/env python3
"""Verifies a proof of gridrig's ledger, from docs/ledger-format.md alone.

    verify_proof.py FILE.tproof --universe universe.json [--level L3] [--since SIZE:ROOT] [--json]

Prints one line for each check. Exit code 0: verified, 6: not verified, 2: there is nothing to read.
With several files it verifies one after the other and ends with the worst. It needs Python's standard library
and the package `cryptography`, and nothing of gridrig's.
"""

import argparse
import hashlib
import json
import sys

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils

CHECKS = (
    "format universe canonical signatures author epoch locks inclusion heads quorum consistency dependencies amounts time"
).split()
BYTES_MAX, ELEMENTS_MAX, DEPTH_MAX, TEXT_MAX, ITEMS_MAX = 65536, 4096, 6, 1024, 65536
ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141


class Refused(Exception):
    """A rule of the format does not hold."""


def need(holds, what):
    if not holds:
        raise Refused(what)


# --- Encoding ---------------------------------------------------------------------------------------


def encode_head(major, n):
    for additional, width in ((24, 1), (25, 2), (26, 4), (27, 8)):
        if n < 24:
            return bytes([major << 5 | n])
        if n < 1 << 8 * width:
            return bytes([major << 5 | additional]) + n.to_bytes(width, "big")
    raise Refused("an integer is out of range")


def encode(value):
    if isinstance(value, int):
        return encode_head(0, value) if value >= 0 else encode_head(1, -1 - value)
    if isinstance(value, list):
        return encode_head(4, len(value)) + b"".join(map(encode, value))
    major, data = (2, value) if isinstance(value, bytes) else (3, value.encode())
    return encode_head(major, len(data)) + data


def take(data, at, count):
    need(at + count <= len(data), "the encoding ends inside an item")
    return data[at : at + count], at + count


def read_item(data, at, depth=0):
    """The item at an offset, and the offset behind it."""
    (initial,), at = take(data, at, 1)
    major, n = initial >> 5, initial & 31
    need(major <= 4 and n <= 27, "an initial byte outside of the subset")
    if n >= 24:
        width = 1 << (n - 24)
        raw, at = take(data, at, width)
        n = int.from_bytes(raw, "big")
        need(n >= (24 if width == 1 else 1 << 4 * width), "a number is not in its shortest form")
    if major < 2:
        return (n if major == 0 else -1 - n), at
    if major == 4:
        need(depth < DEPTH_MAX and n <= ELEMENTS_MAX, "an array is too deep or too long")
        items = []
        for _ in range(n):
            item, at = read_item(data, at, depth + 1)
            items.append(item)
        return items, at
    raw, at = take(data, at, n)
    try:
        return (raw if major == 2 else raw.decode("utf-8")), at
    except UnicodeDecodeError:
        raise Refused("a text is not UTF-8") from None


def decode(data):
    need(len(data) <= BYTES_MAX, "an encoding is too long")
    value, end = read_item(data, 0)
    need(end == len(data), "bytes follow an item")
    return value


# --- Schema -----------------------------------------------------------------------------------------

BYTES = {"id": 32, "key": 33, "signature": 64, "amount": 16}
INTEGERS = {"u8": (0, 2**8), "u32": (0, 2**32), "u64": (0, 2**64), "i64": (-(2**63), 2**63), "bool": (0, 2)}
RECORDS = {
    "signed": "key signature",
    "commitment": "u64 id",
    "member": "text key",
    "party": "text [role] key",
    "federation": "u64 [id] [[u64]]",
    "clock": "0-4 u64?",
    "up": "text amount id u64",
    "setpoint": "i64? i64? bool? i64? i64? i64? i64?",
    "step": "i64 i64",
    "fill": "id text i64 amount",
    "line": "text amount text",
    "account": "text 1-4 u64 amount",
    "atom": "bytes [signed]",
    "vertex": "id u64 u64 id u64 commitment id [id] u64",
    "head": "id u64 u64 id id id u64 bool",
    "signed-head": "head signature",
    "vote": "bytes signature? [signed] [id] signed-head",
    "extends": "id commitment [id]",
}
CODES = {"role": (1, 6), "0-4": (0, 5), "1-5": (1, 6), "1-4": (1, 5), "1-3": (1, 4), "1-2": (1, 3)}


def fits(value, shape):
    if shape.endswith("?"):
        return isinstance(value, list) and len(value) <= 1 and all(fits(v, shape[:-1]) for v in value)
    if shape.startswith("["):
        return isinstance(value, list) and all(fits(v, shape[1:-1]) for v in value)
    if shape in RECORDS:
        return fits_record(value, RECORDS[shape])
    if shape in BYTES:
        return isinstance(value, bytes) and len(value) == BYTES[shape]
    if shape == "bytes":
        return isinstance(value, bytes)
    if shape == "text":
        return isinstance(value, str) and len(value.encode()) <= TEXT_MAX
    if shape == "particle":
        return fits(value, "[any]") and len(value) == 2 and (
            (value[0] == 1 and fits(value[1], "up") and amount(value[1][1]) > 0) or (value[0] == 2 and fits(value[1], "id"))
        )
    if shape == "any":
        return True
    low, end = INTEGERS.get(shape) or CODES[shape]
    return isinstance(value, int) and low <= value < end


def fits_record(value, fields):
    shapes = fields.split()
    return isinstance(value, list) and len(value) == len(shapes) and all(map(fits, value, shapes))


def typed(value, shape):
    need(fits(value, shape), f"this is no {shape}")
    return value


def amount(raw):
    return int.from_bytes(raw, "big", signed=True)


def rising(values):
    return all(a < b for a, b in zip(values, values[1:]))


def dispatch_holds(p):
    power_p, power_q, switch, ceiling, *source = map(bool, p[2])
    there, of_source = (power_p, power_q, switch, ceiling), any(source)
    may = {
        1: (power_p or power_q) and not switch and not ceiling and not of_source,
        2: there == (False, False, True, False) and not of_source,
        3: there == (False, False, False, True) and not of_source,
        4: not any(there) and not of_source,
        5: not power_p and not power_q and not ceiling and (of_source or switch),
    }[p[1]]
    return bool(p[0]) and may and all(c >= 0 for c in p[2][3]) and p[4] <= p[5]


def order_holds(p):
    prices = [price for price, _ in p[3]]
    best_first = prices[::-1] if p[2] == 1 else prices
    return p[0] and p[3] and all(quantity > 0 for _, quantity in p[3]) and rising(best_first)


def clearing_holds(p):
    positive = p[2] >= 0 and all(f[2] >= 0 for f in p[6]) and not (p[4] and p[5] and p[4] > p[5])
    return positive and amount(p[7]) + sum(amount(f[3]) for f in p[6]) == 0


def terms_hold(p):
    return 0 <= p[2] <= p[1] and all(p[1] <= high for high in p[3]) and p[4] >= 0


# Kind: name, fields, what must hold beside them, and what is named (with the kind that it must have).
NONE = (lambda p: True, lambda p: [])
KINDS = {
    1: ("dispatch", "text 1-5 setpoint u64 i64 i64 id? text", dispatch_holds, lambda p: [(i, None) for i in p[6]]),
    2: ("dispatch-ack", "id 1-3 i64? i64", NONE[0], lambda p: [(p[0], 1)]),
    3: ("trip", "text text i64 i64", lambda p: bool(p[0]), NONE[1]),
    4: ("mode", "text text text", *NONE),
    5: ("meter-reading", "text i64 u64 i64? 1-3", lambda p: p[0] and p[2] > 0 and bool(p[3]) == (p[4] != 3), NONE[1]),
    6: ("order", "text u64 1-2 [step] u64", order_holds, NONE[1]),
    7: ("clearing", "u64 text i64 i64? i64? i64? [fill] amount", clearing_holds, lambda p: [(f[0], 6) for f in p[6]]),
    8: ("trade", "text text u64 i64 i64", *NONE),
    9: ("settlement", "u64 bool [line]", *NONE),
    10: ("config", "text id text", *NONE),
    11: ("checkpoint", "id u64 id", *NONE),
    12: ("mint", "id", NONE[0], lambda p: [(p[0], 5)]),
    13: ("burn", "text", *NONE),
    14: ("transfer", "text", *NONE),
    15: ("authority-grant", "id text u64", *NONE),
    16: ("fraud-proof", "text bytes bytes", *NONE),
    17: ("resolve", "id text", NONE[0], lambda p: [(p[0], 16)]),
    18: ("terms", "u64 i64 i64 i64? i64 u64 [account]", terms_hold, NONE[1]),
    19: ("epoch", "u64 id bytes [signed]", lambda p: p[0] >= 1 and rising([key for key, _ in p[3]]), NONE[1]),
    20: ("withdrawal", "text u64 1-2", lambda p: bool(p[0]), NONE[1]),
    21: ("activation", "text u64 u64 u64 i64 i64 u64 u64", lambda p: p[0] and p[3] <= p[2] and p[4] >= 0 and p[5] >= 0, NONE[1]),
}
# What a role, by its code, may author; 0 is a node.
MAY = {0: (16, 11, 19), 1: (1, 2, 3, 4, 10, 11), 2: (5, 21), 3: (6, 14, 20), 4: (7, 8, 9, 12, 13, 14, 18), 5: (10, 15, 16, 17, 11)}

# --- Hashes and signatures --------------------------------------------------------------------------


def sha3(data):
    return hashlib.sha3_256(data).digest()


def tagged(tag, universe, data):
    return sha3(sha3(b"gridrig/" + tag + b"/1") + universe + data)


def public_key(raw):
    try:
        return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256K1(), raw)
    except ValueError:
        raise Refused("33 bytes are no key of secp256k1") from None


def signed_by(key, digest, signature):
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    need(0 < r < ORDER and 0 < s <= ORDER // 2, "a signature is out of range or not low-S")
    try:
        der = utils.encode_dss_signature(r, s)
        public_key(key).verify(der, digest, ec.ECDSA(utils.Prehashed(hashes.SHA3_256())))
    except InvalidSignature:
        raise Refused("a signature does not verify") from None


def inner(universe, left, right):
    return tagged(b"inner", universe, b"\1" + left + right)


def is_included(universe, leaf, index, size, path, root):
    """RFC 9162 section 2.1.3.2."""
    if index >= size:
        return False
    node, last, digest = index, size - 1, leaf
    for sibling in path:
        if last == 0:
            return False
        if node & 1 or node == last:
            digest = inner(universe, sibling, digest)
            while node & 1 == 0 and node:
                node, last = node >> 1, last >> 1
        else:
            digest = inner(universe, digest, sibling)
        node, last = node >> 1, last >> 1
    return last == 0 and digest == root


def is_extended(universe, old_size, old_root, size, root, path):
    """RFC 9162 section 2.1.4.2."""
    if not 0 < old_size <= size:
        return False
    if old_size == size:
        return not path and old_root == root
    path = ([old_root] if old_size & (old_size - 1) == 0 else []) + path
    if not path:
        return False
    node, last = old_size - 1, size - 1
    while node & 1:
        node, last = node >> 1, last >> 1
    old = new = path[0]
    for sibling in path[1:]:
        if last == 0:
            return False
        if node & 1 or node == last:
            old, new = inner(universe, sibling, old), inner(universe, sibling, new)
            while node & 1 == 0 and node:
                node, last = node >> 1, last >> 1
        else:
            new = inner(universe, new, sibling)
        node, last = node >> 1, last >> 1
    return last == 0 and old == old_root and new == root


# --- Parts of a proof -------------------------------------------------------------------------------


class Universe:
    """A configuration: the genesis, or a later one of the universe `of`."""

    def __init__(self, raw, of=None):
        self.digest = tagged(b"universe", bytes(32), raw)
        self.id = of or self.digest
        fields = "u64 1-1 text i64 u8 [member] [party]"
        CODES["1-1"] = (1, 2)
        value = decode(raw)
        federated = isinstance(value, list) and value[:1] == [2]
        need(fits_record(value, fields + " federation" * federated), "this is no configuration")
        version, _, name, _, self.bits, nodes, parties, *federation = value
        names, keys = [m[0] for m in nodes + parties], [m[-1] for m in nodes + parties]
        need(version == 1 + federated and name and self.bits <= 16 and nodes, "a rule of the configuration")
        need(all(names) and rising(names[: len(nodes)]) and rising(names[len(nodes) :]), "names are sorted and unique")
        need(len(set(keys)) == len(keys), "no key serves two")
        need(all(roles and rising(roles) for _, roles, _ in parties), "each party has roles, sorted and unique")
        for key in keys:
            public_key(key)
        self.federated = federated
        self.forever = value[:5]
        self.members, self.parties, self.raw = nodes, parties, value
        self.admins = [key for _, roles, key in parties if 5 in roles]
        self.replicas = [list(range(len(nodes)))] * (1 << self.bits)
        if federated:
            threshold, transport, self.replicas = federation[0]
            self.threshold, self.transport = threshold, transport
            admins = sum(5 in roles for _, roles, _ in parties)
            need(len(transport) == len(nodes) and len(self.replicas) == 1 << self.bits, "a rule of the federation")
            need(all(g and rising(g) and g[-1] < len(nodes) for g in self.replicas), "replicas are sorted nodes")
            need(1 <= threshold <= admins or admins == 0, "the threshold of admins can be reached")
        self.roles = {self.address(key): roles for _, roles, key in parties}
        self.roles |= {self.address(key): [0] for _, key in nodes}

    def address(self, key):
        return tagged(b"addr", self.id, key)

    def group(self, address):
        return int.from_bytes(address[:8], "big") >> 64 - self.bits if self.bits else 0

    def stays(self, key):
        """What a node keeps as long as it stays: its transport key and its groups."""
        at = [member for _, member in self.members].index(key)
        return self.transport[at], [at in nodes for nodes in self.replicas]


class Epochs:
    """All configurations so far; a node keeps its place for ever."""

    def __init__(self, genesis):
        self.all, self.roster, self.id, self.federated = [genesis], list(genesis.members), genesis.id, genesis.federated

    @property
    def nodes(self):
        return {self.all[0].address(key): (at, key) for at, (_, key) in enumerate(self.roster)}

    def address(self, key):
        return self.all[0].address(key)

    def is_member(self, epoch, place):
        return epoch < len(self.all) and list(self.roster[place]) in self.all[epoch].members

    def deciding(self, epoch, atom):
        """The places of the nodes whose votes decide about an atom in an epoch."""
        of = self.all[epoch]
        local = range(len(of.members)) if atom.kind == 19 else of.replicas[of.group(atom.author)]
        return [self.roster.index(of.members[at]) for at in local]

    def follow(self, change):
        number, prev, raw, approvals = change
        old = self.all[-1]
        need(number == len(self.all) and prev == old.digest, "the change does not follow")
        new = Universe(raw, self.id)
        need(old.federated and new.federated and new.forever == old.forever, "name, creation, suite and shards are for ever")
        joined = [node for node in new.members if node not in old.members]
        left = [node for node in old.members if node not in new.members]
        need(len(joined) <= 1 and len(left) <= 1, "one node leaves and one joins at most")
        parties = [key for of in self.all for _, _, key in of.parties]
        for name, key in joined:
            fresh = all(name != other and key != used for other, used in self.roster)
            need(fresh and key not in parties, "a node that joins is new")
        for node in old.members:
            need(node in left or old.stays(node[1]) == new.stays(node[1]), "who stays keeps its transport key and groups")
        used = [key for _, key in self.roster]
        need(all(key not in used for _, _, key in new.parties), "a party never has the key of a node")
        need(new.admins and new.raw != old.raw, "there are admins, and something changes")
        digest = tagged(b"epoch", self.id, encode([number, prev, raw]))
        for key, signature in approvals:
            need(key in old.admins, "it is approved by somebody who is no admin")
            signed_by(key, digest, signature)
        need(len(approvals) >= old.threshold, f"{len(approvals)} of {old.threshold} admins have signed")
        self.roster += joined
        self.all.append(new)
        return True


# --- Amounts ----------------------------------------------------------------------------------------

CREDIT, METERED = "energy", "metered/"


def whose(asset):
    """In whose name an asset is metered energy, or None."""
    digits = asset[len(METERED) :]
    return digits if asset.startswith(METERED) and len(digits) == 64 and set(digits) <= set("0123456789abcdef") else None


def is_attested(atom):
    if atom.kind != 5:
        return not any(asset.startswith(METERED) for asset, *_ in atom.ups)
    _, _, _, energy, quality = atom.payload
    if not atom.ups and not atom.goes_down:
        return True
    if len(atom.ups) != 1 or atom.goes_down or quality != 1:
        return False
    asset, raw, *_ = atom.ups[0]
    return whose(asset) is not None and energy == [amount(raw)] and energy[0] > 0


def may_carry(kind, asset, is_up):
    is_metered = asset.startswith(METERED)
    if kind == 5:
        return is_up and is_metered
    if kind == 12:
        return asset == CREDIT if is_up else is_metered
    return not is_metered


def balance(atom, find):
    """What goes down and what goes up balance as the kind asks for; `find` gives what goes down."""
    if not atom.ups and not atom.goes_down:
        return True
    need(atom.kind in (5, 12, 13, 14), "this kind carries no particles")
    need(len(set(atom.goes_down)) == len(atom.goes_down), "a particle goes down twice")
    sums = {}

    def book(up, is_up):
        asset, raw, owner, _ = up
        need(may_carry(atom.kind, asset, is_up), f"a {atom.name} moves no {asset} this way")
        # What is minted is booked against what was metered in the same name.
        key = METERED + owner.hex() if is_up and atom.kind == 12 else asset
        pair = sums.setdefault(key, [0, 0])
        pair[is_up] += amount(raw)
        need(pair[is_up] < 2**127, "a sum overflows")

    for up in atom.ups:
        book(up, True)
    for down in atom.goes_down:
        up = find(down)
        need(up is not None, f"particle {down.hex()} is not up")
        need(up[2] == atom.author, f"particle {down.hex()} is not owned by the author")
        book(up, False)
    for asset, (down, up) in sums.items():
        holds = {5: True, 12: down == up, 13: down > up, 14: down == up}[atom.kind]
        need(holds, f"{up} of {asset} goes up and {down} down in a {atom.name}")
    return True


def check_amounts(verdict, universe, atoms):
    ups = {}
    for atom in atoms:
        for up in atom.ups:
            particle = tagged(b"particle", universe.id, encode(list(up)))
            verdict.check("amounts", particle not in ups, f"particle {particle.hex()} is put up twice")
            ups[particle] = (up, atom.id)
    gone = set()
    for atom in atoms:
        if len(atoms) == 1 and atom.goes_down:
            continue
        verdict.attempt("amounts", balance, atom, lambda down: ups.get(down, (None,))[0])
        named = {atom.payload[0]} if atom.kind == 12 else atom.deps_of
        for down in atom.goes_down:
            verdict.check("amounts", down not in gone, f"particle {down.hex()} is taken down twice")
            gone.add(down)
            origin = ups.get(down, (None, None))[1]
            verdict.check("amounts", origin is None or origin in named, "what put it up is not named")


class Atom:
    def __init__(self, raw, universe):
        self.body_raw, self.sigs = typed(decode(raw), "atom")
        body = decode(self.body_raw)
        fields = "u64 id u64 u8 id u64 id? [id] [id] u64 clock [particle] any i64?"
        need(fits_record(body, fields) and body[0] == 1 and body[3] in KINDS, "this is no body of an atom")
        (_, of, self.epoch, self.kind, self.author, seq, prev, destinations) = body[:8]
        self.deps, self.hlc, _, particles, payload, self.expiry = body[8:]
        self.name, shapes, holds, names = KINDS[self.kind]
        need(fits_record(payload, shapes) and holds(payload), f"this is no payload of a {self.name}")
        need(of == universe.id, "the atom is of another universe")
        need(rising(destinations) and 1 <= len(destinations) <= 16, "1 to 16 destinations, sorted and unique")
        need(rising(self.deps) and len(self.deps) <= 64 and len(particles) <= 64, "at most 64 deps and particles")
        need(seq >= 1 and (seq == 1) == (not prev), "exactly the first atom has no predecessor")
        need(1 <= len(self.sigs) <= 16 and rising([key for key, _ in self.sigs]), "the list of signatures")
        self.id = tagged(b"atom", universe.id, self.body_raw)
        self.downs = sorted({p[1] for p in particles if p[0] == 2})
        self.payload, self.deps_of = payload, set(self.deps)
        self.ups = [tuple(p[1]) for p in particles if p[0] == 1]
        self.goes_down = [p[1] for p in particles if p[0] == 2]
        need(is_attested(self), "a reading puts up what it has metered or nothing, and nobody else does")
        self.named = names(payload) + [(i, None) for i in self.deps]

    def signed(self, universe, sigs):
        need(1 <= len(sigs) <= 16 and rising([key for key, _ in sigs]), "the list of signatures")
        need(any(universe.address(key) == self.author for key, _ in sigs), "the author did not sign")
        for key, signature in sigs:
            signed_by(key, self.id, signature)


def read_bundle(data):
    """Header, configuration, atoms with their votes, consistency proofs, summary."""
    at, items = 0, []
    while at < len(data):
        value, length = read_item(data[at : at + BYTES_MAX], 0)
        need(isinstance(value, list) and len(value) == 2 and fits(value[0], "u8"), "this is no item")
        items.append(value)
        at += length
    need(len(items) >= 3 and items[0][0] == 1 and items[1][0] == 2, "a proof begins with header and configuration")
    header = items[0][1]
    need(fits_record(header, "text u64 id id u64"), "this is no header")
    need(header[:2] == ["gridrig ledger proof", 1] and header[4] <= ITEMS_MAX, "this is no proof of version 1")
    need(header[4] == len(items), f"the header announces {header[4]} items, there are {len(items)}")
    epochs, proven, extends, summary, last = [], [], [], None, 2
    for code, content in items[2:]:
        # What may stand behind what, by the codes of the items.
        follows = {2: (3, 4), 3: (3, 4, 5), 4: (4, 5, 6, 7), 5: (4, 5, 6, 7) if proven else (3, 4, 5), 6: (6, 7), 7: ()}
        need(code in follows[last], f"item {code} behind {last}")
        last = code
        if code in (3, 4):
            (epochs if code == 3 else proven).append((typed(content, "bytes"), []))
        elif code == 5:
            (proven or epochs)[-1][1].append(typed(content, "vote"))
        elif code == 6:
            extends.append(typed(content, "extends"))
        else:
            summary = typed(content, "text")
    need(proven, "no atom is in the proof")
    return header[2], header[3], typed(items[1][1], "bytes"), epochs, proven, extends, summary


# --- Checks -----------------------------------------------------------------------------------------


class Verdict:
    def __init__(self):
        self.failed, self.decided = {}, ["format"]
        self.level = self.atom = self.kind = self.summary = None

    def check(self, name, holds, what=""):
        if not holds:
            self.failed.setdefault(name, what)
        return holds

    def attempt(self, name, call, *arguments):
        """The result, or None where a rule was broken."""
        try:
            return call(*arguments)
        except Refused as refused:
            self.failed.setdefault(name, str(refused))
            return None

    def state(self, name):
        return "failed" if name in self.failed else "ok" if name in self.decided else "undecided"


def check_vote(verdict, universe, atom, vote):
    """The node's place, its vertex and its address, or None."""
    raw, signature, sigs, path, (head, head_signature) = vote
    vertex = verdict.attempt("canonical", lambda: typed(decode(raw), "vertex"))
    if vertex is None:
        return None
    node, life, clock, event, epoch, (committed, _), _, locks, hlc = vertex
    rules = clock >= 1 and committed < clock and rising(locks)
    if not verdict.check("canonical", rules, "a rule of the vertex"):
        return None
    if not verdict.check("quorum", event == atom.id and node in universe.nodes, "it is of another atom or a stranger"):
        return None
    place, key = universe.nodes[node]
    if not verdict.check("heads", head[:2] == [node, life], "the head is of another node"):
        return None
    if sigs != atom.sigs and verdict.attempt("signatures", lambda: atom.signed(universe, sigs) or True) is None:
        return None
    entry = encode([raw, signature, encode([atom.body_raw, sigs])])
    leaf = tagged(b"leaf", universe.id, b"\0" + entry)
    included = is_included(universe.id, leaf, clock - 1, head[2], path, head[3])
    if not verdict.check("inclusion", included, "the entry is not under the head"):
        return None
    if not verdict.check("heads", not signature or atom.kind in (1, 3), "a vertex is signed for dispatch and trip at most"):
        return None

    def signatures():
        for digest, made in [(tagged(b"vertex", universe.id, raw), s) for s in signature]:
            signed_by(key, digest, made)
        signed_by(key, tagged(b"head", universe.id, encode(head)), head_signature)
        return True

    if verdict.attempt("heads", signatures) is None:
        return None
    known = atom.epoch <= epoch and universe.is_member(epoch, place)
    verdict.check("epoch", known, "the node does not belong to the configuration of its vertex")
    free = not universe.federated and not locks
    verdict.check("locks", free or locks == atom.downs, "other particles are locked than go down")
    return place, (node, life, clock), raw, head, epoch


def judge(verdict, epochs, raw, votes, level, roots, events):
    """The atom, who has witnessed it, and its level; or None where it does not read."""
    atom = verdict.attempt("canonical", Atom, raw, epochs)
    if atom is None:
        return None
    verdict.attempt("signatures", atom.signed, epochs, atom.sigs)
    of = min(atom.epoch, len(epochs.all) - 1)
    roles = epochs.all[of].roles.get(atom.author, [])
    verdict.check("author", any(atom.kind in MAY[role] for role in roles), "no role allows this kind")
    verdict.check("epoch", atom.epoch == of, "the atom is of an unknown configuration")
    seen = [w for w in (check_vote(verdict, epochs, atom, vote) for vote in votes) if w]
    for _, event, vertex, head, _ in seen:
        same = roots.setdefault((*event[:2], head[2]), head[3]) == head[3]
        same = events.setdefault(event, vertex) == vertex and same
        verdict.check("heads", same, "a node contradicts itself")
    deciding = [epochs.deciding(epoch, atom) for epoch in range(len(epochs.all))]
    places = [w[0] for w in seen]
    anybody = set().union(*deciding)
    verdict.check("quorum", rising(places) and set(places) <= anybody, "one vote of each replica, in their order")
    # Each epoch counts for itself, with the votes of that epoch and before.
    best = 0
    for epoch, group in enumerate(deciding):
        n, f = len(group), (len(group) - 1) // 3
        needed = {1: 1, 2: f + 1, 3: (n + f) // 2 + 1}
        count = len({w[0] for w in seen if w[4] <= epoch and w[0] in group})
        # Three before two: where one or two replicas are all there are, fewer may be enough for L3 than for L2.
        best = max(best, next((lv for lv in (3, 2, 1) if count >= needed[lv]), 0))
    verdict.check("quorum", best >= level, f"{len(seen)} votes: L{best}, L{level} is asked for")
    return atom, seen, best


def verify(data, expected, level, since):
    verdict = Verdict()
    bundle = verdict.attempt("format", read_bundle, data)
    if bundle is None:
        return verdict
    universe_id, subject, configuration, changes, proven, extends, verdict.summary = bundle
    verdict.atom = subject.hex()
    found = tagged(b"universe", bytes(32), configuration)
    if not verdict.check("universe", found == expected == universe_id, f"it is {found.hex()}, expected {expected.hex()}"):
        return verdict
    universe = verdict.attempt("universe", Universe, configuration)
    if universe is None:
        return verdict
    verdict.decided.append("universe")
    atoms, witnesses, roots, events = [], [], {}, {}
    epochs = Epochs(universe)
    for raw, votes in changes:
        judged = judge(verdict, epochs, raw, votes, 3, roots, events)
        if judged is None:
            return verdict
        if not verdict.check("epoch", judged[0].kind == 19, "the atom carries no change"):
            return verdict
        if verdict.attempt("epoch", epochs.follow, judged[0].payload) is None:
            return verdict
    universe = epochs
    for raw, votes in proven:
        judged = judge(verdict, epochs, raw, votes, level, roots, events)
        if judged is None:
            continue
        atom, seen, reached = judged
        verdict.level = reached if verdict.level is None else min(verdict.level, reached)
        atoms.append(atom)
        witnesses.append(seen)
    if len(atoms) < len(proven):
        return verdict
    verdict.decided = CHECKS
    verdict.kind = atoms[0].name
    verdict.check("format", atoms[0].id == subject, "the header names another atom than the first")

    nodes = set()
    heads = {}
    for vote in proven[0][1]:
        heads.setdefault(vote[4][0][0], vote[4][0])
    for node, (size, root), path in extends:
        verdict.check("consistency", node not in nodes, "two proofs of one node")
        nodes.add(node)
        head = heads.get(node)
        grown = head and is_extended(universe.id, size, root, head[2], head[3], path)
        verdict.check("consistency", grown, "no head of the bundle extends the older one")
    kept = since is None or list(since) in [older for _, older, _ in extends]
    verdict.check("consistency", kept, "the bundle does not extend the head that was kept")

    places, named = {atom.id: at for at, atom in enumerate(atoms)}, set()
    for at, atom in enumerate(atoms):
        belongs = places[atom.id] == at and (at == 0 or atom.id in named)
        verdict.check("dependencies", belongs, "no atom before it names it, or it is there twice")
        for of, kind in atom.named:
            named.add(of)
            if of not in places:
                verdict.check("dependencies", len(atoms) == 1, f"atom {of.hex()} is not in the bundle")
                continue
            earlier = places[of]
            verdict.check("dependencies", kind in (None, atoms[earlier].kind), "an atom of another kind is named")
            pairs = ((a[1], b[1]) for a in witnesses[earlier] for b in witnesses[at])
            ordered = all(a[:2] != b[:2] or a[2] < b[2] for a, b in pairs)
            verdict.check("dependencies", ordered, "a node witnessed it before what it names")
    check_amounts(verdict, universe, atoms)
    return verdict


def main():
    parser = argparse.ArgumentParser(description="Verifies proofs of gridrig's ledger.")
    parser.add_argument("proof", nargs="+")
    parser.add_argument("--universe", required=True)
    parser.add_argument("--level", default="L3", choices=["L1", "L2", "L3"])
    parser.add_argument("--since", metavar="SIZE:ROOT")
    parser.add_argument("--json", action="store_true", help="one object for each file")
    asked = parser.parse_args()
    worst = 0
    try:
        with open(asked.universe, encoding="utf-8") as file:
            universe = Universe(bytes.fromhex(json.load(file)["canonical_cbor_hex"])).id
        size, _, root = (asked.since or "").partition(":")
        since = (int(size), bytes.fromhex(root)) if asked.since else None
    except (OSError, ValueError, KeyError, TypeError, Refused) as e:
        print(f"the universe or the kept head: {e}", file=sys.stderr)
        return 2
    for name in asked.proof:
        try:
            with open(name, "rb") as file:
                data = file.read()
        except OSError as e:
            print(e, file=sys.stderr)
            return 2
        verdict = verify(data, universe, int(asked.level[1]), since)
        states = {check: verdict.state(check) for check in CHECKS}
        if asked.json:
            level = f"L{verdict.level}" if verdict.level else None
            print(json.dumps({"proof": name, "verified": not verdict.failed, "checks": states, "level": level}))
        else:
            for check, state in states.items():
                print(f"{check:<13} {'FAILED' if state == 'failed' else state:<10} {verdict.failed.get(check, '')}".rstrip())
            word = "NOT VERIFIED" if verdict.failed else "verified"
            print(f"{word}: {verdict.kind} {verdict.atom} at L{verdict.level} in universe {universe.hex()}")
        worst = 6 if verdict.failed else worst
    return worst


if __name__ == "__main__":
    sys.exit(main())
