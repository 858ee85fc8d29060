"""A command stops at every signal that asks it to, with the exit status that people expect."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from jetexp.interruption import STOPPING, first_signal_raises

ROOT = Path(__file__).parent.parent


@pytest.fixture
def nothing_is_ignored():
    """Let signals be as they are in a terminal: nohup, for one, has some of them ignored."""
    before = {one: signal.signal(one, signal.SIG_DFL) for one in STOPPING if one != signal.SIGINT}
    yield
    for one, handler in before.items():
        signal.signal(one, handler)


@pytest.mark.parametrize("number", [one for one in STOPPING if one != signal.SIGINT])
@pytest.mark.usefixtures("nothing_is_ignored")
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
