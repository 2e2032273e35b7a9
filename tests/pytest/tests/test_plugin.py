"""What the fixture does around a test, against a daemon of paper; pytest itself runs inside of these tests."""

import pytest

STEP = """
def test_it(rig):
    rig.at("+1.5s").step("ess1.p", "1kW")
"""


@pytest.fixture
def inner(pytester, paper, monkeypatch):
    """Runs a test file in a pytest of its own, against the daemon of paper."""
    monkeypatch.delenv("GRIDRIG_API", raising=False)
    monkeypatch.setenv("GRIDRIG_TOKEN", "paper")

    def run(text, *arguments, bench=True):
        pytester.makepyfile(text)
        where = ("--gridrig", paper.api) if bench else ()
        return pytester.runpytest_inprocess("-p", "no:cacheprovider", *where, *arguments)

    return run


def test_without_a_bench_it_is_skipped_with_the_reason(inner):
    result = inner(STEP, "-rs", bench=False)
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["*no bench: name the daemon with --gridrig URL*"])


def test_a_bench_that_is_named_and_not_there_is_an_error_and_no_skip(inner):
    result = inner(STEP, "--gridrig", "http://127.0.0.1:9", bench=False)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*the daemon at http://127.0.0.1:9 does not answer*"])


def test_a_test_has_the_bench_armed_and_leaves_it_at_rest(inner, paper):
    inner(STEP).assert_outcomes(passed=1)
    assert paper.names() == ["release", "release", "arm", "hold", "release", "lock/drop"]
    hold = next(asked for asked in paper.asked if asked[0] == "hold")
    assert hold == ("hold", {"device": "ess1", "setpoint": {"p_w": 1000.0}}, "+1.500000000")
    assert not paper.armed and paper.holder is None


def test_a_test_that_fails_leaves_it_at_rest_too(inner, paper):
    inner(STEP + "    assert False\n").assert_outcomes(failed=1)
    assert paper.names()[-2:] == ["release", "lock/drop"]
    assert not paper.armed and paper.holder is None


def test_what_somebody_else_has_is_not_taken(inner, paper):
    paper.holder = "ann"
    result = inner(STEP)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*the bench cannot be had: ann has the bench*"])
    assert paper.names() == [] and paper.holder == "ann"


@pytest.mark.parametrize(
    "spoil, why",
    [
        (lambda paper: setattr(paper, "blocked", "two masters"), "*cannot be armed: two masters*"),
        (lambda paper: setattr(paper, "mode", "safe"), "*in its safe mode*"),
    ],
)
def test_a_bench_that_is_not_ready_is_given_back(inner, paper, spoil, why):
    spoil(paper)
    result = inner(STEP)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines([why])
    assert paper.names() == ["lock/drop"] and paper.holder is None


def test_a_full_queue_is_waited_for(inner, paper):
    busy = [(503, {"code": "busy", "message": "too many", "help": "wait"})] * 2
    plain = paper.post

    def post(path, body, headers):
        return busy.pop() if path.endswith("/release") and busy else plain(path, body, headers)

    paper.post = post
    inner(STEP).assert_outcomes(passed=1)
    assert busy == []


def test_a_refused_command_fails_the_test_in_the_daemons_words(inner, paper):
    paper.refuse["/api/v1/hold"] = (422, {"code": "bad_moment", "message": "that moment was 3 s ago", "help": "later"})
    result = inner(STEP)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*that moment was 3 s ago (bad_moment, 422); later*"])


RECORD = """
def test_it(rig):
    with rig.record("ess1.p", tail="0s") as record:
        asked = rig.step("ess1.p", "1kW")
    assert record["ess1.p"].t90(since=asked, to=1000) < 1.0
"""


def readings(reached_after_s):
    """Every 0.1 s from 95 s to 110 s, and nothing until so long behind 100 s."""
    return [(t / 10, 1000.0 if t / 10 > 100 + reached_after_s else 0.0) for t in range(950, 1100)]


def test_a_record_is_the_daemons_and_its_figures_are_told(inner, paper, pytester):
    paper.readings[("ess1", "ac.p")] = readings(0.5)
    inner(RECORD, "-o", "junit_family=legacy", "--junit-xml=junit.xml").assert_outcomes(passed=1)
    junit = (pytester.path / "junit.xml").read_text()
    assert 'name="t90 of ess1.p"' in junit and "0.55 s ± 0.05" in junit


def test_a_device_that_is_too_slow_fails_with_what_was_measured(inner, paper):
    paper.readings[("ess1", "ac.p")] = readings(2.0)
    result = inner(RECORD)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*measured on the bench*", "*t90 of ess1.p: 2.05 s ± 0.05*"])


def test_a_record_that_does_not_tell_is_no_pass_and_may_be_a_skip(inner, paper):
    result = inner(RECORD)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*Inconclusive: ess1.p was not measured in the second before the step*"])
    result = inner(RECORD, "--inconclusive=skip", "-rs")
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["*inconclusive: ess1.p was not measured*"])


def test_a_device_that_is_not_there_is_told_with_those_that_are(inner):
    result = inner(STEP.replace("ess1", "ess9"))
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*no device called 'ess9'; it has ess1, plug1, met1*"])
