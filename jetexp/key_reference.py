"""What every key of an experiment file means, read off the classes that validate it."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_origin

from pydantic.fields import FieldInfo

from jetexp.experiment import Experiment
from jetexp.settings import Settings

__all__ = ["HEAD", "Key", "Section", "as_markdown", "sections"]

# what a union of settings is told apart by
FORMS = ("kind", "source")
LIMITS = {"ge": "from", "gt": "above", "le": "to", "lt": "below", "min_length": "at least"}
# of the whole document, docs/experiment_file.md
HEAD = """\
# The experiment file

What `jetexp keys` prints; `jetexp keys training` prints a part. The files of `experiments` are examples.
Momenta are in GeV. A key that is not listed here is refused.
"""


@dataclass(frozen=True)
class Key:
    """One key of an experiment file.

    Attributes
    ----------
    name : str
        As it is written.
    form : str
        Its type, and what values it may have.
    default : str
        As it would be written; empty where the key must be given.
    meaning : str
        What it does.
    """

    name: str
    form: str
    default: str
    meaning: str


@dataclass(frozen=True)
class Section:
    """The keys that stand together.

    Attributes
    ----------
    places : tuple of str
        Where in the file they stand, keys joined by dots; the empty string is the file itself.
    form : str
        The key and value by which this form of several is chosen, such as ``kind: cnn``; else empty.
    summary : str
        What they are of.
    keys : tuple of Key
        In the order of the class.
    """

    places: tuple[str, ...]
    form: str
    summary: str
    keys: tuple[Key, ...]


def sections() -> tuple[Section, ...]:
    """Describe an experiment file.

    Returns
    -------
    tuple of Section
        The file's own keys first, then those below them, as they are met.

    Examples
    --------
    >>> [key.default for key in sections()[0].keys if key.name == "seeds"]
    ['3']
    """
    places: dict[type[Settings], list[str]] = {}
    waiting: list[tuple[str, type[Settings]]] = [("", Experiment)]
    while waiting:
        place, model = waiting.pop(0)
        known = places.setdefault(model, [])
        if place not in known:
            known.append(place)
        waiting += [
            (f"{place}.{name}".lstrip("."), inner)
            for name, field in model.model_fields.items()
            for inner in _settings_in([field.annotation, *field.metadata])
        ]
    return tuple(_section(model, known) for model, known in places.items())


def as_markdown(described: Iterable[Section]) -> str:
    """Write sections as Markdown, a table each.

    Parameters
    ----------
    described : iterable of Section
        Of :func:`sections`.

    Returns
    -------
    str
        Ends with a line break.
    """
    return "\n".join(_table(one) for one in described)


def _table(section: Section) -> str:
    title = ", ".join(f"`{place}`" for place in section.places if place) or "The file"
    if section.form:
        title += f" with `{section.form}`"
    rows = [
        f"| `{key.name}` | {_cell(key.form)} | {f'`{key.default}`' if key.default else 'must be given'} "
        f"| {_cell(key.meaning)} |\n"
        for key in section.keys
    ]
    head = "| key | form | default | meaning |\n|---|---|---|---|\n"
    table = head + "".join(rows) if rows else "Nothing else to set.\n"
    return f"## {title}\n\n{section.summary}\n\n{table}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _settings_in(annotations: list[Any]) -> Iterator[type[Settings]]:
    """Find the settings that a value may hold."""
    for one in annotations:
        if inspect.isclass(one) and not get_origin(one) and issubclass(one, Settings):
            yield one
        else:
            yield from _settings_in(list(get_args(one)))


def _section(model: type[Settings], places: list[str]) -> Section:
    meanings: dict[str, tuple[str, str]] = {}
    for base in reversed(model.__mro__):
        if base is not Settings and issubclass(base, Settings):
            meanings |= dict(_attributes(base))
    chosen = [name for name in FORMS if name in model.model_fields]
    form = "".join(f"{name}: {model.model_fields[name].default}" for name in chosen)
    keys = tuple(
        Key(name, _form(field, meanings[name][0]), _default(field), meanings[name][1])
        for name, field in model.model_fields.items()
        if name not in chosen
    )
    summary = (inspect.getdoc(model) or "").split("\n\nAttributes\n")[0]
    return Section(tuple(places), form, " ".join(summary.replace("``", "`").split()), keys)


def _attributes(model: type[Settings]) -> Iterator[tuple[str, tuple[str, str]]]:
    """Read the form and meaning of each attribute from a docstring in NumPy's style."""
    _, _, listed = (inspect.getdoc(model) or "").partition("\nAttributes\n----------\n")
    for names, form, text in re.findall(r"^(\S[^:\n]*) : (.*)\n((?:    .*\n?)+)", listed, flags=re.MULTILINE):
        meaning = " ".join(text.replace("``", "`").split())
        for name in names.split(", "):
            yield name, (form.removesuffix(", optional"), meaning)


def _form(field: FieldInfo, written: str) -> str:
    inner = list(dict.fromkeys(_settings_in([field.annotation, *field.metadata])))
    many = get_origin(field.annotation) is tuple
    if inner:
        held = "list, " if many else "dictionary, " if get_origin(field.annotation) is dict else ""
        return f"{held}see below"
    chosen = get_args(field.annotation)[0] if many else field.annotation
    if get_origin(chosen) is Literal:
        return ("list of " if many else "") + ", ".join(f"`{value}`" for value in get_args(chosen))
    limits = [
        f"{words} {getattr(one, limit):,}".replace(",", " ").removesuffix(".0")
        for limit, words in LIMITS.items()
        for one in field.metadata
        if hasattr(one, limit)
    ]
    form = written.replace("tuple", "list")
    return ", ".join([form, *limits])


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return ""
    default = field.get_default(call_default_factory=True)
    if isinstance(default, Settings):
        return "{}"
    # as in YAML, whose flow style JSON nearly is
    return json.dumps(default).replace('"', "")
