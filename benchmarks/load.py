"""Sixteen clients record runs at once: to a team's server on PostgreSQL, and to one SQLite file.

Each records twenty runs of 200 metric points and five artifacts. Everything is read back afterwards, and
compared with what was recorded. PostgreSQL must be installed; the server is started as docs/team.md has it.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import mlflow
import numpy as np
from default_network import ROOT

from jetexp.mlflow_store import connect
from jetexp.tracking import open_parent

sys.path.insert(0, str(ROOT / "tests"))

from team import ADMIN, postgresql, settings_of, team_server

EXPERIMENT, POINTS, FILES = "load", 200, 5


def curve(client: int, run: int) -> np.ndarray:
    """Give the points of a run's curve."""
    return np.random.default_rng([client, run]).normal(size=POINTS)


def text(client: int, run: int, file: int) -> str:
    """Give the content of a run's file."""
    return f"client {client}, run {run}, file {file}\n" * 200


def record(client: int, runs: int, folder: Path) -> None:
    """Record runs, once everybody is there."""
    connect()
    (folder / f"ready-{client}").touch()
    while not (folder / "go").exists():
        time.sleep(0.05)
    with open_parent(EXPERIMENT, f"client-{client}") as parent:
        for run in range(runs):
            with parent.child(f"run-{run:02d}") as child:
                child.curve("curve", np.arange(POINTS), curve(client, run))
                for file in range(FILES):
                    child.text(f"texts/{file}.txt", text(client, run, file))


def seconds_of(clients: int, runs: int, environment: dict[str, str]) -> float:
    """Have clients record at once; give the time until all have ended."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        processes = [
            subprocess.Popen(
                [
                    sys.executable,
                    __file__,
                    "--client",
                    str(client),
                    "--runs",
                    str(runs),
                    "--folder",
                    temporary,
                ],
                env={**environment, "PYTHONPATH": str(ROOT)},
                cwd=temporary,
                stderr=subprocess.DEVNULL,
            )
            for client in range(clients)
        ]
        while len(list(folder.glob("ready-*"))) < clients:
            if any(process.poll() for process in processes):
                raise SystemExit("a client failed")
            time.sleep(0.1)
        begin = time.perf_counter()
        (folder / "go").touch()
        if [process.wait() for process in processes] != [0] * clients:
            raise SystemExit("a client failed")
        return time.perf_counter() - begin


def check(clients: int, runs: int) -> None:
    """Compare what was recorded with what should have been."""
    client = mlflow.MlflowClient()
    experiment = client.get_experiment_by_name(EXPERIMENT)
    found = []
    token = None
    while True:
        page = client.search_runs([experiment.experiment_id], max_results=500, page_token=token)
        found += page
        token = page.token
        if not token:
            break
    names = {run.info.run_id: run.info.run_name for run in found}
    children = {}
    for run in found:
        if run.info.status != "FINISHED":
            raise SystemExit(f"{run.info.run_name} is {run.info.status}")
        if parent := run.data.tags.get("mlflow.parentRunId"):
            children[names[parent], run.info.run_name] = run.info.run_id
    expected = {(f"client-{one}", f"run-{run:02d}") for one in range(clients) for run in range(runs)}
    if children.keys() != expected or len(found) != len(expected) + clients:
        raise SystemExit(f"{len(found)} runs, {len(children)} of clients, not {len(expected)}")
    for (parent, name), run_id in children.items():
        numbers = int(parent.removeprefix("client-")), int(name.removeprefix("run-"))
        points = {point.step: point.value for point in client.get_metric_history(run_id, "curve")}
        if [points[step] for step in range(POINTS)] != curve(*numbers).tolist():
            raise SystemExit(f"{parent}, {name}: other points")
        with tempfile.TemporaryDirectory() as folder:
            place = Path(client.download_artifacts(run_id, "texts", folder))
            texts = [(place / f"{file}.txt").read_text() for file in range(FILES)]
            if (
                texts != [text(*numbers, file) for file in range(FILES)]
                or len(list(place.iterdir())) != FILES
            ):
                raise SystemExit(f"{parent}, {name}: other files")


@contextmanager
def served(folder: Path):
    """Give the environment of a member of a team with a server."""
    with postgresql() as (password, port):
        settings = settings_of(folder, password, port)
        with team_server(folder, settings) as server:
            yield server.environment(ADMIN, settings["MLFLOW_AUTH_ADMIN_PASSWORD"])


@contextmanager
def on_file(folder: Path):
    """Give the environment of processes that share a SQLite file."""
    yield {**os.environ, "MLFLOW_TRACKING_URI": f"sqlite:///{folder / 'mlflow.db'}"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--client", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.client is not None:
        record(asked.client, asked.runs, asked.folder)
        return
    taken = {}
    for name, store in (("server and PostgreSQL", served), ("SQLite file", on_file)):
        with tempfile.TemporaryDirectory() as temporary, store(Path(temporary)) as environment:
            for key in [key for key in os.environ if key.startswith("MLFLOW_")]:
                del os.environ[key]
            os.environ.update({key: value for key, value in environment.items() if key.startswith("MLFLOW_")})
            mlflow.set_tracking_uri(None)
            client = connect()
            if name.startswith("SQLite"):
                client.create_experiment(EXPERIMENT, artifact_location=f"{temporary}/artifacts")
            else:
                client.create_experiment(EXPERIMENT)
            taken[name] = seconds_of(asked.clients, asked.runs, environment)
            check(asked.clients, asked.runs)
        number = asked.clients * asked.runs
        print(
            f"{name}: {asked.clients} clients, {number} runs of {POINTS} points and {FILES} artifacts in "
            f"{taken[name]:.1f} s, {number / taken[name]:.1f} runs/s; nothing lost, nothing changed",
            flush=True,
        )
    first, second = taken.values()
    print(f"server against SQLite: {first / second:.2f} of its time")


if __name__ == "__main__":
    main()
