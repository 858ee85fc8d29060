"""What is recorded, done by several runs at once in one real store."""

from __future__ import annotations

import threading

from mlflow import MlflowClient

from jetexp.delivery import UsedJets
from jetexp.outbox import temporary_outbox


def test_runs_that_use_the_same_jets_at_once_all_say_so(mlflow_store):
    client = MlflowClient()
    experiment = client.create_experiment("e")
    runs = [client.create_run(experiment).info.run_id for _ in range(3)]
    used = UsedJets(run_id="", name="", digest="f" * 32, source="{}", profile="{}", context="train")
    samples, together, errors = 20, threading.Barrier(len(runs)), []

    def record(run_id):
        try:
            with temporary_outbox(MlflowClient()) as outbox:
                for number in range(samples):
                    together.wait(60)
                    outbox.send(used.model_copy(update={"run_id": run_id, "name": f"jets-{number}"}))
                outbox.flush(60)
        except Exception as error:
            errors.append(error)
            together.abort()

    threads = [threading.Thread(target=record, args=(run_id,)) for run_id in runs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    for run_id in runs:
        used = client.get_run(run_id).inputs.dataset_inputs
        assert sorted(one.dataset.name for one in used) == sorted(f"jets-{n}" for n in range(samples))
