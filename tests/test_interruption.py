"""A command stops when the ``mlflow run`` that started it is gone, and at every signal that asks it to."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from jetexp.interruption import STOPPING, first_signal_raises

ROOT = Path(__file__).parent.parent
BELOW = """
import sys, time
sys.path.insert(0, {root!r})
from jetexp.interruption import stop_with_mlflow
with stop_with_mlflow():
    print("there", flush=True)
    time.sleep(60)
"""
ABOVE = "import subprocess, sys; subprocess.run(['bash', '-c', sys.argv[1] + '; true'])"


@pytest.mark.parametrize("name", ["mlflow", "another"])
def test_a_command_stops_when_its_mlflow_is_gone_though_a_shell_lives_between(tmp_path, name):
    (tmp_path / name).write_text(ABOVE)
    (tmp_path / "below.py").write_text(BELOW.format(root=str(ROOT)))
    above = subprocess.Popen(
        [sys.executable, str(tmp_path / name), f"{sys.executable} {tmp_path / 'below.py'}"],
        env={**os.environ, "MLFLOW_RUN_ID": "some"},
        stdout=subprocess.PIPE,
        start_new_session=True,
        text=True,
    )
    try:
        assert above.stdout is not None
        with above.stdout as said:
            assert said.readline() == "there\n"
        above.kill()
        above.wait()
        end = time.monotonic() + 5
        while time.monotonic() < end and alive(above.pid):
            time.sleep(0.05)
        assert alive(above.pid) is (name == "another")
    finally:
        if alive(above.pid):
            os.killpg(above.pid, signal.SIGKILL)


def alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize("number", [one for one in STOPPING if one != signal.SIGINT])
def test_every_signal_that_stops_has_its_exit_status_and_a_second_one_does_nothing(number):
    def stopped():
        with first_signal_raises():
            try:
                os.kill(os.getpid(), number)
                time.sleep(5)
            finally:
                os.kill(os.getpid(), number)
                os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(SystemExit) as raised:
        stopped()
    assert raised.value.code == 128 + number
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_DFL


def test_a_signal_that_was_ignored_stays_so():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with first_signal_raises():
            os.kill(os.getpid(), signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)
