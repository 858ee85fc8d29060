"""Real servers of MLflow's on loopback, and requests to them."""

import json
import os
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
def running(arguments, folder, alive, seconds):
    """Run an `mlflow` command that serves, in a folder, without jetexp or a store in reach; give its port.

    What it says is in ``folder``/log.
    """
    commands = Path(sys.executable).parent
    environment = {**os.environ, "PATH": f"{commands}:{os.environ['PATH']}"}
    environment["TF_CPP_MIN_LOG_LEVEL"] = "2"
    for name in ("PYTHONPATH", "MLFLOW_TRACKING_URI"):
        environment.pop(name, None)
    port = free_port()
    command = [str(commands / "mlflow"), *arguments, "--port", str(port), "--host", "127.0.0.1"]
    elsewhere, log = Path(folder) / "elsewhere", Path(folder) / "log"
    elsewhere.mkdir()
    with log.open("w") as written:
        process = subprocess.Popen(
            command, cwd=elsewhere, env=environment, stdout=written, stderr=written, start_new_session=True
        )
    try:
        end = time.monotonic() + seconds
        while not answers(f"http://127.0.0.1:{port}/{alive}"):
            assert time.monotonic() < end, log.read_text()
            assert process.poll() is None, log.read_text()
            time.sleep(0.1)
        yield port
    finally:
        os.killpg(process.pid, 15)
        process.wait(30)


def serve(model, folder, env_manager="local", seconds=150):
    """Run `mlflow models serve` of a model's folder; give its port."""
    return running(
        ["models", "serve", "--model-uri", str(model), "--env-manager", env_manager], folder, "ping", seconds
    )


def interface(store, folder):
    """Run `mlflow server` over a store, with its pages; give its port."""
    return running(["server", "--backend-store-uri", store, "--workers", "1"], folder, "health", 150)


def answers(address):
    try:
        with urllib.request.urlopen(address, timeout=5) as answer:
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
