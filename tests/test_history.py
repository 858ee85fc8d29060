"""The history of a registered model, as its tags tell it."""

import pytest
from mlflow import MlflowClient
from registered import NAME

from jetexp.errors import ModelError
from jetexp.history import Event, champions_of, events_of


def promotion(version, before):
    return Event("promotion", version, before, before, "better")


def rollback(version, before):
    return Event("rollback", version, before, None, "worse")


@pytest.mark.parametrize(
    ("events", "champions"),
    [
        ([], ()),
        ([promotion("1", None), promotion("2", "1"), promotion("3", "2")], ("1", "2", "3")),
        ([promotion("1", None), promotion("2", "1"), rollback("1", "2")], ("1",)),
        (
            [promotion("2", "1"), promotion("3", "2"), rollback("2", "3"), promotion("4", "2")],
            ("1", "2", "4"),
        ),
        # set by hand in between
        ([promotion("2", "1"), promotion("4", "3")], ("1", "2", "3", "4")),
        # back to one that is champion for the second time
        (
            [
                promotion("1", None),
                promotion("2", "1"),
                promotion("1", "2"),
                promotion("3", "1"),
                rollback("1", "3"),
            ],
            ("1", "2", "1"),
        ),
        # back to one that the history does not know
        ([rollback("7", "8")], ("8", "7")),
    ],
)
def test_a_history_tells_which_champions_lie_behind(events, champions):
    assert champions_of(events) == champions


def test_no_model_and_a_damaged_history_are_told(mlflow_store):
    client = MlflowClient()
    with pytest.raises(ModelError, match="There is no registered model w-vs-qcd"):
        events_of(client, NAME)
    client.create_registered_model(NAME, tags={"history.000001.a": "{}", "other": "x"})
    with pytest.raises(
        ModelError, match=r"The tag history\.000001\.a of w-vs-qcd is no entry of its history"
    ):
        events_of(client, NAME)
