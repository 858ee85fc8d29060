"""The HDF5 library in a process of its own.

The library was not written for files that mean harm: a few in ten thousand damaged ones make it read or
write where it should not, and end the process. So it runs apart, under limits of memory and time, and what
ends it there is one more way in which a file is damaged.

Requests are lines of JSON: a method and its arguments. Answers are a line of JSON and, behind it, as
many bytes as it says.
"""

from __future__ import annotations

import contextlib
import functools
import io
import json
import os
import signal
import subprocess
import sys
import threading
import weakref
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt

from jetexp.errors import JetexpError, JetFileError

if TYPE_CHECKING:
    from jetexp.jets.formats.hdf5_library import Hdf5File

__all__ = ["Hdf5Process", "hdf5_process"]

# bytes that the library may take, and seconds that it may compute for one answer
MEMORY = 2**30
SECONDS = 5.0


def hdf5_process() -> Hdf5Process:
    """Give this process's one process with the HDF5 library, started when first asked for.

    Returns
    -------
    Hdf5Process
        A new one if the last one ended.

    Raises
    ------
    JetexpError
        If it does not start.
    """
    found = _started(os.getpid())
    if found.ended:
        _started.cache_clear()
        found = _started(os.getpid())
    return found


@functools.cache
def _started(parent: int) -> Hdf5Process:
    return Hdf5Process()


class Hdf5Process:
    """The HDF5 library in a process of its own.

    Raises
    ------
    JetexpError
        If it does not start.
    """

    def __init__(self) -> None:
        # this jetexp, wherever the process looks first
        here = str(Path(__file__).parents[3])
        path = os.pathsep.join(filter(None, (here, os.environ.get("PYTHONPATH"))))
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", __name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": path},
        )
        self._lock = threading.Lock()
        self.close = weakref.finalize(self, _end, self._process)
        try:
            self.ask("HDF5 files", "start")
        except JetFileError as error:
            raise JetexpError(
                f"HDF5 files cannot be read: {sys.executable} -m {__name__} ends at once, and says why."
            ) from error

    @property
    def ended(self) -> bool:
        """Whether the process has ended."""
        return self._process.poll() is not None or not self.close.alive

    def ask(self, where: str, method: str, *arguments: Any) -> tuple[Any, npt.NDArray[np.uint8]]:
        """Have something done by the library.

        Parameters
        ----------
        where : str
            The file, for messages.
        method : str
            A method of the process.
        *arguments
            Its arguments, JSON-serialisable.

        Returns
        -------
        answer
            What it returns.
        ndarray of uint8
            The bytes that come with it.

        Raises
        ------
        JetFileError
            If the file is damaged.
        """
        with self._lock:
            try:
                answer, data = _answer(self._process, json.dumps([method, *arguments]))
            # a pipe that broke, or half an answer
            except (OSError, ValueError, EOFError) as error:
                raise JetFileError(f"{where} is damaged: {self._last_words()}.") from error
            # an answer that nobody waited for would be taken for that to the next request
            except BaseException:
                self.close()
                raise
        if "refused" in answer:
            raise JetFileError(answer["refused"])
        return answer["answer"], data

    def _last_words(self) -> str:
        try:
            status = self._process.wait(timeout=1)
        except subprocess.TimeoutExpired:
            status = 0
        self.close()
        if status == -signal.SIGPROF:
            return f"the HDF5 library was not done with it after {SECONDS:g} seconds"
        return "the HDF5 library breaks down on it"


def _answer(process: subprocess.Popen[bytes], request: str) -> tuple[Any, npt.NDArray[np.uint8]]:
    requests, answers = process.stdin, cast(io.BufferedReader, process.stdout)
    if requests is None:
        raise ValueError("the process has no pipes")
    requests.write(request.encode() + b"\n")
    requests.flush()
    answer = json.loads(answers.readline())
    data = np.empty(answer["bytes"], dtype=np.uint8)
    if answers.readinto(data.data) != len(data):
        raise EOFError
    return answer, data


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    for pipe in (process.stdin, process.stdout):
        # it may have ended before it read all of the last request
        with contextlib.suppress(BrokenPipeError):
            if pipe is not None:
                pipe.close()
    process.wait()


class _Server:
    """What can be asked for, in the process itself; files go by number."""

    def __init__(self) -> None:
        self._files: dict[int, Hdf5File] = {}

    def start(self) -> None:
        """Load the library, and limit what it may take from now on."""
        from jetexp.jets.formats import hdf5_library  # noqa: F401

        _limit_memory()

    def open(self, path: str, called: str) -> tuple[int, list[str]]:
        from jetexp.jets.formats.hdf5_library import Hdf5File

        number = max(self._files, default=0) + 1
        self._files[number] = Hdf5File(Path(path), called)
        return number, self._files[number].names

    def close(self, file: int) -> None:
        self._files.pop(file).close()

    def header(self, file: int, name: str) -> tuple[tuple[int, ...], Any]:
        return self._files[file].header(name)

    def rows(self, file: int, *which: Any) -> npt.NDArray[Any]:
        return self._files[file].rows(*which)

    def attribute(self, file: int, name: str, attribute: str) -> str | None:
        found = self._files[file].attribute(name, attribute)
        return None if found is None else found.decode("latin-1")

    def serve(self, requests: IO[bytes], answers: IO[bytes]) -> None:
        """Answer until there are no more requests."""
        for line in requests:
            method, *arguments = json.loads(line)
            signal.setitimer(signal.ITIMER_PROF, SECONDS)
            told: dict[str, Any] = {"bytes": 0}
            data = np.zeros(0, dtype=np.uint8)
            try:
                answer = getattr(self, method)(*arguments)
                if isinstance(answer, np.ndarray):
                    data, answer = answer.reshape(-1).view(np.uint8), None
                told |= {"bytes": data.nbytes, "answer": answer}
            except JetFileError as error:
                told["refused"] = str(error)
            signal.setitimer(signal.ITIMER_PROF, 0)
            answers.write(json.dumps(told).encode() + b"\n")
            answers.write(data.data)
            answers.flush()


def _limit_memory() -> None:
    """Limit what this process may take beyond what it has; where the system knows how much that is."""
    if sys.platform == "linux":
        import resource

        pages = int(Path("/proc/self/statm").read_text().split()[5])
        limit = pages * resource.getpagesize() + MEMORY
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


if __name__ == "__main__":
    # whoever asked decides when to stop
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _Server().serve(sys.stdin.buffer, sys.stdout.buffer)
