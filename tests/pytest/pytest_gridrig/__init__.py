"""A bench that gridrig runs, for tests that are written in Python.

The fixture `rig` is a bench that this test has to itself: leased, armed, and brought to rest when the test
ends, however it ends. What is measured comes from the daemon's own record, and moments are those of the
daemon's own clock, so that nothing depends on how busy the machine is on which Python runs.
"""

from pytest_gridrig.bench import Rig
from pytest_gridrig.daemon import Daemon, Refused, Unreachable
from pytest_gridrig.trace import Inconclusive, Measured, Trace

__all__ = ["Daemon", "Inconclusive", "Measured", "Refused", "Rig", "Trace", "Unreachable"]
