"""The bus of a python-can peer, as its command line names it.

`--port` (and `--host`, `--bus`) leads to a socketcand server, `--slcan PATH`
to a serial line on which slcan is spoken at 500 kbit/s.
"""

import logging

import can

BITRATE = 500_000
# An adapter of a test is awake at once; real ones need two seconds.
WAKES_S = 0.1


def arguments(options):
    options.add_argument("--host", default="127.0.0.1")
    options.add_argument("--port", type=int)
    options.add_argument("--bus", default="can0")
    options.add_argument("--slcan")


def connect(asked):
    # A lost connection is told by the peer; python-can's own lines add nothing.
    logging.getLogger("can").setLevel(logging.CRITICAL)
    if asked.slcan:
        return can.Bus(
            interface="slcan",
            channel=asked.slcan,
            bitrate=BITRATE,
            sleep_after_open=WAKES_S,
        )
    return can.Bus(interface="socketcand", channel=asked.bus, host=asked.host, port=asked.port)
