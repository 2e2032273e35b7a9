"""A test that is killed in the middle, for whoever watches the bench from outside: it asks for power and hangs."""

import threading


def test_that_never_ends(rig):
    rig.step("ess1.p", "1kW")
    print("holding", flush=True)
    threading.Event().wait()
