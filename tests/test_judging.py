"""A candidate against the champion: scores, decision, aliases."""

import itertools
import json
import multiprocessing
from dataclasses import replace

import pytest
from gating import gate_in_turn, quality
from mlflow import MlflowClient
from registered import NAME, SERVED, aliases, enter, log, tagger, telling_sample

from jetexp.errors import ModelError
from jetexp.experiment import GateSettings
from jetexp.history import events_of
from jetexp.inference import compiled
from jetexp.judging import judge, preview
from jetexp.registry import champion_of
from jetexp.serving import load_tagger, probabilities


@pytest.fixture(scope="module")
def sample():
    return telling_sample()


def judged(version, network, sample, gate=None, **options):
    offline = probabilities(compiled(network), sample.images, SERVED)
    return judge(MlflowClient(), NAME, version, sample, gate or GateSettings(), offline=offline, **options)


def test_a_champion_of_another_task_or_the_champion_itself_is_not_judged(mlflow_store, sample):
    client, network = MlflowClient(), tagger(0)
    version = enter(network)
    client.set_registered_model_alias(NAME, "champion", version)
    with pytest.raises(ModelError, match="is the champion already"):
        judged(version, network, sample)
    client.set_model_version_tag(NAME, version, "classes", "QCD,top")
    client.set_model_version_tag(NAME, version, "signal", "top")
    with pytest.raises(ModelError, match=r"tells apart QCD,top \(signal top\), not QCD,W"):
        judged(enter(network), network, sample)
    assert aliases() == {"champion": version}


@pytest.mark.slow
def test_the_aliases_follow_the_gate(mlflow_store, sample):
    client, networks = MlflowClient(), {"1": tagger(1), "2": tagger(0)}
    assert [enter(network) for network in networks.values()] == ["1", "2"]
    few = replace(sample, images=sample.images[1100:1300], label=sample.label[1100:1300])

    first = judged("1", networks["1"], few)
    assert first.decision.outcome == "refused"
    assert first.largest_difference < 1e-5
    assert aliases() == {"challenger": "1"}
    assert "test_sample" not in client.get_registered_model(NAME).tags

    client.set_registered_model_alias(NAME, "champion", "1")
    second = judged("2", networks["2"], sample)
    assert second.decision.promoted
    assert aliases() == {"champion": "2", "previous": "1", "challenger": "1"}
    assert str(champion_of(client, NAME).version) == "2"
    assert client.get_registered_model(NAME).tags["test_sample"] == sample.fingerprint
    tags = client.get_model_version(NAME, "2").tags
    assert (tags["gate"], tags["gate_champion_before"], tags["classes"]) == ("promoted", "1", "QCD,W")
    assert float(tags["gate_rejection_ratio"]) > 1.5
    content = json.loads(json.dumps(second.to_dict(), allow_nan=False))
    assert (content["outcome"], content["champion_before"]) == ("promoted", "1")
    assert content["comparison"]["log_ratio"] > 0
    (event,) = events_of(client, NAME)
    assert (event.kind, event.version, event.champion_before, event.previous) == ("promotion", "2", "1", "1")
    assert event.finished
    assert event.reason == second.decision.reason
    assert event.numbers["rejection_ratio"] == second.decision.comparison.ratio


@pytest.mark.slow
def test_a_version_that_answers_otherwise_than_before_takes_no_alias(mlflow_store, sample):
    network = tagger(0)
    version = enter(network)
    offline = probabilities(compiled(network), sample.images, SERVED)
    offline[7, 0] += 2e-5
    with pytest.raises(
        ModelError, match=r"loaded back from where it is kept, gives scores that differ by 2e-05"
    ):
        judge(MlflowClient(), NAME, version, sample, GateSettings(), offline=offline)
    assert aliases() == {}


def here(address, images):
    """Score in this process: seconds sooner than apart."""
    network, served = load_tagger(address)
    return probabilities(compiled(network), images, served)


