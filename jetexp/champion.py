"""A change of champion: written down, carried out, marked as done.

So one that was interrupted is finished by whoever comes next. MLflow's registry cannot compare and
set; two who write at the same moment, on two machines, are told apart by reading again after writing:
whoever finds another entry that is not carried out, or of no smaller number, takes its own back.
"""

from __future__ import annotations

import getpass
import hashlib
import json
import logging
import os
import platform
import random
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import filelock
import mlflow
from mlflow import MlflowClient

from jetexp.errors import ModelError
from jetexp.history import Event, aliases_of, champions_of, events_of
from jetexp.mlflow_store import delivered
from jetexp.registry import CHALLENGER, CHAMPION, PREVIOUS, TEST_SAMPLE, gate_tags

__all__ = ["change_champion", "one_at_a_time", "roll_back", "settle"]

logger = logging.getLogger(__name__)

# seconds: how long an entry may wait to be carried out before others do it, and how often they look
HANDOVER_TIME = 30.0
# within which it is done, well before others would take it over
MOVE_TIME = HANDOVER_TIME / 2
LOOK = 0.5
ATTEMPTS = 20
# seconds; moving aliases takes less than one, and others may have to be waited for
LOCK_TIME = 600.0
# PostgreSQL holds 5 000 characters a tag
MAXIMUM_REASON = 2_000


def change_champion(client: MlflowClient, name: str, event: Event) -> Event | None:
    """Make a version champion, and write down why; unless the champion is another one by now.

    Parameters
    ----------
    client : mlflow.MlflowClient
        Connected.
    name : str
        The registered model.
    event : Event
        Without number, time and person.

    Returns
    -------
    Event or None
        As it stands in the history; None, and nothing changed, if ``champion_before`` is no longer the
        champion.

    Raises
    ------
    ModelError
        If others are always quicker, or the registry is too slow.
    """
    written = _written(client, name, event)
    if written is None:
        return None
    if not written.finished:
        _move(client, name, written)
    return replace(written, finished=True)


def roll_back(client: MlflowClient, name: str, *, reason: str = "") -> Event:
    """Give the alias ``champion`` back to the version that had it before.

    ``previous`` is then the champion before that one, if it still exists, so that rolling back twice
    goes back twice.

    Parameters
    ----------
    client : mlflow.MlflowClient
        Connected.
    name : str
        The registered model.
    reason : str
        For the history.

    Returns
    -------
    Event
        As it stands in the history.

    Raises
    ------
    ModelError
        If there is no such model, or no champion or former champion.
    """
    with one_at_a_time(name):
        for _ in range(ATTEMPTS):
            _settle(client, name)
            aliases = aliases_of(client, name)
            for alias in (CHAMPION, PREVIOUS):
                if alias not in aliases:
                    raise ModelError(f"{name} cannot be rolled back: no version has the alias {alias}.")
            event = Event(
                kind="rollback",
                version=aliases[PREVIOUS],
                champion_before=aliases[CHAMPION],
                previous=_champion_before(client, name, aliases[PREVIOUS]),
                reason=reason or "No reason was given.",
            )
            done = change_champion(client, name, event)
            if done is not None:
                return done
    raise ModelError(f"{name} was not rolled back: others changed its champion all the time; try again.")


def _champion_before(client: MlflowClient, name: str, version: str) -> str | None:
    """Find the last champion before a version became champion that still exists."""
    champions = champions_of(events_of(client, name))
    if version not in champions:
        return None
    there = _versions(client, name)
    earlier = champions[: len(champions) - 1 - champions[::-1].index(version)]
    return next((one for one in reversed(earlier) if one in there and one != version), None)


@contextmanager
def one_at_a_time(name: str) -> Iterator[None]:
    """Keep others on this machine from moving a model's aliases.

    Parameters
    ----------
    name : str
        The registered model.

    Raises
    ------
    ModelError
        If another process does not let go.
    """
    key = hashlib.sha256(f"{mlflow.get_tracking_uri()}\0{Path.cwd()}\0{name}".encode()).hexdigest()[:16]
    path = Path(tempfile.gettempdir()) / f"jetexp-gate-{os.getuid()}-{key}.lock"
    try:
        with filelock.FileLock(path, timeout=LOCK_TIME):
            yield
    except filelock.Timeout:
        raise ModelError(
            f"Another process on this machine is changing {name}, and does not end; see {path}."
        ) from None


def _written(client: MlflowClient, name: str, event: Event) -> Event | None:
    """Write an entry down, unless the champion is another one by now.

    It is to be carried out at once, if others have not done so already.
    """
    for _ in range(ATTEMPTS):
        _settle(client, name)
        before = events_of(client, name)
        if aliases_of(client, name).get(CHAMPION) != event.champion_before:
            return None
        written = replace(
            event,
            number=1 + max((one.number for one in before), default=0),
            reason=event.reason[:MAXIMUM_REASON],
            who=f"{_user()}@{platform.node()}",
            when=datetime.now(UTC).isoformat(timespec="milliseconds"),
            identifier=uuid.uuid4().hex[:12],
        )
        _write(client, name, written)
        entries = {one.identifier: one for one in events_of(client, name)}
        own = entries.pop(written.identifier, None)
        if own is not None and own.finished:
            # this process was held up for so long that others took it for dead
            return own
        # whoever wrote at the same moment is seen by at least one of the two
        rivals = [one for one in entries.values() if one.number >= written.number or not one.finished]
        unchanged = aliases_of(client, name).get(CHAMPION) == event.champion_before
        if own is not None and not rivals and unchanged:
            return written
        delivered(client.delete_registered_model_tag, name, written.tag)
        time.sleep(LOOK * random.uniform(0.1, 2))  # noqa: S311 (no secret)
    raise ModelError(f"The champion of {name} cannot be changed: others do so all the time; try again.")


