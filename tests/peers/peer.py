"""The life of a foreign peer: say that it serves, obey, and leave.

A test starts a peer with a pipe on its standard input and waits for one JSON
line, `{"ready": true, ...}`. Each further line the test writes is a command,
answered by one JSON line. The peer leaves when the pipe closes, which also
happens when the test dies, or on SIGTERM. It is not responsible for any
protocol: those are in the peers themselves.
"""

import json
import signal
import sys
import threading

_printing = threading.Lock()


def say(**fields):
    """Prints one JSON line. The lock keeps lines of several threads whole."""
    with _printing:
        print(json.dumps(fields), flush=True)


def ready(**fields):
    """Tells the test that the peer serves, with what it must know (a port)."""
    say(ready=True, **fields)


def live(obey, leave):
    """Reads commands in the background until there are no more.

    `obey` takes a command's words and returns the answer's fields; it may
    raise ValueError, which the test reads as `{"error": ...}`. `leave` is
    called once, from another thread, when standard input closes or SIGTERM
    comes.
    """
    left = threading.Event()

    def leave_once(*_):
        if not left.is_set():
            left.set()
            leave()

    def read():
        for line in sys.stdin:
            words = line.split()
            if not words:
                continue
            try:
                say(**obey(words))
            except ValueError as reason:
                say(error=str(reason))
        leave_once()

    signal.signal(signal.SIGTERM, leave_once)
    signal.signal(signal.SIGINT, leave_once)
    threading.Thread(target=read, daemon=True).start()
