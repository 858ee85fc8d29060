"""A team's server as docs/team.md has it: members work, strangers see nothing, a backup holds all of it."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import secrets
import subprocess
import sys
import urllib.error
import urllib.request
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import mlflow
import pytest
from mlflow import MlflowClient
from mlflow.server.auth.client import AuthServiceClient
from registered import log, tagger
from servers import post, serve
from team import TeamServer, postgresql, settings_of, team_server

ROOT = Path(__file__).parent.parent
NAME = "w-vs-qcd"
# of the interface, of runs, artifacts and registry, and of users
ROUTES = [
    ("GET", "/"),
    ("GET", "/signup"),
    ("GET", "/version"),
    ("POST", "/graphql"),
    ("POST", "/api/2.0/mlflow/experiments/search"),
    ("POST", "/ajax-api/2.0/mlflow/experiments/search"),
    ("POST", "/api/2.0/mlflow/experiments/create"),
    ("POST", "/api/2.0/mlflow/runs/search"),
    ("POST", "/api/2.0/mlflow/runs/log-batch"),
    ("GET", "/api/2.0/mlflow/runs/get?run_id={run}"),
    ("GET", "/api/2.0/mlflow/artifacts/list?run_id={run}"),
    ("GET", "/get-artifact?path=results/validation.json&run_uuid={run}"),
    ("GET", "/api/2.0/mlflow-artifacts/artifacts"),
    ("PUT", "/api/2.0/mlflow-artifacts/artifacts/some.txt"),
    ("DELETE", "/api/2.0/mlflow-artifacts/artifacts/some.txt"),
    ("GET", f"/api/2.0/mlflow/registered-models/get?name={NAME}"),
    ("POST", "/api/2.0/mlflow/registered-models/create"),
    ("POST", "/api/2.0/mlflow/registered-models/alias"),
    ("GET", f"/model-versions/get-artifact?name={NAME}&version=1&path=MLmodel"),
    ("GET", "/api/2.0/mlflow/users/get?username=admin"),
    ("POST", "/api/2.0/mlflow/users/create"),
]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def database():
    with postgresql() as found:
        yield found


@pytest.fixture(scope="module")
def server(database, tmp_path_factory):
    folder = tmp_path_factory.mktemp("team")
    with team_server(folder, settings_of(folder, *database)) as one:
        yield one


@pytest.fixture(scope="module")
def passwords(server):
    """Two members, whom the administrator has let in."""
    found = {name: secrets.token_hex(8) for name in ("anna", "ben")}
    with acting(server, "admin", server.settings["MLFLOW_AUTH_ADMIN_PASSWORD"]):
        for name, password in found.items():
            AuthServiceClient(server.address).create_user(name, password)
    return found


@pytest.fixture(scope="module")
def job(server, passwords, tmp_path_factory, jets_folder):
    """Anna runs the main job on a small budget; give its run."""
    folder = tmp_path_factory.mktemp("anna")
    given = ["per_class=1200", "trials=2", "seeds=1", "epochs=2"]
    command = [sys.executable, "-m", "mlflow", "run", str(ROOT), "--env-manager", "local"]
    command += ["--experiment-name", "w_vs_qcd", *(word for one in given for word in ("-P", one))]
    done = subprocess.run(
        command,
        cwd=folder,
        env={
            **server.environment("anna", passwords["anna"]),
            "JETEXP_JETS": str(jets_folder),
            "JETEXP_EXECUTIONS": str(folder / "executions"),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    with acting(server, "anna", passwords["anna"]) as client:
        assert client.get_registered_model(NAME).aliases == {"champion": "1"}, done.stdout + done.stderr
        return client.get_model_version(NAME, "1").run_id


class acting:  # noqa: N801 (a context manager)
    """Act as somebody towards the server, in this process."""

    def __init__(self, server, name, password):
        self.address = server.address
        self.given = {"MLFLOW_TRACKING_USERNAME": name, "MLFLOW_TRACKING_PASSWORD": password}

    def __enter__(self):
        self.before = {key: os.environ.get(key) for key in self.given}
        os.environ.update(self.given)
        mlflow.set_tracking_uri(self.address)
        return MlflowClient()

    def __exit__(self, *error):
        mlflow.set_tracking_uri(None)
        for key, value in self.before.items():
            if value is None:
                del os.environ[key]
            else:
                os.environ[key] = value


def status_of(server, method, path, name="", password="", body=b"{}"):
    request = urllib.request.Request(
        server.address + path,
        None if method == "GET" else body,
        {"Content-Type": "application/json"},
        method=method,
    )
    if name:
        both = base64.b64encode(f"{name}:{password}".encode()).decode()
        request.add_header("Authorization", f"Basic {both}")
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def content(client):
    """Give all that the server holds, artifacts by checksum."""
    experiments = [one.experiment_id for one in client.search_experiments()]
    runs = client.search_runs(experiments, max_results=1000)
    models = client.search_registered_models()
    versions = client.search_model_versions(f"name = '{NAME}'")
    return {
        "runs": {
            one.info.run_id: (one.info.status, one.data.params, one.data.metrics, one.data.tags)
            for one in runs
        },
        # a number or a text, by the kind of store
        "models": {one.name: {key: str(value) for key, value in one.aliases.items()} for one in models},
        "versions": {str(one.version): (one.run_id, one.tags, one.description) for one in versions},
        "logged": sorted(one.model_id for one in client.search_logged_models(experiments)),
    }


def checksums(folder):
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in Path(folder).rglob("*")
        if path.is_file()
    }


def test_a_member_runs_the_main_job(server, passwords, job):
    with acting(server, "anna", passwords["anna"]) as client:
        found = content(client)
    assert {status for status, *_ in found["runs"].values()} == {"FINISHED"}
    assert len(found["runs"]) == 7
    assert found["models"] == {NAME: {"champion": "1"}}
    assert found["logged"]


@pytest.mark.parametrize(("name", "password"), [("", ""), ("anna", "wrong"), ("stranger", "any")])
def test_a_stranger_gets_in_nowhere(server, job, name, password):
    found = {
        (method, path): status_of(server, method, path.format(run=job), name, password)
        for method, path in ROUTES
    }
    assert set(found.values()) == {401}, found


def test_another_member_reads_and_changes_nothing(server, passwords, job):
    with acting(server, "anna", passwords["anna"]) as client:
        before = content(client)
        experiment = client.get_run(job).info.experiment_id
    with acting(server, "ben", passwords["ben"]) as client:
        assert content(client) == before
    artifact = f"/api/2.0/mlflow-artifacts/artifacts/{experiment}/{job}/artifacts/some.txt"
    writes = [
        ("POST", "/api/2.0/mlflow/runs/create", {"experiment_id": experiment}),
        ("POST", "/api/2.0/mlflow/runs/set-tag", {"run_id": job, "key": "a", "value": "b"}),
        ("POST", "/api/2.0/mlflow/runs/log-batch", {"run_id": job, "params": [{"key": "a", "value": "b"}]}),
        ("POST", "/api/2.0/mlflow/runs/update", {"run_id": job, "status": "FAILED"}),
        ("POST", "/api/2.0/mlflow/runs/delete", {"run_id": job}),
        ("POST", "/api/2.0/mlflow/experiments/delete", {"experiment_id": experiment}),
        ("PUT", artifact, {}),
        ("DELETE", artifact, {}),
        ("DELETE", "/api/2.0/mlflow/registered-models/alias", {"name": NAME, "alias": "champion"}),
        ("POST", "/api/2.0/mlflow/registered-models/set-tag", {"name": NAME, "key": "a", "value": "b"}),
        ("POST", "/api/2.0/mlflow/model-versions/create", {"name": NAME, "source": f"runs:/{job}/model"}),
        ("DELETE", "/api/2.0/mlflow/registered-models/delete", {"name": NAME}),
        ("POST", "/api/2.0/mlflow/users/create", {"username": "carl", "password": "a" * 16}),
        ("PATCH", "/api/2.0/mlflow/users/update-admin", {"username": "ben", "is_admin": True}),
        ("PATCH", "/api/2.0/mlflow/users/update-password", {"username": "anna", "password": "b" * 16}),
    ]
    found = {
        (method, path): status_of(server, method, path, "ben", passwords["ben"], json.dumps(given).encode())
        for method, path, given in writes
    }
    assert set(found.values()) == {403}, found
    with acting(server, "anna", passwords["anna"]) as client:
        assert content(client) == before


def test_a_wrong_password_is_one_sentence(server, tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "jetexp", "history", NAME],
        cwd=tmp_path,
        env={**server.environment("anna", "wrong"), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "MLFLOW_TRACKING_PASSWORD" in done.stderr


def test_a_backup_holds_all_of_it_and_its_champion_serves(server, passwords, job, database, tmp_path):
    backup = server.call("backup", str(tmp_path / "backup"))
    assert backup.returncode == 0, backup.stderr
    in_bucket = replace(
        server, settings={**server.settings, "MLFLOW_ARTIFACTS_DESTINATION": "s3://team/mlflow"}
    )
    assert in_bucket.call("backup", str(tmp_path / "databases")).returncode == 0
    names = ["checksums", "runs.dump", "users.dump"]
    assert sorted(one.name for one in (tmp_path / "databases").iterdir()) == names

    folder = tmp_path / "restored"
    for one in (folder, tmp_path / "model", tmp_path / "serving"):
        one.mkdir()
    settings = settings_of(folder, *database, database="restored", users="restored_users")
    restored = subprocess.run(
        [str(ROOT / "deploy" / "server" / "restore"), str(tmp_path / "backup")],
        env={**server.environment(), **settings},
        capture_output=True,
        text=True,
        check=False,
    )
    assert restored.returncode == 0, restored.stderr
    with acting(server, "anna", passwords["anna"]) as client:
        before = content(client)
    assert checksums(folder / "artifacts") == checksums(server.settings["MLFLOW_ARTIFACTS_DESTINATION"]) != {}
    with team_server(folder, settings) as again, acting(again, "anna", passwords["anna"]) as client:
        assert content(client) == before
        # its password is the old one, too: users are part of the backup
        model = mlflow.artifacts.download_artifacts(
            artifact_uri=f"models:/{NAME}@champion", dst_path=tmp_path
        )
    with serve(model, tmp_path / "serving") as port:
        table = {"columns": ["pt", "eta", "phi"], "data": [[[500.0, 300.0], [0.0, 0.2], [0.0, 0.1]]]}
        status, answer = post(port, json.dumps({"dataframe_split": table}).encode())
    assert status == 200
    assert len(answer["predictions"]) == 1


def test_a_personal_store_moves_in_whole(database, mlflow_store, tmp_path):
    recorder = log(tagger(noise=1))
    mine = MlflowClient()
    mine.create_registered_model(NAME)
    mine.create_model_version(NAME, recorder.model_uri, run_id=recorder.run_id)
    mine.set_registered_model_alias(NAME, "champion", "1")
    before = content(mine)
    (experiment,) = (one for one in mine.search_experiments() if one.experiment_id != "0")
    files = checksums(urlsplit(experiment.artifact_location).path)
    mlflow.set_tracking_uri(None)

    folder = tmp_path / "adopted"
    (tmp_path / "model").mkdir()
    settings = settings_of(folder, *database, database="adopted", users="adopted_users")
    store = str(mlflow_store / "mlflow.db")
    folder.mkdir()
    one = TeamServer(folder, settings)
    refused = one.call("adopt", store)
    assert refused.returncode == 2
    assert "start the server once" in refused.stderr
    with team_server(folder, settings):
        pass
    moved = one.call("adopt", store)
    assert moved.returncode == 0, moved.stderr
    assert checksums(folder / "artifacts" / experiment.experiment_id) == files != {}
    refused = one.call("adopt", store)
    assert refused.returncode == 2
    assert "holds runs and registered_models already" in refused.stderr
    administrator = "admin", settings["MLFLOW_AUTH_ADMIN_PASSWORD"]
    with team_server(folder, settings) as server, acting(server, *administrator) as client:
        assert content(client) == before
        mlflow.artifacts.download_artifacts(
            artifact_uri=f"models:/{NAME}@champion", dst_path=str(tmp_path / "model")
        )
        found = checksums(tmp_path / "model")
        assert "MLmodel" in found
        # but for the registry's own note of what was downloaded
        assert {key: one for key, one in found.items() if key != "registered_model_meta"}.items() <= {
            key.split("/artifacts/")[1]: one for key, one in files.items() if "/artifacts/" in key
        }.items()
        # numbers go on where they stood
        assert int(client.create_experiment("next")) > int(experiment.experiment_id)
        with mlflow.start_run(experiment_id=experiment.experiment_id) as run:
            mlflow.log_text("new", "new.txt")
        assert (folder / "artifacts" / experiment.experiment_id / run.info.run_id).is_dir()