def _move(client: MlflowClient, name: str, event: Event) -> None:
    """Move the aliases as an entry says; doing it twice does no harm."""
    end = time.monotonic() + MOVE_TIME

    def soon(call: Any, *args: str) -> None:
        if time.monotonic() > end:
            raise ModelError(
                f"MLflow's registry takes too long: version {event.version} of {name} is not champion yet, "
                "but will be when the next gate or rollback comes."
            )
        delivered(call, name, *args)

    aliases = aliases_of(client, name)
    # `previous` first, lest a champion be lost
    if event.previous is not None:
        soon(client.set_registered_model_alias, PREVIOUS, event.previous)
    elif PREVIOUS in aliases and event.kind == "rollback":
        soon(client.delete_registered_model_alias, PREVIOUS)
    if event.test_sample is not None:
        # before there is a champion that others would be compared with on other jets
        soon(client.set_registered_model_tag, TEST_SAMPLE, event.test_sample)
    soon(client.set_registered_model_alias, CHAMPION, event.version)
    if aliases.get(CHALLENGER) == event.version:
        soon(client.delete_registered_model_alias, CHALLENGER)
    if event.kind == "promotion":
        told = gate_tags("promoted", event.reason, event.numbers, event.champion_before)
        for key, value in told.items():
            soon(client.set_model_version_tag, event.version, key, value)
    _write(client, name, replace(event, finished=True))


def settle(client: MlflowClient, name: str) -> None:
    """Carry out what a gate or a rollback that was interrupted had written down.

    Parameters
    ----------
    client : mlflow.MlflowClient
        Connected.
    name : str
        The registered model.
    """
    with one_at_a_time(name):
        _settle(client, name)


def _settle(client: MlflowClient, name: str) -> None:
    """Wait for entries that are being carried out; carry out what nobody does."""
    waiting = _unfinished(client, name)
    end = time.monotonic() + HANDOVER_TIME
    while waiting and time.monotonic() < end:
        time.sleep(LOOK * random.uniform(0.5, 1.5))  # noqa: S311 (no secret)
        still = _unfinished(client, name)
        if {one.identifier for one in still} != {one.identifier for one in waiting}:
            end = time.monotonic() + HANDOVER_TIME
        waiting = still
    there = _versions(client, name)
    for one in waiting:
        if one.version not in there:
            logger.warning("version %s of %s, which was to become champion, is gone", one.version, name)
            _forget(client, name, one)
    waiting = [one for one in waiting if one.version in there]
    if not waiting:
        return
    champion = aliases_of(client, name).get(CHAMPION)
    # of several that died together, the one that got furthest
    ordered = sorted(waiting, key=lambda one: (one.version != champion, one.when))
    for one in ordered[1:]:
        delivered(client.delete_registered_model_tag, name, one.tag)
    interrupted = ordered[0]
    if champion in (interrupted.champion_before, interrupted.version):
        logger.warning(
            "finishing what was interrupted: version %s of %s becomes champion (%s by %s)",
            interrupted.version,
            name,
            interrupted.kind,
            interrupted.who,
        )
        kept = interrupted.previous if interrupted.previous in there else None
        _move(client, name, replace(interrupted, previous=kept))
    else:
        delivered(client.delete_registered_model_tag, name, interrupted.tag)


def _versions(client: MlflowClient, name: str) -> set[str]:
    return {str(one.version) for one in client.search_model_versions(f"name = '{name}'")}


def _forget(client: MlflowClient, name: str, event: Event) -> None:
    """Drop an entry that cannot be carried out, and undo what was: ``previous`` may have moved already."""
    delivered(client.delete_registered_model_tag, name, event.tag)
    aliases = aliases_of(client, name)
    champion = aliases.get(CHAMPION)
    if champion is None or aliases.get(PREVIOUS) != champion:
        return
    before = _champion_before(client, name, champion)
    if before is None:
        delivered(client.delete_registered_model_alias, name, PREVIOUS)
    else:
        delivered(client.set_registered_model_alias, name, PREVIOUS, before)


def _unfinished(client: MlflowClient, name: str) -> Sequence[Event]:
    return [one for one in events_of(client, name) if not one.finished]


def _write(client: MlflowClient, name: str, event: Event) -> None:
    text = json.dumps(event.to_dict(), allow_nan=False)
    delivered(client.set_registered_model_tag, name, event.tag, text)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        # an account without a name, in a container
        return "unknown"
