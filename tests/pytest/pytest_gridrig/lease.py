"""The lease of a bench, kept by a thread as long as this process lives.

It is short and renewed all the time. A process that is killed, hangs or loses the network renews nothing, and
the daemon then brings the bench to rest and disarms it: nobody stands beside it any more. So the way to rest
does not depend on any line of Python that would have to be reached.
"""

import os
import socket
import threading

from pytest_gridrig.daemon import Refused, Unreachable

# How long the bench stays armed after the last sign of life, in seconds. Chosen: 5 s, what a garbage collection
# or a loaded machine may take, and short beside the revert timers of devices.
LASTS_S = 5.0
# How often it is renewed, as a share of that. Chosen: a quarter, so that three signs of life may be lost.
RENEWED_EVERY = 0.25
# Longest name that the daemon keeps, in characters.
NAME_CHARS_MAX = 64


def own_name():
    """A name that no other process has: two test runs keep each other out."""
    user = os.environ.get("USER") or "pytest"
    name = f"{user}@{socket.gethostname()} pytest {os.getpid()}"
    # A header is Latin-1, and what is beyond it would be no name at all.
    return name.encode("ascii", "replace").decode()[-NAME_CHARS_MAX:]


class Lease:
    """The bench, had by this process between `take` and `drop`."""

    def __init__(self, daemon, lasts_s=LASTS_S):
        self._daemon, self._lasts_s = daemon, lasts_s
        self._over = threading.Event()
        self._keeper = None
        self._lost = None

    def take(self):
        """Takes the bench; Refused with the code "locked" says who has it."""
        self._renew()
        self._keeper = threading.Thread(target=self._keep, name="gridrig-lease", daemon=True)
        self._keeper.start()

    def arm(self):
        """Lets setpoints through to the devices, as long as the lease is kept."""
        self._daemon.command("/api/v1/arm", {"for_s": self._lasts_s})

    def drop(self):
        """Gives the bench back; an armed one is brought to rest and disarmed."""
        self._over.set()
        if self._keeper is not None:
            self._keeper.join()
        self._daemon.command("/api/v1/lock/drop")

    def check(self):
        """Raises what took the bench away, if anything has."""
        if self._lost is not None:
            raise self._lost

    def _renew(self):
        self._daemon.command("/api/v1/lock/take", {"for_s": self._lasts_s})

    def _keep(self):
        while not self._over.wait(self._lasts_s * RENEWED_EVERY):
            try:
                self._renew()
                self._lost = None
            except Refused as no:
                # Somebody else has it, so it did run out: what is measured from here on is not this test's.
                self._lost = no
                return
            except Unreachable as gone:
                # It may come back before the lease is over; whoever commands meanwhile is told.
                self._lost = gone
