"""A command stops at every signal that asks it to, with the exit status that people expect."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import pytest

from jetexp.stopping import STOPPING, first_signal_raises, stop_prevails, undisturbed

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


def loses_what_is_raised(number):
    """Do as compiled code that calls Python and clears its errors."""
    try:
        os.kill(os.getpid(), number)
        time.sleep(5)
    except BaseException:
        pass


def makes_another_error_of_it(number):
    """Do as TensorFlow where it traces a network."""
    try:
        os.kill(os.getpid(), number)
        time.sleep(5)
    except BaseException as error:
        raise SystemError("bad argument to internal function") from error


@pytest.mark.usefixtures("nothing_is_ignored")
def test_a_stop_that_was_lost_is_raised_again():
    def stopped():
        with first_signal_raises():
            loses_what_is_raised(signal.SIGTERM)
            loses_what_is_raised(signal.SIGTERM)
            time.sleep(60)

    began = time.monotonic()
    with pytest.raises(SystemExit) as raised:
        stopped()
    assert raised.value.code == 128 + signal.SIGTERM
    assert time.monotonic() - began < 30


@pytest.mark.parametrize(
    ("number", "expected"), [(signal.SIGTERM, SystemExit), (signal.SIGINT, KeyboardInterrupt)]
)
@pytest.mark.usefixtures("nothing_is_ignored")
def test_a_stop_that_was_made_another_error_is_a_stop_again_and_not_raised_twice(number, expected):
    def stopped():
        with first_signal_raises():
            try:
                with stop_prevails():
                    makes_another_error_of_it(number)
            finally:
                # longer than a stop that was lost is waited for
                time.sleep(3)

    with pytest.raises(expected) as raised:
        stopped()
    assert isinstance(raised.value.__cause__, SystemError)


def test_an_error_without_a_stop_stays_what_it_is():
    with pytest.raises(SystemError), first_signal_raises():
        raise SystemError


@pytest.mark.usefixtures("nothing_is_ignored")
def test_a_stop_is_put_off_though_another_thread_takes_the_signal():
    done = []

    def stopped():
        with first_signal_raises():
            with undisturbed():
                os.kill(os.getpid(), signal.SIGTERM)
                time.sleep(0.2)
                done.append("all of it")
            done.append("too much")

    over = threading.Event()
    another = threading.Thread(target=over.wait)
    another.start()
    try:
        with pytest.raises(SystemExit):
            stopped()
    finally:
        over.set()
        another.join()
    assert done == ["all of it"]
