"""A Dask cluster makes the same jets and scores as one process does, whatever becomes of its workers."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from distributed import LocalCluster
from registered import log, tagger

from jetexp.batch_scores import score_files
from jetexp.cluster import check_workers, connected
from jetexp.errors import JetexpError
from jetexp.jets.load import load_jets
from jetexp.jets.settings import GenerationSettings, JetFileSettings
from jetexp.jets.store import write_jets
from jetexp.workers import finished_tasks

ROOT = Path(__file__).parent.parent
SETTINGS = GenerationSettings(per_class=100, seed=11)
CLASSES = ["QCD", "W"]

logging.getLogger("distributed").setLevel(logging.CRITICAL)


def dask_cluster(number, threads=1):
    return LocalCluster(
        n_workers=number, threads_per_worker=threads, processes=True, dashboard_address=":0", silence_logs=50
    )


@pytest.fixture(scope="module")
def cluster():
    """Four worker processes and their scheduler."""
    with dask_cluster(4) as one, connected(one.scheduler_address) as client:
        yield client


@pytest.mark.slow
def test_a_cluster_makes_the_same_jets_though_a_worker_is_killed(cluster, tmp_path):
    alone = load_jets(SETTINGS, CLASSES, tmp_path / "alone", workers=1)
    processes = sorted(cluster.run(os.getpid).values())
    killed = []

    def kill_one_at_work():
        while not list((tmp_path / "cluster").glob("chunks/*/*/.*")):
            time.sleep(0.05)
        busy = next(address for address, tasks in cluster.processing().items() if tasks)
        killed.append(cluster.run(os.getpid, workers=[busy])[busy])
        os.kill(killed[0], signal.SIGKILL)

    killer = threading.Thread(target=kill_one_at_work)
    killer.start()
    together = load_jets(SETTINGS, CLASSES, tmp_path / "cluster", workers=cluster)
    killer.join()
    assert killed[0] in processes
    assert together.fingerprint == alone.fingerprint


@pytest.mark.slow
def test_a_cluster_scores_files_as_this_process_does(cluster, mlflow_store, pythia_jets):
    recorder = log(tagger(noise=1))
    write_jets(pythia_jets, mlflow_store / "sample")
    jets = JetFileSettings(path=(str(mlflow_store / "sample"),))
    here = score_files(recorder.model_uri, jets, mlflow_store / "here.parquet", block=100)
    there = score_files(recorder.model_uri, jets, mlflow_store / "there.parquet", block=100, cluster=cluster)
    assert there.jets == here.jets == len(pythia_jets)
    assert there.path.read_bytes() == here.path.read_bytes()
    assert not list(mlflow_store.glob(".*.parts"))
    # workers that have scored with one model score the same output with another
    newer = log(tagger(noise=2))
    here = score_files(newer.model_uri, jets, here.path, block=100)
    assert here.path.read_bytes() != there.path.read_bytes()
    there = score_files(newer.model_uri, jets, there.path, block=100, cluster=cluster)
    assert there.path.read_bytes() == here.path.read_bytes()


def die(folder):
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.slow
def test_a_task_that_no_worker_survives_is_one_sentence(tmp_path):
    coming = ["task"]
    with dask_cluster(2) as one, connected(one.scheduler_address) as client:
        ended = finished_tasks(
            die, lambda running: coming.pop() if coming else None, lambda task: (str(tmp_path),), client
        )
        with pytest.raises(JetexpError, match="lost over the same task"):
            list(ended)


def software():
    return {"pythia8mc": os.getpid()}


def breaks():
    if multiprocessing.current_process().name != "MainProcess":
        raise ImportError("no module named fastjet")


def test_workers_are_looked_at_before_any_work(tmp_path):
    with dask_cluster(1) as one, connected(one.scheduler_address) as client:
        check_workers(client, tmp_path, dict)
        assert list(tmp_path.iterdir()) == []
        with pytest.raises(JetexpError, match="has other software"):
            check_workers(client, tmp_path, software)
        with pytest.raises(JetexpError, match=r"cannot do it: ImportError: no module named fastjet"):
            check_workers(client, tmp_path, breaks)
    with (
        dask_cluster(1, threads=2) as one,
        connected(one.scheduler_address) as client,
        pytest.raises(JetexpError, match="has several threads"),
    ):
        check_workers(client, tmp_path, dict)


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:1", "nonsense"])
def test_a_scheduler_that_is_not_there_is_one_sentence(address):
    command = [sys.executable, "-m", "jetexp", "generate", "--dask", address]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith(f"jetexp: No Dask scheduler answers at {address}")
    assert "Traceback" not in done.stderr
