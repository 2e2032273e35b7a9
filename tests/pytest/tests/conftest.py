"""A daemon of paper: it answers what a real one would, says what it was asked, and knows no time of its own."""

import http.server
import json
import threading
import urllib.parse

import pytest

pytest_plugins = ["pytester"]


class Paper:
    """What a daemon of paper shows, and what it was asked."""

    def __init__(self):
        self.t_s, self.armed, self.mode, self.holder = 100.0, False, "grid_connected", None
        self.blocked = None
        self.recorded_to_s = 1e9
        self.refuse = {}
        self.asked = []
        self.readings = {}
        self.passes = []

    def state(self):
        return {"cycle": {"t_s": self.t_s, "armed": self.armed, "mode": self.mode}}

    def get(self, path, query):
        if path == "/api/v1/state":
            return self.state()
        if path == "/api/v1/devices":
            return [{"name": "ess1", "role": "ess"}, {"name": "plug1", "role": "load"}, {"name": "met1", "role": "meter"}]
        if path == "/api/v1/arming":
            return {"blocked": self.blocked}
        if path == "/api/v1/history":
            rows = self.readings.get((query["device"], query["point"]), [])
            return {
                "unit": "W",
                "recorded_to_s": self.recorded_to_s,
                "t_s": [t for t, _ in rows],
                "value": [v for _, v in rows],
            }
        return None

    def post(self, path, body, headers):
        self.asked.append((path.rsplit("/api/v1/", 1)[1], body, headers.get("Gridrig-At")))
        if path in self.refuse:
            return self.refuse[path]
        who = headers.get("Gridrig-Holder")
        if path.endswith("/lock/take") or path.endswith("/arm"):
            if self.holder not in (None, who):
                return 423, {"code": "locked", "message": f"{self.holder} has the bench", "help": "wait"}
            self.holder = who
            self.armed = self.armed or path.endswith("/arm")
        if path.endswith("/lock/drop"):
            self.holder, self.armed = None, False
        return 202, {"accepted": True, "t_s": self.t_s}

    def names(self):
        """What it was asked, without the many signs of life."""
        return [path for path, _, _ in self.asked if path != "lock/take"]


@pytest.fixture
def paper():
    """A daemon of paper at `paper.api`."""
    paper = Paper()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            parts = urllib.parse.urlsplit(self.path)
            paper.passes.append(self.headers.get("Authorization"))
            found = paper.get(parts.path, dict(urllib.parse.parse_qsl(parts.query)))
            self._answer(404 if found is None else 200, found or {"code": "not_found", "message": "?", "help": ""})

        def do_POST(self):
            text = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self._answer(*paper.post(self.path, json.loads(text) if text else None, self.headers))

        def _answer(self, status, found):
            text = json.dumps(found).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    paper.api = f"http://127.0.0.1:{server.server_address[1]}"
    yield paper
    server.shutdown()
    server.server_close()
