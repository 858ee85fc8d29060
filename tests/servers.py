"""A real `mlflow models serve` on loopback, and requests to it."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@contextmanager
def serve(model, folder, env_manager="local", seconds=150, **environment):
    """Serve a model's folder from an empty folder, without jetexp or a store in reach; give the port.

    What the server says is in ``folder``/log.
    """
    elsewhere = Path(folder) / "elsewhere"
    elsewhere.mkdir()
    port = free_port()
    commands = Path(sys.executable).parent
    environment = {**os.environ, "PATH": f"{commands}:{os.environ['PATH']}", **environment}
    environment |= {"MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false", "TF_CPP_MIN_LOG_LEVEL": "2"}
    for name in ("PYTHONPATH", "MLFLOW_TRACKING_URI"):
        environment.pop(name, None)
    command = [shutil.which("mlflow", path=environment["PATH"]), "models", "serve", "-m", str(model)]
    command += ["--env-manager", env_manager, "-p", str(port), "-h", "127.0.0.1"]
    log = Path(folder) / "log"
    with log.open("w") as written:
        process = subprocess.Popen(
            command, cwd=elsewhere, env=environment, stdout=written, stderr=written, start_new_session=True
        )
    try:
        end = time.monotonic() + seconds
        while not is_alive(port):
            assert time.monotonic() < end, log.read_text()
            assert process.poll() is None, log.read_text()
            time.sleep(0.1)
        yield port
    finally:
        os.killpg(process.pid, 15)
        process.wait(30)


def is_alive(port):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/ping", timeout=5) as answer:
            return answer.status == 200
    except OSError:
        return False


def post(port, body, content_type="application/json"):
    """Give the status, and the answer: read from JSON if it is a good one, else as it is."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/invocations", body, {"Content-Type": content_type}
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()
