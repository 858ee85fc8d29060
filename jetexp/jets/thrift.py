"""Structures in Thrift's compact protocol, without knowing what they mean.

See Apache's ``thrift-compact-protocol.md`` for how they are written.
"""

from __future__ import annotations

from typing import Any

__all__ = ["structure"]

DEEPEST = 16
_TRUE, _FALSE, _BYTE, _DOUBLE, _BINARY, _LIST, _SET, _STRUCT = 1, 2, 3, 7, 8, 9, 10, 12
_INTEGERS = (4, 5, 6)


def structure(data: bytes, place: int = 0, depth: int = 0) -> tuple[dict[int, Any], int]:
    """Read a structure.

    Parameters
    ----------
    data : bytes
        Where it stands.
    place : int
        Where it begins.
    depth : int
        How many structures and lists it stands in.

    Returns
    -------
    dict of int
        Its fields by their numbers: integers, truth values, bytes (text, too), lists and dictionaries of
        the same; None for floating numbers.
    int
        Where it ends.

    Raises
    ------
    IndexError, ValueError
        If it breaks off or makes no sense.

    Examples
    --------
    >>> structure(bytes([0x15, 0x06, 0x18, 0x02]) + b"pt" + bytes([0]))
    ({1: 3, 2: b'pt'}, 7)
    """
    if depth > DEEPEST:
        raise ValueError("too deep")
    fields: dict[int, Any] = {}
    name = 0
    while (first := data[place]) != 0:
        place += 1
        if first >> 4:
            name += first >> 4
        else:
            name, place = _integer(data, place)
        fields[name], place = _value(data, place, first & 15, depth + 1)
    return fields, place + 1


def _value(data: bytes, place: int, kind: int, depth: int) -> tuple[Any, int]:
    if kind in _INTEGERS:
        return _integer(data, place)
    if kind == _BINARY:
        length, place = _unsigned(data, place)
        if place + length > len(data):
            raise IndexError("it breaks off")
        return data[place : place + length], place + length
    if kind == _STRUCT:
        return structure(data, place, depth)
    if kind in (_LIST, _SET):
        return _list(data, place, depth)
    if kind in (_TRUE, _FALSE):
        return kind == _TRUE, place
    if kind in (_BYTE, _DOUBLE):
        return None, place + (1 if kind == _BYTE else 8)
    raise ValueError(f"there is no type {kind}")


def _list(data: bytes, place: int, depth: int) -> tuple[list[Any], int]:
    if depth > DEEPEST:
        raise ValueError("too deep")
    first = data[place]
    length, place = (first >> 4, place + 1) if first >> 4 < 15 else _unsigned(data, place + 1)
    # each takes a byte or more
    if length > len(data) - place:
        raise IndexError("it breaks off")
    values = []
    for _ in range(length):
        # in lists, unlike in fields, truth values take a byte
        kind = _BYTE if first & 15 in (_TRUE, _FALSE) else first & 15
        value, place = _value(data, place, kind, depth + 1)
        values.append(value)
    return values, place


def _unsigned(data: bytes, place: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        byte = data[place]
        place += 1
        number |= (byte & 127) << shift
        if byte < 128:
            return number, place
        shift += 7
        if shift > 63:
            raise ValueError("too long a number")


def _integer(data: bytes, place: int) -> tuple[int, int]:
    number, place = _unsigned(data, place)
    return (number >> 1) ^ -(number & 1), place
