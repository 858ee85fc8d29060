from __future__ import annotations

import io
import lzma
import zlib

import cramjam
import pytest

from jetexp.errors import JetFileError
from jetexp.jets.formats.root_blocks import check_blocks

CONTENT = bytes(range(256)) * 40
PACK = {b"ZL": zlib.compress, b"XZ": lzma.compress, b"ZS": cramjam.zstd.compress}
PACKED = {method: bytes(pack(CONTENT)) for method, pack in PACK.items()}


def block(method: bytes, data: bytes, size: int) -> bytes:
    return method + b"\x00" + len(data).to_bytes(3, "little") + size.to_bytes(3, "little") + data


def check(data: bytes, size: int, *, place: int = 0, stored: int | None = None) -> None:
    length = len(data) - place if stored is None else stored
    check_blocks(io.BytesIO(data), place, length, size, largest=10**6, where="file")


@pytest.mark.parametrize("method", PACKED)
def test_blocks_unfold_to_what_is_announced(method: bytes) -> None:
    one = block(method, PACKED[method], len(CONTENT))
    check(one, len(CONTENT))
    check(b"before" + one + one, 2 * len(CONTENT), place=6)
    with pytest.raises(JetFileError, match="does not unfold to 10241 bytes"):
        check(one, len(CONTENT) + 1)
    with pytest.raises(JetFileError, match="a block does not unfold to 10239 bytes"):
        check(block(method, PACKED[method], len(CONTENT) - 1), len(CONTENT) - 1)
    with pytest.raises(JetFileError, match="a block does not unfold to 10240 bytes"):
        check(one[:-5], len(CONTENT))


@pytest.mark.parametrize("method", PACK)
def test_a_bomb_is_not_unfolded(method: bytes) -> None:
    data = bytes(PACK[method](bytes(20_000_000)))
    with pytest.raises(JetFileError, match="a block does not unfold to 1000 bytes"):
        check(block(method, data, 1000), 1000)


def test_other_bytes_are_refused() -> None:
    check(CONTENT, len(CONTENT))
    with pytest.raises(JetFileError, match="unfolds to 1000001 bytes from 10240; at most 1000000"):
        check(CONTENT, 10**6 + 1)
    for place, stored in ((-1, 10), (0, 20_000), (10_240, 1)):
        with pytest.raises(JetFileError, match="beyond the end of the file"):
            check(CONTENT, 20_000, place=place, stored=stored)
    with pytest.raises(JetFileError, match="a block does not unfold"):
        check(block(b"CS", PACKED[b"ZL"], len(CONTENT)), len(CONTENT))
    with pytest.raises(JetFileError, match="a block does not unfold"):
        check(b"ZL", 100)
