"""The fixture `rig`, its options, and what becomes of a test whose record does not tell."""

import os

import pytest

from pytest_gridrig.bench import NotReady, Rig
from pytest_gridrig.daemon import Daemon, Refused
from pytest_gridrig.lease import LASTS_S, Lease, own_name
from pytest_gridrig.trace import Inconclusive


def pytest_addoption(parser):
    group = parser.getgroup("gridrig", "a bench that gridrig runs")
    group.addoption(
        "--gridrig",
        metavar="URL",
        default=os.environ.get("GRIDRIG_API"),
        help="where the daemon is, such as http://127.0.0.1:7070 or https://bench.lab:7070 [$GRIDRIG_API]; without it tests of a bench are skipped",
    )
    group.addoption(
        "--gridrig-token-env",
        metavar="NAME",
        default="GRIDRIG_TOKEN",
        help="environment variable with the token that the daemon wants for commands",
    )
    group.addoption(
        "--gridrig-ca",
        metavar="FILE",
        default=os.environ.get("GRIDRIG_CA"),
        help="the authority that vouches for a daemon at https://, such as keys/ca.pem [$GRIDRIG_CA, else the system's]",
    )
    group.addoption(
        "--gridrig-lease",
        metavar="SECONDS",
        type=float,
        default=LASTS_S,
        help="how long after the last sign of life of this process the bench is brought to rest",
    )
    group.addoption(
        "--inconclusive",
        choices=("error", "skip"),
        default="error",
        help="what a test becomes whose record does not tell; as of `gridrig test`",
    )


@pytest.fixture
def rig(request):
    """A bench that this test has to itself: leased, armed, and at rest afterwards."""
    api = request.config.getoption("gridrig")
    if not api:
        pytest.skip("no bench: name the daemon with --gridrig URL or GRIDRIG_API")
    token = os.environ.get(request.config.getoption("gridrig_token_env"))
    try:
        daemon = Daemon(api, token, own_name(), request.config.getoption("gridrig_ca"))
    except ValueError as wrong:
        raise NotReady(str(wrong)) from None
    lease = Lease(daemon, request.config.getoption("gridrig_lease"))
    try:
        lease.take()
    except Refused as no:
        raise NotReady(f"the bench cannot be had: {no}") from None

    def tell(what, figure):
        request.node.user_properties.append((what, figure))

    bench = None
    try:
        bench = Rig(daemon, lease, tell)
        bench.begin()
    except BaseException:
        # What was begun is taken back, whatever went wrong.
        lease.drop()
        raise
    try:
        yield bench
    finally:
        bench.end()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    raised = call.excinfo.value if call.excinfo else None
    if isinstance(raised, Inconclusive) and item.config.getoption("inconclusive") == "skip":
        report.outcome = "skipped"
        path, line, _ = item.location
        report.longrepr = (path, line or 0, f"inconclusive: {raised}")
    if report.when == "call" and report.failed and item.user_properties:
        told = "\n".join(f"{what}: {figure}" for what, figure in item.user_properties)
        report.sections.append(("measured on the bench", told))
