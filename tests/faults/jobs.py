"""The main job on a small budget, for drivers that do it harm, and what it left in the store."""

from __future__ import annotations

import hashlib
import os
import re
import sqlite3
import subprocess
import sys
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import yaml

ROOT = Path(__file__).parent.parent.parent
# in place of the default one: how it learns is not what is tried, and each start builds it anew
SMALL_NETWORK = {"kind": "cnn", "layers": 2, "width": 4, "dense": 16}
PHASES = ("jets", "search", "seeds", "evaluation", "registry")
TRIALS, SEEDS, EPOCHS = 3, 2, 2
# seconds that a job may take
PATIENCE = 600.0


@dataclass
class Job:
    """The main job on a small budget, with a store and folders of its own."""

    folder: Path
    per_class: int
    seed: int = 0
    trials: int = TRIALS
    tracking: str = ""
    more: dict[str, str] = field(default_factory=dict)
    log: Path = Path()
    chunks: dict[Path, tuple[int, int]] = field(default_factory=dict)
    finished: dict[str, str] = field(default_factory=dict)
    before: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        if self.log == Path():
            self.log = self.folder / "log"

    @property
    def store(self) -> Path:
        return self.folder / "mlflow.db"

    def start(self) -> subprocess.Popen[bytes]:
        """Call ``mlflow run``, in a process group of its own."""
        self.before = {run_id for (run_id,) in self.rows("select run_uuid from runs")}
        self.folder.mkdir(parents=True, exist_ok=True)
        experiment = self.folder / "experiment.yaml"
        content = yaml.safe_load((ROOT / "experiments" / "w_vs_qcd.yaml").read_text(encoding="utf-8"))
        if not experiment.exists():  # others of a crowd may be reading it
            experiment.write_text(yaml.safe_dump({**content, "tagger": SMALL_NETWORK}), encoding="utf-8")
        parameters = {
            "experiment": experiment,
            "per_class": self.per_class,
            "trials": self.trials,
            "seeds": SEEDS,
            "epochs": EPOCHS,
            "seed": self.seed,
        }
        given = [word for name, value in parameters.items() for word in ("-P", f"{name}={value}")]
        with self.log.open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "mlflow", "run", str(ROOT), "--env-manager", "local", *given],
                env={
                    **os.environ,
                    "PATH": os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"])),
                    "MLFLOW_TRACKING_URI": self.tracking or f"sqlite:///{self.store}",
                    "MLFLOW_EXPERIMENT_NAME": "faults",
                    "JETEXP_JETS": str(self.folder / "jets"),
                    "JETEXP_EXECUTIONS": str(self.folder / "executions"),
                    "TF_DETERMINISTIC_OPS": "1",
                    "TF_NUM_INTRAOP_THREADS": "1",
                    **self.more,
                },
                cwd=self.folder,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """Ask the store; nothing while it is not there yet, or locked."""
        if not self.store.exists():
            return []
        try:
            with closing(sqlite3.connect(f"file:{self.store}?mode=ro", uri=True, timeout=5)) as store:
                return store.execute(query).fetchall()
        except sqlite3.OperationalError:
            return []

    def phase(self) -> str:
        """Say how far the call that runs has come."""
        if not list(self.folder.glob("executions/starting-*")):
            return "start"
        parents = [
            run_id
            for (run_id,) in self.rows("select run_uuid from runs where status = 'RUNNING'")
            if run_id not in self.before and (self.folder / f"executions/starting-{run_id}").exists()
        ]
        for parent in parents:
            names = Counter(
                (name.rstrip("0123456789"), status)
                for name, status in self.rows(
                    "select r.name, r.status from runs r join tags t on t.run_uuid = r.run_uuid "
                    f"where t.key = 'mlflow.parentRunId' and t.value = '{parent}'"
                )
            )
            if self.rows("select 1 from model_versions"):
                return "registry"
            if names["seed-", "FINISHED"] == SEEDS:
                return "evaluation"
            if any(name == "seed-" for name, _ in names):
                return "seeds"
            if any(name == "trial-" for name, _ in names):
                return "search"
            return "jets"
        return "start"

    def note(self) -> None:
        """Take note of what is finished, which nothing may make again."""
        for path in (self.folder / "jets").glob("chunks/*/*/[0-9]*.parquet"):
            made = path.stat().st_mtime_ns, path.stat().st_ino
            if self.chunks.setdefault(path, made) != made:
                raise AssertionError(f"{path} was made twice")
        query = (
            "select r.name, r.run_uuid from runs r join tags t on t.run_uuid = r.run_uuid "
            "where t.key = 'mlflow.parentRunId' and r.status = 'FINISHED'"
        )
        for name, run_id in self.rows(query):
            if self.finished.setdefault(name, run_id) != run_id:
                raise AssertionError(f"{name} was made twice")


