"""Python's own sqlite3 as a reader of `samples.db`, the database of a run.

samples_db.py ask DATABASE QUERY..: asks each and prints the rows of each as one JSON line.

samples_db.py kill PORT DATABASE PID SECONDS: looks at the page on this port and into the database of the same run for so
long, then kills the process when the database is most behind, and looks at what is left. Prints one JSON line: the time
of control that the page said right before the kill (`said_s`) and that of the youngest reading that is left (`left_s`);
how far the database was behind the page at each look (`behind_s`); how many readings and events the page had shown
(`shown`), and those that are not in the file (`missing`), as [time, what, value].
"""

import http.client
import json
import os
import signal
import sqlite3
import sys
import time

# Readings of a device as the page and as the database names them.
POINTS = {"p_w": "ac.p", "q_var": "ac.q", "v_v": "ac.v.l1", "f_hz": "ac.f", "soc": "bat.soc"}
# Five looks in a cycle of 100 ms.
LOOK_EVERY_S = 0.02
# So many of them for each look at the events.
LOOKS_PER_EVENTS = 20
# The kill comes when the database is as much behind as in one look of five before: soon, but not at once, it catches
# up, be that after one second or after ten.
MOSTLY = 0.8
# The kill does not wait any longer for it.
KILL_WITHIN_S = 10.0


def opened(path):
    """A reader that changes nothing."""
    return sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=2)


def micros(seconds):
    """A time that is the same whatever it was calculated from."""
    return round(seconds * 1e6)


class Page:
    """The page, and all that it has shown: what, at which microsecond, with which value."""

    def __init__(self, port):
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        self.shown = {}
        self.said_s = 0.0

    def get(self, path):
        self.connection.request("GET", path)
        return json.loads(self.connection.getresponse().read())

    def look(self):
        state = self.get("/api/v1/state")
        self.said_s = state["cycle"]["t_s"]
        for device in state["devices"]:
            for field, point in POINTS.items():
                known = device[field]
                if known["quality"] == "good":
                    at = micros(self.said_s - known["age_s"])
                    self.shown[at, f"{device['name']} {point}"] = known["value"]

    def look_at_events(self):
        for event in self.get("/api/v1/events"):
            self.shown[micros(event["t_s"]), f"{event['device'] or ''} {event['event']}"] = event["text"]


def kill(port, database, pid, seconds):
    page = Page(int(port))
    reader = opened(database)
    behind, began = [], time.monotonic()
    while True:
        if len(behind) % LOOKS_PER_EVENTS == 0:
            page.look_at_events()
        page.look()
        # The database is looked at after the page: what becomes safe between the two is safe.
        (youngest,) = reader.execute("SELECT max(t_s) FROM samples WHERE kind = 'device'").fetchone()
        behind.append(page.said_s - (youngest or 0.0))
        passed = time.monotonic() - began - float(seconds)
        if passed > KILL_WITHIN_S or passed > 0 and behind[-1] >= sorted(behind)[int(MOSTLY * len(behind))]:
            break
        time.sleep(LOOK_EVERY_S)
    os.kill(int(pid), signal.SIGKILL)
    # It is gone with all its threads when it waits for its parent only: then no page of the file is on its way.
    while open(f"/proc/{pid}/stat", encoding="utf-8").read().rsplit(")", 1)[1].split()[0] != "Z":
        time.sleep(LOOK_EVERY_S)
    reader.close()
    left = {}
    reader = opened(database)
    for t_s, name, point, value in reader.execute("SELECT t_s, name, point, value FROM samples WHERE kind = 'device'"):
        left[micros(t_s), f"{name} {point}"] = value
    left_s = max(at for at, _ in left) / 1e6
    for t_s, kind, device, text in reader.execute("SELECT t_s, kind, device, text FROM happenings"):
        left[micros(t_s), f"{device or ''} {kind}"] = text
    missing = [
        [at / 1e6, what, value]
        for (at, what), value in sorted(page.shown.items(), key=lambda shown: shown[0])
        # The page's age and the database's time are one number, rounded twice.
        if all(left.get((at + near, what)) != value for near in (-1, 0, 1))
    ]
    return {
        "behind_s": behind,
        "said_s": page.said_s,
        "left_s": left_s,
        "shown": len(page.shown),
        "missing": missing,
        "sound": reader.execute("PRAGMA integrity_check").fetchone()[0],
    }


def ask(database, *queries):
    reader = opened(database)
    return [reader.execute(query).fetchall() for query in queries]


print(json.dumps({"kill": kill, "ask": ask}[sys.argv[1]](*sys.argv[2:])))
