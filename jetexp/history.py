"""Who was champion, when and why: a registered model's journal, kept in its own tags."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from mlflow import MlflowClient
from mlflow.entities.model_registry import RegisteredModel

from jetexp.errors import ModelError
from jetexp.registry import registered_model

__all__ = ["Event", "aliases_of", "champions_of", "events_of"]

TAG = "history."


@dataclass(frozen=True)
class Event:
    """A promotion or a rollback.

    Attributes
    ----------
    kind : {"promotion", "rollback"}
        What happened.
    version : str
        The champion from then on.
    champion_before : str or None
        The champion until then.
    previous : str or None
        What the alias ``previous`` meant from then on.
    reason : str
        Why.
    numbers : dict of str to float
        What the decision rested on.
    number : int
        Of the entry, from 1.
    who : str
        ``user@machine``.
    when : str
        ISO 8601, UTC.
    finished : bool
        Whether the aliases have been moved.
    identifier : str
        Tells entries of one number apart.
    test_sample : str or None
        Fingerprint of the test jets that the registered model owns from then on; None for no change.
    """

    kind: Literal["promotion", "rollback"]
    version: str
    champion_before: str | None
    previous: str | None
    reason: str
    numbers: Mapping[str, float] = field(default_factory=dict)
    number: int = 0
    who: str = ""
    when: str = ""
    finished: bool = False
    identifier: str = ""
    test_sample: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the entry in a form that JSON can hold.

        Returns
        -------
        dict
            All attributes.
        """
        return asdict(self)

    @property
    def tag(self) -> str:
        """The tag that holds the entry."""
        return f"{TAG}{self.number:06d}.{self.identifier}"


def events_of(client: MlflowClient, name: str) -> tuple[Event, ...]:
    """Read the journal of a registered model.

    Parameters
    ----------
    client : mlflow.MlflowClient
        Connected.
    name : str
        The registered model.

    Returns
    -------
    tuple of Event
        Oldest first.

    Raises
    ------
    ModelError
        If there is no such model, or an entry cannot be read.
    """
    found = []
    for tag, text in _model(client, name).tags.items():
        if tag.startswith(TAG):
            try:
                found.append(Event(**json.loads(text)))
            except (TypeError, ValueError) as error:
                raise ModelError(f"The tag {tag} of {name} is no entry of its history: {error}") from error
    return tuple(sorted(found, key=lambda event: (event.number, event.when, event.identifier)))


def aliases_of(client: MlflowClient, name: str) -> dict[str, str]:
    """Read the aliases of a registered model.

    Parameters
    ----------
    client : mlflow.MlflowClient
        Connected.
    name : str
        The registered model.

    Returns
    -------
    dict of str to str
        Versions by alias.

    Raises
    ------
    ModelError
        If there is no such model.
    """
    return {alias: str(version) for alias, version in _model(client, name).aliases.items()}


def _model(client: MlflowClient, name: str) -> RegisteredModel:
    model = registered_model(client, name)
    if model is None:
        raise ModelError(f"There is no registered model {name}.")
    return model


def champions_of(events: Sequence[Event]) -> tuple[str, ...]:
    """Follow a journal: the champions that a rollback would go back through.

    Parameters
    ----------
    events : sequence of Event
        Oldest first.

    Returns
    -------
    tuple of str
        Versions, the present champion last; those that were rolled back from are left out.

    Examples
    --------
    >>> champions_of([Event("promotion", "1", None, None, ""), Event("promotion", "2", "1", "1", "")])
    ('1', '2')
    """
    champions: list[str] = []
    for event in events:
        if event.champion_before is not None and champions[-1:] != [event.champion_before]:
            # made champion by hand, or before there was a journal
            champions.append(event.champion_before)
        if event.kind == "rollback" and event.version in champions[:-1]:
            del champions[len(champions) - champions[-2::-1].index(event.version) - 1 :]
        else:
            champions.append(event.version)
    return tuple(champions)
