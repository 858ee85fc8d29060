"""Champions come and go: changes, rollbacks, interruptions."""

import json

import pytest
from click.testing import CliRunner
from mlflow import MlflowClient
from registered import NAME, aliases

from jetexp import champion
from jetexp.champion import change_champion, roll_back
from jetexp.cli import jetexp
from jetexp.errors import ModelError
from jetexp.history import Event, events_of


@pytest.fixture
def client(mlflow_store, monkeypatch):
    """A registered model of five versions; nobody is waited for long."""
    monkeypatch.setattr(champion, "HANDOVER_TIME", 1.0)
    monkeypatch.setattr(champion, "LOOK", 0.05)
    client = MlflowClient()
    client.create_registered_model(NAME)
    for version in range(1, 6):
        client.create_model_version(NAME, source=f"{mlflow_store}/{version}")
    return client


def promote(client, version, before):
    event = Event("promotion", version, before, before, f"v{version} is better", {"auc": 0.9})
    return change_champion(client, NAME, event)


def promoted(client, *versions):
    for before, version in zip((None, *versions), versions, strict=False):
        assert promote(client, version, before) is not None


def test_a_promotion_moves_the_aliases_and_is_remembered(client):
    client.set_registered_model_alias(NAME, "challenger", "2")
    promoted(client, "1", "2")
    assert aliases() == {"champion": "2", "previous": "1"}
    first, second = events_of(client, NAME)
    assert (first.number, first.version, first.champion_before) == (1, "1", None)
    assert (second.number, second.version, second.champion_before) == (2, "2", "1")
    assert (second.reason, second.numbers, second.finished) == ("v2 is better", {"auc": 0.9}, True)
    assert second.who.count("@") == 1
    assert second.when > first.when > "2026"


def test_a_change_against_another_champion_than_the_present_one_does_nothing(client):
    promoted(client, "1", "2")
    assert promote(client, "3", "1") is None
    assert aliases() == {"champion": "2", "previous": "1"}
    assert len(events_of(client, NAME)) == 2


def test_rolling_back_twice_goes_back_twice_and_no_further(client):
    promoted(client, "1", "2", "3")
    assert roll_back(client, NAME, reason="it drifts").version == "2"
    assert aliases() == {"champion": "2", "previous": "1"}
    assert roll_back(client, NAME).version == "1"
    assert aliases() == {"champion": "1"}
    with pytest.raises(ModelError, match="w-vs-qcd cannot be rolled back: no version has the alias previous"):
        roll_back(client, NAME)
    events = events_of(client, NAME)
    assert [event.kind for event in events] == ["promotion"] * 3 + ["rollback"] * 2
    assert (events[3].champion_before, events[3].reason) == ("3", "it drifts")
    # what comes next goes on from there
    assert promote(client, "4", "1") is not None
    assert aliases() == {"champion": "4", "previous": "1"}


def test_versions_that_are_gone_are_passed_over(client):
    promoted(client, "1", "2", "3", "4")
    client.delete_model_version(NAME, "2")
    assert roll_back(client, NAME).version == "3"
    assert aliases() == {"champion": "3", "previous": "1"}


def interrupted(client, event, **changes):
    """Write an entry as a process does that dies before it has moved an alias."""
    content = {**event.to_dict(), "number": 1 + len(events_of(client, NAME)), "identifier": "abc", **changes}
    tag = f"history.{content['number']:06d}.{content['identifier']}"
    client.set_registered_model_tag(NAME, tag, json.dumps(content))


def test_what_was_interrupted_is_finished_by_the_next(client, caplog):
    promoted(client, "1")
    interrupted(client, Event("promotion", "2", "1", "1", "better"))
    # it was judged against 1, and 2 is champion now
    assert promote(client, "3", "1") is None
    assert "finishing what was interrupted: version 2 of w-vs-qcd becomes champion" in caplog.text
    assert aliases() == {"champion": "2", "previous": "1"}
    assert [event.finished for event in events_of(client, NAME)] == [True, True]
    assert promote(client, "3", "2") is not None


def test_what_was_interrupted_and_is_out_of_date_is_dropped(client):
    promoted(client, "1")
    interrupted(client, Event("promotion", "2", "5", "5", "better than 5"))
    assert promote(client, "3", "1") is not None
    assert aliases() == {"champion": "3", "previous": "1"}
    assert [event.version for event in events_of(client, NAME)] == ["1", "3"]


def test_what_an_interrupted_promotion_would_have_told_is_told_by_the_next(client):
    promoted(client, "1")
    event = Event("promotion", "2", "1", "1", "better", {"auc": 0.912345}, test_sample="f" * 64)
    interrupted(client, event)
    assert promote(client, "3", "1") is None
    assert client.get_registered_model(NAME).tags["test_sample"] == "f" * 64
    tags = client.get_model_version(NAME, "2").tags
    assert (tags["gate"], tags["gate_reason"], tags["gate_auc"]) == ("promoted", "better", "0.91234")
    assert tags["gate_champion_before"] == "1"


