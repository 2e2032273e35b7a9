"""The bench is had as long as this process gives signs of life, and no longer."""

import threading

import pytest

from pytest_gridrig import Daemon, Refused, Unreachable
from pytest_gridrig.lease import NAME_CHARS_MAX, Lease, own_name


def taken(paper, times):
    """Waits until it was taken so often; the event is set by the daemon of paper, not by a clock."""
    enough = threading.Event()
    plain = paper.post

    def post(path, body, headers):
        answer = plain(path, body, headers)
        if [asked for asked, _, _ in paper.asked].count("lock/take") >= times:
            enough.set()
        return answer

    paper.post = post
    return enough


def test_a_lease_is_renewed_until_it_is_dropped(paper):
    enough = taken(paper, 4)
    lease = Lease(Daemon(paper.api, "t", "me"), lasts_s=0.08)
    lease.take()
    assert enough.wait(10), "three signs of life"
    assert paper.holder == "me"
    assert paper.asked[0] == ("lock/take", {"for_s": 0.08}, None)
    lease.drop()
    many = len(paper.asked)
    assert paper.asked[-1][0] == "lock/drop" and paper.holder is None
    lease.check()
    assert len(paper.asked) == many, "nothing is asked after it"


def test_whoever_lost_the_bench_is_told_at_the_next_command(paper):
    lease = Lease(Daemon(paper.api, "t", "me"), lasts_s=0.08)
    lease.take()
    paper.holder = "ann"
    lease._keeper.join(10)
    with pytest.raises(Refused, match="ann has the bench"):
        lease.check()


def test_a_daemon_that_is_gone_is_told_with_what_to_do():
    with pytest.raises(Unreachable, match="gridrig run"):
        Daemon("http://127.0.0.1:9").read("/api/v1/state")
    for bad in ["ftp://127.0.0.1:7070", "127.0.0.1:7070", "http://"]:
        with pytest.raises(ValueError, match="write it like"):
            Daemon(bad)


def test_two_processes_have_two_names_that_the_daemon_keeps_whole(monkeypatch):
    import os

    assert str(os.getpid()) in own_name()
    monkeypatch.setenv("USER", "ü" * 200)
    assert len(own_name()) == NAME_CHARS_MAX and own_name().isascii() and own_name().endswith(str(os.getpid()))


def test_the_token_is_in_no_message():
    assert "s3cret" not in repr(Daemon("http://127.0.0.1:7070", "s3cret"))
