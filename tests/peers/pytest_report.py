"""A thousand empty assertions under pytest, with JUnit and pytest-html's own page: time and bytes."""

import json
import pathlib
import subprocess
import sys
import tempfile
import time

import pytest  # noqa: F401  (absent: said by the error of this line)
import pytest_html  # noqa: F401

count = int(sys.argv[1])
with tempfile.TemporaryDirectory() as folder:
    here = pathlib.Path(folder)
    (here / "test_many.py").write_text(
        "import pytest\n"
        f"@pytest.mark.parametrize('n', range({count}))\n"
        "def test_one(n):\n    assert n >= 0\n"
    )
    command = [sys.executable, "-m", "pytest", "-q", "--junit-xml=j.xml", "--html=r.html", "--self-contained-html"]
    start = time.monotonic()
    subprocess.run(command, cwd=here, check=True, capture_output=True)
    took = time.monotonic() - start
    print(json.dumps({
        "seconds": round(took, 3),
        "html_bytes": (here / "r.html").stat().st_size,
        "junit_bytes": (here / "j.xml").stat().st_size,
    }))
