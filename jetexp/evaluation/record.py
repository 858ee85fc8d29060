"""Frozen results that go to JSON and come back as they were."""

from __future__ import annotations

import math
import sys
from dataclasses import MISSING, dataclass, fields
from types import UnionType
from typing import Any, Self, Union, get_args, get_origin, get_type_hints

import numpy as np
import numpy.typing as npt

from jetexp.errors import JetexpError

__all__ = ["Curve", "Float", "Integer", "Record"]

Float = npt.NDArray[np.float64]
Integer = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Record:
    """Base of results: a dataclass of numbers, texts, arrays and further records.

    Examples
    --------
    >>> @dataclass(frozen=True, eq=False)
    ... class Length(Record):
    ...     metres: float
    >>> Length(2.0).to_dict()
    {'metres': 2.0}
    >>> Length.from_dict({"metres": 2.0}).metres
    2.0
    """

    def to_dict(self) -> dict[str, Any]:
        """Return the content as JSON-serialisable dictionaries, lists, numbers and texts.

        Returns
        -------
        dict
            What ``from_dict`` takes.

        Raises
        ------
        ValueError
            If a number is infinite or not a number, which JSON cannot hold.
        """
        return {field.name: _encode(getattr(self, field.name), field.name) for field in fields(self)}

    @classmethod
    def from_dict(cls, content: Any) -> Self:
        """Rebuild a result from what ``to_dict`` gave.

        Parameters
        ----------
        content : dict
            As read from JSON.

        Returns
        -------
        Record
            Equal, field by field, to the one that was written.

        Raises
        ------
        JetexpError
            If a field is missing, unknown, of another type, infinite or not a number.
        """
        return _decode(cls, content, cls.__name__)


@dataclass(frozen=True, eq=False)
class Curve(Record):
    """Base of results whose arrays have one entry a point."""

    def __post_init__(self) -> None:
        arrays = [value for value in vars(self).values() if isinstance(value, np.ndarray)]
        if {array.shape for array in arrays} != {(arrays[0].size,)}:
            raise ValueError(f"the arrays of a {type(self).__name__} are not of one length")


def _encode(value: Any, where: str) -> Any:
    if isinstance(value, Record):
        return value.to_dict()
    if isinstance(value, np.ndarray):
        if not np.isfinite(value).all():
            raise ValueError(f"{where} holds a number that is not finite")
        return value.tolist()
    if isinstance(value, dict):
        return {key: _encode(item, f"{where}.{key}") for key, item in value.items()}
    if isinstance(value, tuple):
        return [_encode(item, where) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{where} is {value}, not a finite number")
    return value


def _decode(kind: Any, value: Any, where: str) -> Any:
    """Bring a value read from JSON to the type that a field declares."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        if value is None and type(None) in arguments:
            return None
        return _decode(next(argument for argument in arguments if argument is not type(None)), value, where)
    if origin is np.ndarray:
        return _decode_array(get_args(arguments[1])[0], value, where)
    if origin is tuple and isinstance(value, list):
        kinds = [arguments[0]] * len(value) if len(arguments) == 2 and arguments[1] is Ellipsis else arguments
        if len(kinds) == len(value):
            return tuple(
                _decode(inner, item, f"{where}[{index}]")
                for index, (inner, item) in enumerate(zip(kinds, value, strict=True))
            )
    elif origin is dict and isinstance(value, dict):
        return {key: _decode(arguments[1], item, f"{where}.{key}") for key, item in value.items()}
    elif isinstance(kind, type) and issubclass(kind, Record) and isinstance(value, dict):
        return _decode_record(kind, value, where)
    elif kind is float and type(value) in (int, float) and abs(value) <= sys.float_info.max:
        return float(value)
    elif kind in (int, str, bool) and type(value) is kind:
        return value
    raise JetexpError(f"The stored result holds an unusable value at {where}: {str(value)[:60]!r}.")


def _decode_record(kind: type[Record], value: dict[str, Any], where: str) -> Record:
    hints = get_type_hints(kind)
    names = {field.name for field in fields(kind)}
    # what is stored may be older than a field, which then has a default
    needed = {field.name for field in fields(kind) if field.default is MISSING}
    wrong_names = (set(value) - names) | (needed - set(value))
    if wrong_names:
        wrong = ", ".join(sorted(map(str, wrong_names)))
        raise JetexpError(f"The stored result at {where} lacks, or should not have, these entries: {wrong}.")
    content = {name: _decode(hints[name], value[name], f"{where}.{name}") for name in names & set(value)}
    try:
        return kind(**content)
    except ValueError as error:
        raise JetexpError(f"The stored result cannot be used at {where}: {error}.") from error


def _decode_array(dtype: Any, value: Any, where: str) -> npt.NDArray[Any]:
    try:
        array = np.array(value)
    except ValueError:
        array = np.array(None)
    if array.size and (array.dtype.kind not in "iuf" or not np.isfinite(array).all()):
        raise JetexpError(f"The stored result holds no array of numbers at {where}.")
    if np.dtype(dtype).kind == "i" and array.size and array.dtype.kind == "f":
        raise JetexpError(f"The stored result holds no whole numbers at {where}.")
    return array.astype(dtype)