def content(job: Job) -> dict[str, Any]:
    """Give what a finished job left in the store, by the names of its runs."""
    query = (
        "select r.name, r.run_uuid from runs r join tags t on t.run_uuid = r.run_uuid "
        "where t.key = 'mlflow.parentRunId' and r.status = 'FINISHED'"
    )
    found: dict[str, Any] = {}
    for name, run_id in job.rows(query):
        assert name not in found, f"{name} is finished twice"
        metrics = job.rows(f"select key, step, value from metrics where run_uuid = '{run_id}'")
        twice = [
            point for point, times in Counter((key, step) for key, step, _ in metrics).items() if times > 1
        ]
        assert not twice, f"{name} has {twice[:3]} twice"
        found[name] = {
            "parameters": dict(job.rows(f"select key, value from params where run_uuid = '{run_id}'")),
            "metrics": sorted((key, step) for key, step, _ in metrics),
            "val_auc": [value for _, value in sorted((s, v) for key, s, v in metrics if key == "val_auc")],
        }
    return found


# numbers that no two runs share: times, and what MLflow or Keras call things
OWN = re.compile(
    r"\b[0-9a-f]{32}\b|\bm-[0-9a-f]{32}\b|\"[a-z_]*seconds\": (\[[^]]*\]|[-+.0-9e]+)"
    r"|(utc_time_created|artifact_path|model_size_bytes|uri): .*"
)
# it draws how long trials took
DRAWS_TIMES = {"search.png"}
# what MLflow's server was writing when it was killed: MLflow neither lists nor gives it
TORN = ".artifact.uploading."


def artifacts(job: Job) -> dict[tuple[str, str], str]:
    """Give checksums of all files that belong to finished runs and their models."""
    found = {}
    places = job.rows("select name, run_uuid from runs where status = 'FINISHED'") + job.rows(
        "select r.name, m.model_id from runs r join logged_models m on m.source_run_id = r.run_uuid "
        "where r.status = 'FINISHED'"
    )
    for name, identifier in places:
        (folder,) = job.folder.glob(f"**/{identifier}/artifacts")
        for file in folder.rglob("*"):
            if file.is_file() and not file.name.startswith(TORN):
                model = "model/" if identifier.startswith("m-") else ""
                found[name, f"{model}{file.relative_to(folder)}"] = _checksum(file)
    return found


def histories(job: Job) -> dict[tuple[str, str], list[tuple[int, float]]]:
    """Give every metric of finished runs, step by step in the order of their times, but for times."""
    rows = job.rows(
        "select r.name, m.key, m.step, m.value from metrics m join runs r on r.run_uuid = m.run_uuid "
        "where r.status = 'FINISHED' and m.key not like '%seconds' order by m.timestamp, m.step"
    )
    found: dict[tuple[str, str], list[tuple[int, float]]] = {}
    for name, key, step, value in rows:
        found.setdefault((name, key), []).append((step, value))
    return found


def _checksum(path: Path) -> str:
    """Give a checksum of what a file says, without what is another's in each run."""
    if path.name in DRAWS_TIMES:
        content = path.read_bytes()[:8]
    elif path.suffix == ".keras":
        with ZipFile(path) as network:
            content = network.read("config.json") + network.read("model.weights.h5")
    elif path.suffix in {".json", ".md", ".yaml", ".txt"} or path.name == "MLmodel":
        content = OWN.sub("", path.read_text()).encode()
    else:
        content = path.read_bytes()
    return hashlib.sha256(content).hexdigest()


def check(killed: Job, quiet: Job, *, failed: bool = False) -> None:
    """Compare a job that was killed again and again with one that was not."""
    statuses = Counter(status for (status,) in killed.rows("select status from runs"))
    assert not statuses["RUNNING"], statuses
    assert failed or not statuses["FAILED"], statuses
    assert killed.rows("select count(*) from model_versions") == [(1,)]
    aliases = "select alias, version from registered_model_aliases"
    assert killed.rows(aliases) == quiet.rows(aliases) != []
    first, second = content(killed), content(quiet)
    assert set(first) == set(second), set(first) ^ set(second)
    for name, expected in second.items():
        assert first[name]["parameters"] == expected["parameters"], name
        assert first[name]["metrics"] == expected["metrics"], name
        assert first[name]["val_auc"] == expected["val_auc"], name
    parents = killed.rows(
        "select distinct t.value from runs r join tags t on t.run_uuid = r.run_uuid "
        "where t.key = 'mlflow.parentRunId' and r.status = 'FINISHED'"
    )
    assert len(parents) == 1, "finished runs stand under several parents"
    assert not list((killed.folder / "executions").glob("*/")), "a home is left"