def test_a_dry_run_decides_and_changes_nothing(mlflow_store, sample):
    client, network = MlflowClient(), tagger(0)
    uri = log(network).model_uri
    offline = probabilities(compiled(network), sample.images, SERVED)
    first = preview(client, NAME, uri, sample, GateSettings(), offline=offline, score=here)
    assert (first.version, first.champion, first.decision.outcome) == (None, None, "promoted")
    assert client.search_registered_models() == []

    client.set_registered_model_alias(NAME, "champion", enter(tagger(1), classes="QCD,W", signal="W"))
    before = client.get_registered_model(NAME)
    second = preview(client, NAME, uri, sample, GateSettings(), offline=offline, score=here)
    assert (second.champion, second.decision.outcome) == ("1", "promoted")
    assert second.decision.comparison.ratio > 1.5
    after = client.get_registered_model(NAME)
    assert (after.aliases, after.tags) == (before.aliases, before.tags)
    assert len(client.search_model_versions(f"name = '{NAME}'")) == 1


def test_a_candidate_below_a_floor_is_refused_and_challenger(mlflow_store, sample):
    network = tagger(0)
    verdict = judged(enter(network), network, sample, gate=GateSettings(minimum_auc=0.999), score=here)
    assert verdict.decision.outcome == "refused"
    assert aliases() == {"challenger": "1"}
    assert MlflowClient().get_model_version(NAME, "1").tags["gate"] == "refused"
    assert events_of(MlflowClient(), NAME) == ()


def test_a_champion_that_changes_meanwhile_is_the_one_to_beat(mlflow_store, sample):
    client, networks = MlflowClient(), {"1": tagger(1), "2": tagger(0), "3": tagger(0.5)}
    for network in networks.values():
        enter(network, classes="QCD,W", signal="W")
    client.set_registered_model_alias(NAME, "champion", "1")
    scored = []

    def slowly(address, images):
        if not scored:
            # another gate comes first
            client.set_registered_model_alias(NAME, "champion", "2")
        scored.append(address)
        return here(address, images)

    verdict = judged("3", networks["3"], sample, score=slowly)
    assert (verdict.champion, verdict.decision.outcome) == ("2", "kept")
    assert verdict.decision.comparison.ratio < 1
    assert aliases() == {"champion": "2", "challenger": "3"}
    # no model is scored twice
    assert sorted(scored) == [f"models:/{NAME}/{version}" for version in "123"]


@pytest.mark.slow
def test_gates_of_two_processes_at_once_tell_one_story(mlflow_store):
    """Fifty rounds of two candidates at the same moment, on one machine and as if on two."""
    client = MlflowClient()
    client.create_registered_model(NAME)
    for one in range(100):
        client.create_model_version(NAME, source=f"{mlflow_store}/{one}")
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(2)
    for rounds in (range(25), range(25, 50)):
        # a temporary folder of its own has a lock of its own, as another machine has
        apart = rounds.start > 0
        processes = [
            context.Process(
                target=gate_in_turn,
                args=(
                    NAME,
                    [str(1 + 2 * one + side) for one in rounds],
                    barrier,
                    str(mlflow_store / f"locks-{side if apart else 0}"),
                ),
            )
            for side in range(2)
        ]
        for process in processes:
            process.start()
        for process in processes:
            process.join(300)
            assert process.exitcode == 0
    events = events_of(client, NAME)
    champions = [event.version for event in events]
    assert len(champions) > 5
    assert [event.number for event in events] == list(range(1, len(events) + 1))
    assert [event.champion_before for event in events] == [None, *champions[:-1]]
    assert all(event.finished for event in events)
    assert aliases()["champion"] == champions[-1]
    assert aliases()["previous"] == champions[-2]
    qualities = [quality(version) for version in champions]
    assert all(later > 0.95 * earlier for earlier, later in itertools.pairwise(qualities))
    told = {
        version.version: version.tags["gate"] for version in client.search_model_versions(f"name = '{NAME}'")
    }
    assert len(told) == 100
    assert sorted(str(one) for one, gate in told.items() if gate == "promoted") == sorted(champions)
