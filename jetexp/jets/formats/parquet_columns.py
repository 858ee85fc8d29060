"""Which column of a Parquet file of jets is what."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pyarrow as pa

from jetexp.errors import JetFileError

__all__ = ["Columns", "columns_of", "is_text"]

PREFIXES = ("constituent_", "particle_", "part_", "")
LABELS = ("label", "class")
JET = ("pt", "eta", "mass")


@dataclass(frozen=True)
class Columns:
    """Names of the columns of jets.

    Attributes
    ----------
    pt, eta, phi : str
        Lists, one entry a constituent.
    charge : str, optional
        Lists too, in units of e.
    label : str, optional
        A number or a text for each jet.
    jet : dict of str to str
        The jet's own ``pt``, ``eta`` and ``mass``, as far as there are columns of them.
    weight : str, optional
        A number for each jet.
    """

    pt: str
    eta: str
    phi: str
    charge: str | None
    label: str | None
    jet: dict[str, str]
    weight: str | None

    @property
    def all(self) -> list[str]:
        """All of them."""
        others = (self.charge, self.label, self.weight, *self.jet.values())
        return [self.pt, self.eta, self.phi, *(name for name in others if name is not None)]


def columns_of(schema: pa.Schema, where: str) -> Columns:
    """Find the columns of jets by their names and types.

    Parameters
    ----------
    schema : pyarrow.Schema
        Of the file.
    where : str
        The file, for messages.

    Returns
    -------
    Columns

    Raises
    ------
    JetFileError
        If columns are missing, ambiguous or of a wrong type.

    Examples
    --------
    >>> lists = pa.list_(pa.float32())
    >>> schema = pa.schema({"part_pt": lists, "part_eta": lists, "part_phi": lists, "pt": pa.float32()})
    >>> found = columns_of(schema, "jets.parquet")
    >>> found.eta, found.jet, found.label
    ('part_eta', {'pt': 'pt'}, None)
    """
    names = schema.names
    lists = {name for name in names if _is_list(schema.field(names.index(name)).type)}
    prefixes = [
        prefix for prefix in PREFIXES if all(f"{prefix}{name}" in lists for name in ("pt", "eta", "phi"))
    ]
    if len(prefixes) != 1:
        told = "no" if not prefixes else "more than one set of"
        raise JetFileError(
            f"{where} has {told} columns of lists pt, eta and phi, with the prefix constituent_, particle_, "
            f"part_ or none; it has {', '.join(names[:20])}{', ...' if len(names) > 20 else ''}."
        )

    def one(candidates: Sequence[str], fits: Callable[[pa.DataType], bool], what: str) -> str | None:
        found = [name for name in candidates if name in names and name not in lists]
        if len(found) > 1:
            raise JetFileError(f"{where} has the columns {' and '.join(found)}; one of them would be right.")
        for name in found:
            form = schema.field(names.index(name)).type
            if not fits(form):
                raise JetFileError(f"{where}, column {name!r}, is of type {form}, not {what}.")
            return name
        return None

    prefix = prefixes[0]
    charge = f"{prefix}charge"
    jet = {name: one((name, f"jet_{name}"), pa.types.is_floating, "floating numbers") for name in JET}
    columns = Columns(
        pt=f"{prefix}pt",
        eta=f"{prefix}eta",
        phi=f"{prefix}phi",
        charge=charge if charge in lists else None,
        label=one(LABELS, _is_label, "whole numbers or text"),
        jet={name: column for name, column in jet.items() if column is not None},
        weight=one(("weight",), pa.types.is_floating, "floating numbers"),
    )
    _check(schema, columns, where)
    return columns


def _check(schema: pa.Schema, columns: Columns, where: str) -> None:
    for name in columns.all:
        if schema.names.count(name) > 1:
            raise JetFileError(f"{where} has the column {name!r} twice.")
    for name in (columns.pt, columns.eta, columns.phi):
        form = schema.field(name).type
        if not pa.types.is_floating(form.value_type):
            raise JetFileError(f"{where}, column {name!r}, is of type {form}, not lists of floating numbers.")


def is_text(form: pa.DataType) -> bool:
    """Tell whether a type is of text.

    Parameters
    ----------
    form : pyarrow.DataType
        The type; each different text may be kept once only.

    Returns
    -------
    bool
    """
    if pa.types.is_dictionary(form):
        form = form.value_type
    return bool(pa.types.is_string(form) or pa.types.is_large_string(form))


def _is_list(form: pa.DataType) -> bool:
    if not (pa.types.is_list(form) or pa.types.is_large_list(form) or pa.types.is_fixed_size_list(form)):
        return False
    return bool(pa.types.is_floating(form.value_type) or pa.types.is_integer(form.value_type))


def _is_label(form: pa.DataType) -> bool:
    numbers = (pa.types.is_integer, pa.types.is_boolean, pa.types.is_floating)
    return is_text(form) or any(fits(form) for fits in numbers)
