from __future__ import annotations

import pytest

from jetexp.jets.thrift import structure


def test_fields_of_all_types_are_read() -> None:
    parts = (
        [0x15, 0x03],  # field 1: -2
        [0x11, 0x12],  # fields 2 and 3: true, false
        [0x29, 0x25, 0x02, 0x04],  # field 5: the list 1, 2
        [0x1C, 0x18, 0x01, 0x61, 0x00],  # field 6: a structure of field 1: a
        [0x06, 0x80, 0x04, 0xFF, 0xFF, 0x03],  # field 256: -32768
        [0x17, *range(8)],  # field 257: a floating number
        [0x00],
    )
    data = b"".join(bytes(part) for part in parts)
    fields, place = structure(data)
    assert fields == {1: -2, 2: True, 3: False, 5: [1, 2], 6: {1: b"a"}, 256: -32768, 257: None}
    assert place == len(data)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x15",
        b"\x15\xff\xff",
        b"\x15" + b"\xff" * 20,
        b"\x18\x7fshort\x00",
        # a list of 2**31 structures
        b"\x19\xfc\x80\x80\x80\x80\x08\x00",
        b"\x1d\x00",
        b"\x1c" * 1000,
        b"\x19\x19" + b"\x19" * 1000,
    ],
)
def test_what_breaks_off_or_makes_no_sense_is_refused(data: bytes) -> None:
    with pytest.raises((IndexError, ValueError)):
        structure(data)
