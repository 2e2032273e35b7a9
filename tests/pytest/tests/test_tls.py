"""Which daemons are believed, as far as that can be said without one; `tests/run` tries it on a bench with TLS."""

import pytest
from pytest_gridrig import Daemon

from test_plugin import STEP, inner  # noqa: F401


@pytest.mark.parametrize(
    ("api", "why"),
    [
        ("ftp://bench.lab", "is no address of a daemon"),
        ("https://", "is no address of a daemon"),
        ("bench.lab:7070", "is no address of a daemon"),
    ],
)
def test_what_is_no_address_is_told_with_one_that_is(api, why):
    with pytest.raises(ValueError, match=why) as told:
        Daemon(api)
    assert "https://bench.lab:7070" in str(told.value)


def test_a_file_that_is_no_authority_is_told_and_is_never_left_out(tmp_path):
    wrong = tmp_path / "ca.pem"
    wrong.write_text("not a certificate")
    for ca in (wrong, tmp_path / "absent.pem"):
        with pytest.raises(ValueError, match="holds no certificate of an authority"):
            Daemon("https://127.0.0.1:7070", ca=str(ca))
    with pytest.raises(ValueError, match="write https://"):
        Daemon("http://127.0.0.1:7070", ca=str(wrong))


def test_a_wrong_authority_is_an_error_of_the_fixture(inner, tmp_path):  # noqa: F811
    wrong = tmp_path / "ca.pem"
    wrong.write_text("not a certificate")
    where = ("--gridrig", "https://127.0.0.1:9", "--gridrig-ca", str(wrong))
    result = inner(STEP, *where, bench=False)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*holds no certificate of an authority*"])


def test_a_token_goes_with_every_question(paper):
    told = Daemon(paper.api, "paper").read("/api/v1/state")
    assert told["cycle"]["t_s"] == 100.0
    assert paper.passes == ["Bearer paper"]
    Daemon(paper.api).read("/api/v1/state")
    assert paper.passes == ["Bearer paper", None]
