"""A team's MLflow server, as docs/team.md has it: a PostgreSQL of its own, and `deploy/server/run`."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from servers import answers, free_port

SERVER = Path(__file__).parent.parent / "deploy" / "server"
ADMIN = "admin"


@contextmanager
def postgresql() -> Iterator[tuple[str, int]]:
    """Start Debian's PostgreSQL in a folder of its own; give a password for its user mlflow, and its port."""
    (newest,) = sorted(Path("/usr/lib/postgresql").glob("*/bin"))[-1:]
    # it refuses to run as root, and pytest's folders are for their owner alone
    root = os.geteuid() == 0
    folder = Path(tempfile.mkdtemp(prefix="postgresql-"))
    if root:
        shutil.chown(folder, "postgres")
    port, password = free_port(), secrets.token_hex(8)

    def call(*command: str, text: str = "") -> None:
        become = ["runuser", "-u", "postgres", "--"] if root else []
        done = subprocess.run(
            [*become, *command], input=text, capture_output=True, text=True, cwd=folder, check=False
        )
        assert done.returncode == 0, (command, done.stderr, done.stdout)

    data = str(folder / "data")
    call(str(newest / "initdb"), "--pgdata", data, "--auth-local", "trust", "--auth-host", "scram-sha-256")
    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder}"
    log = str(folder / "log")
    call(str(newest / "pg_ctl"), "start", "--wait", "--pgdata", data, "--log", log, "--options", options)
    try:
        connection = ["--host", str(folder), "--port", str(port), "postgres"]
        call(
            *("psql", "--quiet", "--set", "ON_ERROR_STOP=1", *connection),
            text=f"create role mlflow login password '{password}'; create database mlflow owner mlflow;"
            " create database mlflow_users owner mlflow; create database restored owner mlflow;"
            " create database restored_users owner mlflow; create database adopted owner mlflow;"
            " create database adopted_users owner mlflow;",
        )
        yield password, port
    finally:
        call(str(newest / "pg_ctl"), "stop", "--pgdata", data, "--mode", "immediate")
        shutil.rmtree(folder)


@dataclass
class TeamServer:
    """One that runs, and what a member sets to use it."""

    folder: Path
    settings: dict[str, str]

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.settings['MLFLOW_PORT']}"

    def environment(self, name: str = "", password: str = "") -> dict[str, str]:
        """Give the environment of somebody, from elsewhere."""
        mine = {key: value for key, value in os.environ.items() if not key.startswith("MLFLOW_")}
        commands = Path(sys.executable).parent
        mine |= {"PATH": f"{commands}:{mine['PATH']}", "MLFLOW_TRACKING_URI": self.address}
        if name:
            mine |= {"MLFLOW_TRACKING_USERNAME": name, "MLFLOW_TRACKING_PASSWORD": password}
        return mine

    def call(self, script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Call one of the server's scripts with its settings."""
        return subprocess.run(
            [str(SERVER / script), *arguments],
            env={**self.environment(), **self.settings},
            capture_output=True,
            text=True,
            check=False,
        )


def settings_of(
    folder: Path, password: str, port: int, database: str = "mlflow", users: str = "mlflow_users"
):
    """Fill in what server.env.example leaves open."""
    database_server = f"postgresql://mlflow:{password}@127.0.0.1:{port}"
    filled = {
        "MLFLOW_BACKEND_STORE_URI": f"{database_server}/{database}",
        "USERS_DATABASE_URI": f"{database_server}/{users}",
        "MLFLOW_ARTIFACTS_DESTINATION": str(folder / "artifacts"),
        "STATE_DIRECTORY": str(folder),
        "MLFLOW_FLASK_SERVER_SECRET_KEY": secrets.token_hex(32),
        "MLFLOW_AUTH_ADMIN_PASSWORD": secrets.token_hex(8),
        "MLFLOW_PORT": str(free_port()),
        "MLFLOW_WORKERS": "2",
    }
    example = (SERVER / "server.env.example").read_text().splitlines()
    given = dict(line.split("=", 1) for line in example if line and not line.startswith("#"))
    assert filled.keys() <= given.keys()
    return {**given, **filled}


@contextmanager
def team_server(folder: Path, settings: dict[str, str], seconds: float = 240) -> Iterator[TeamServer]:
    """Start `deploy/server/run` in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    server = TeamServer(folder, settings)
    with (folder / "server.log").open("w") as log:
        process = subprocess.Popen(
            [str(SERVER / "run")],
            cwd=folder,
            env={**server.environment(), **settings},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        end = time.monotonic() + seconds
        while not answers(f"{server.address}/health"):
            assert time.monotonic() < end, (folder / "server.log").read_text()
            assert process.poll() is None, (folder / "server.log").read_text()
            time.sleep(0.2)
        yield server
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, 15)
        process.wait(30)
