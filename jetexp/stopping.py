"""How a command stops at a signal, whatever it is in the midst of. Imports nothing slow."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

__all__ = ["STOPPING", "first_signal_raises", "stop_prevails", "undisturbed"]

# Ctrl-C; kill, an eviction; what batch systems send before an eviction, or when time is nearly up
STOPPING = tuple(
    getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGXCPU")
    if hasattr(signal, name)
)
# seconds until a stop of which nothing was seen is raised once more
AGAIN = 2.0


class _FirstSignal:
    """Handler of signals: the first raises, and again after a while if it was lost on its way."""

    def __init__(self) -> None:
        self.number: int | None = None
        self.seen = self.again = False
        self.held = self.waiting = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if self.number is None:
            self.number = number
        elif not self.again:
            return
        self.again = False
        if self.held:
            self.waiting = True
            return
        self.stop()

    def stop(self) -> NoReturn:
        """Raise, and see to it that this is not lost."""
        later = threading.Timer(AGAIN, self._raise_again)
        later.daemon = True
        later.start()
        raise self.error()

    def error(self) -> BaseException:
        """Give what says that the command was stopped; its status is the shell's convention."""
        if self.number in (None, signal.SIGINT):
            return KeyboardInterrupt()
        return SystemExit(128 + self.number)

    def _raise_again(self) -> None:
        # no longer this handler's once the block is left
        if self.number is not None and not self.seen and _in_place() is self:
            self.again = True
            os.kill(os.getpid(), self.number)


@contextmanager
def first_signal_raises() -> Iterator[None]:
    """Let the first INT, TERM or eviction signal raise, and ignore any after it.

    Under ``mlflow run``, Ctrl-C arrives as INT and at once again as TERM; a second exception in the
    midst of the first one's cleaning up would leave runs without a status.
    """
    if threading.current_thread() is not threading.main_thread() or _in_place() is not None:
        yield
        return
    handler = _FirstSignal()
    # what nohup, or a shell for a job in the background, has ignored stays so
    numbers = [one for one in STOPPING if signal.getsignal(one) is not signal.SIG_IGN]
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        with stop_prevails():
            yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)


@contextmanager
def stop_prevails() -> Iterator[None]:
    """Let a block that was told to stop end with that, whatever has become of it on its way.

    A signal's exception may be raised in the midst of compiled code which turns it into another, as
    TensorFlow does where it traces a network (``SystemError``), or drops it.
    """
    try:
        yield
    except BaseException as error:
        handler = _in_place()
        if handler is None or handler.number is None:
            raise
        handler.seen = True
        if isinstance(error, Exception):
            raise handler.error() from error
        raise


@contextmanager
def undisturbed() -> Iterator[None]:
    """Put off a stop until the block is done, lest it come between a run and its last status."""
    # a mask of signals would hold them off one thread, and Python calls handlers whichever thread they reach
    handler = _in_place()
    if handler is None or handler.held or threading.current_thread() is not threading.main_thread():
        yield
        return
    handler.held = True
    try:
        yield
    finally:
        handler.held = False
        if handler.waiting:
            handler.waiting = False
            handler.stop()


def _in_place() -> _FirstSignal | None:
    """Give the handler, which is kept where the process keeps its handlers."""
    for number in STOPPING:
        handler = signal.getsignal(number)
        if isinstance(handler, _FirstSignal):
            return handler
    return None