def test_an_interrupted_promotion_of_a_version_that_is_gone_is_dropped(client, caplog):
    promoted(client, "1", "2")
    interrupted(client, Event("promotion", "3", "2", "2", "better"))
    client.set_registered_model_alias(NAME, "previous", "2")
    client.delete_model_version(NAME, "3")
    assert roll_back(client, NAME).version == "1"
    assert "version 3 of w-vs-qcd, which was to become champion, is gone" in caplog.text
    assert aliases() == {"champion": "1"}
    interrupted(client, Event("promotion", "4", "1", "2", "better"))
    client.delete_model_version(NAME, "2")
    assert promote(client, "5", "4") is not None
    assert aliases() == {"champion": "5", "previous": "4"}


def test_whoever_has_no_champion_any_more_may_still_go_back(client):
    promoted(client, "1", "2")
    client.delete_registered_model_alias(NAME, "champion")
    event = Event("promotion", "3", None, aliases()["previous"], "there was no champion")
    assert change_champion(client, NAME, event) is not None
    assert aliases() == {"champion": "3", "previous": "1"}
    assert roll_back(client, NAME).version == "1"


def test_of_two_interrupted_at_once_the_one_that_got_further_is_finished(client):
    promoted(client, "1")
    interrupted(client, Event("promotion", "2", "1", "1", "better"), identifier="b")
    interrupted(client, Event("promotion", "3", "1", "1", "better"), number=2, identifier="c")
    client.set_registered_model_alias(NAME, "champion", "3")
    assert promote(client, "4", "3") is not None
    assert [event.version for event in events_of(client, NAME)] == ["1", "3", "4"]


def test_whoever_finds_a_rival_gives_way_and_tries_again(client, monkeypatch):
    promoted(client, "1")
    write, rivals = champion._write, []

    def at_the_same_moment(client, name, event):
        if not rivals:
            rivals.append(event.number)
            interrupted(client, Event("promotion", "2", "1", "1", "better"))
        write(client, name, event)

    monkeypatch.setattr(champion, "_write", at_the_same_moment)
    assert promote(client, "3", "1") is None
    assert aliases()["champion"] == "2"
    assert [event.version for event in events_of(client, NAME)] == ["1", "2"]


def test_an_entry_of_a_smaller_number_that_is_under_way_is_a_rival_too(client, monkeypatch):
    promoted(client, "1")
    settle, rivals = champion._settle, []

    def just_before(client, name):
        settle(client, name)
        if not rivals:
            rivals.append("2")
            interrupted(client, Event("promotion", "2", "1", "1", "better"))

    monkeypatch.setattr(champion, "_settle", just_before)
    assert promote(client, "3", "1") is None
    assert aliases()["champion"] == "2"
    assert [(event.version, event.finished) for event in events_of(client, NAME)] == [
        ("1", True),
        ("2", True),
    ]


def test_a_promotion_that_others_finish_for_it_keeps_its_entry(client, monkeypatch):
    promoted(client, "1")
    write = champion._write

    def held_up(client, name, event):
        write(client, name, event)
        if not event.finished:
            # another waits, finishes it, and goes on
            champion._settle(client, name)

    monkeypatch.setattr(champion, "_write", held_up)
    done = promote(client, "2", "1")
    assert done.finished
    assert aliases() == {"champion": "2", "previous": "1"}
    assert [(event.version, event.finished) for event in events_of(client, NAME)] == [
        ("1", True),
        ("2", True),
    ]


def test_a_registry_that_is_too_slow_is_left_to_the_next(client, monkeypatch):
    promoted(client, "1")
    monkeypatch.setattr(champion, "MOVE_TIME", -1.0)
    with pytest.raises(ModelError, match="version 2 of w-vs-qcd is not champion yet"):
        promote(client, "2", "1")
    monkeypatch.setattr(champion, "MOVE_TIME", 15.0)
    assert promote(client, "3", "1") is None
    assert aliases() == {"champion": "2", "previous": "1"}


def test_the_commands_tell_history_and_roll_back(client):
    promoted(client, "1", "2")
    client.set_registered_model_alias(NAME, "champion", "4")
    promoted_by_hand = promote(client, "5", "4")
    assert promoted_by_hand is not None
    done = CliRunner().invoke(jetexp, ["rollback", NAME, "--reason", "it drifts [see /data/log]"])
    assert done.output == "Version 4 of w-vs-qcd is champion again, instead of 5.\n"
    printed = CliRunner().invoke(jetexp, ["history", NAME]).output
    lines = [line.split() for line in printed.splitlines()]
    told = [[word for word in line if word in {"promotion", "rollback", "hand", *"12345"}] for line in lines]
    assert [line for line in told if len(line) > 2] == [
        ["1", "promotion", "1"],
        ["2", "promotion", "2", "1"],
        ["hand", "4", "2"],
        ["3", "promotion", "5", "4"],
        ["4", "rollback", "4", "5"],
    ]
    assert "it drifts [see /data/log]" in " ".join(printed.split())
    assert "not done by jetexp" not in printed
    client.set_registered_model_alias(NAME, "champion", "3")
    assert (
        "Version 3 is champion now, which was not done by jetexp"
        in CliRunner().invoke(jetexp, ["history", NAME]).output
    )
    content = json.loads(CliRunner().invoke(jetexp, ["history", NAME, "--json"]).stdout)
    assert content["champion"] == "3"
    assert [event["version"] for event in content["events"]] == ["1", "2", "5", "4"]
    absent = CliRunner().invoke(jetexp, ["history", "absent"])
    assert isinstance(absent.exception, ModelError)
