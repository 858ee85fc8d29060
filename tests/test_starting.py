"""A command stops when the ``mlflow run`` that started it is gone; its run is known from the first moment."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from jetexp.starting import starting

ROOT = Path(__file__).parent.parent

BELOW = """
import sys, time
sys.path.insert(0, {root!r})
from jetexp.starting import stop_with_mlflow
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


def test_it_imports_nothing_slow():
    slow = ("mlflow", "keras", "pandas", "numpy")
    told = f"import sys, jetexp.starting; print([one for one in {slow} if one in sys.modules])"
    done = subprocess.run([sys.executable, "-c", told], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_run_that_could_not_be_ended_is_known_to_the_next_start(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_RUN_ID", "f" * 32)

    def fails():
        with starting(tmp_path):
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        fails()
    assert [path.name for path in tmp_path.iterdir()] == [f"starting-{'f' * 32}"]
