"""Real servers of MLflow's on loopback, and requests to them."""

import http.client
import json
import os
import random
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from contextlib import contextmanager, suppress
from pathlib import Path

# below those that a system gives to whoever asks for any, as other tests do meanwhile
PORTS = range(10_000, 32_000)


def free_port():
    """Find a port for a server that is started later."""
    chance = random.SystemRandom()
    while True:
        port = chance.choice(PORTS)
        with socket.socket() as one, suppress(OSError):
            one.bind(("127.0.0.1", port))
            return port


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
    except (OSError, http.client.HTTPException):
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


class TrackingServer:
    """MLflow's tracking server over a store of its own; it can be killed and started again."""

    def __init__(self, folder):
        self.folder, self.port = Path(folder), free_port()
        self.address = f"http://127.0.0.1:{self.port}"
        self.process = None

    def start(self, seconds=150):
        self.folder.mkdir(parents=True, exist_ok=True)
        commands = Path(sys.executable).parent
        environment = {**os.environ, "PATH": f"{commands}:{os.environ['PATH']}"}
        environment.pop("MLFLOW_TRACKING_URI", None)
        command = [str(commands / "mlflow"), "server", "--host", "127.0.0.1", "--port", str(self.port)]
        command += ["--backend-store-uri", f"sqlite:///{self.folder / 'mlflow.db'}", "--workers", "1"]
        command += ["--artifacts-destination", str(self.folder / "artifacts")]
        with (self.folder / "server.log").open("a") as log:
            self.process = subprocess.Popen(
                command, cwd=self.folder, env=environment, stdout=log, stderr=log, start_new_session=True
            )
        end = time.monotonic() + seconds
        try:
            while not answers(f"{self.address}/health"):
                assert time.monotonic() < end, (self.folder / "server.log").read_text()
                assert self.process.poll() is None, (self.folder / "server.log").read_text()
                time.sleep(0.1)
        except BaseException:
            self.kill()
            raise
        return self

    def kill(self):
        if self.process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, 9)
            self.process.wait(30)
            self.process = None


class Link:
    """A way to a server that can be cut, which takes no time, and restored."""

    def __init__(self, port):
        self.to, self.port = port, free_port()
        self.address = f"http://127.0.0.1:{self.port}"
        self.open_sockets = []
        self.restore()

    def restore(self):
        self.entrance = socket.create_server(("127.0.0.1", self.port))
        self.open_sockets = [self.entrance]
        threading.Thread(target=self._accept, args=(self.entrance,), daemon=True).start()

    def cut(self):
        for one in self.open_sockets:
            # a thread that waits for it wakes up
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
        self.open_sockets = []

    def _accept(self, entrance):
        with suppress(OSError):
            while True:
                client, _ = entrance.accept()
                server = socket.create_connection(("127.0.0.1", self.to))
                self.open_sockets += [client, server]
                for ends in ((client, server), (server, client)):
                    threading.Thread(target=self._pass_on, args=ends, daemon=True).start()

    @staticmethod
    def _pass_on(one, other):
        with suppress(OSError):
            while content := one.recv(65536):
                other.sendall(content)
            other.shutdown(socket.SHUT_WR)
