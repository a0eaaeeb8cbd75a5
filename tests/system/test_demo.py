"""`make demo` is the first thing that a newcomer runs."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.system.parts import REPOSITORY


@pytest.mark.usefixtures("ministack_url")  # skips, visibly, where it is not installed
def test_the_demo_finds_every_answer_right(tmp_path):
    """It checks its own answers against what it wrote, and says so."""
    done = subprocess.run(
        [sys.executable, "demo/demo.py"],
        cwd=REPOSITORY,
        env={**os.environ, "DDBTRAIL_DEMO_ARCHIVE": str(tmp_path / "archive"), "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        timeout=170,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Every answer is what was written." in done.stdout
    assert "✗" not in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    assert "\x1b[" not in done.stdout
