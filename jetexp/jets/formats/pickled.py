"""Lists of strings that somebody pickled, read without unpickling anything."""

from __future__ import annotations

import pickletools

from jetexp.errors import JetFileError

__all__ = ["pickled_strings"]

_LISTS = ("LIST", "EMPTY_LIST")
_STRINGS = ("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE")
# they change nothing in a list of strings
_FRAMING = ("PROTO", "FRAME", "MARK", "PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE", "APPEND", "APPENDS", "STOP")


def pickled_strings(pickled: bytes, where: str) -> list[str]:
    r"""Read the strings of a pickled list of strings, of protocol 0 to 5.

    The pickle is taken apart by :func:`pickletools.genops`, which runs none of its instructions; one that
    has any instruction beyond a list and strings is refused.

    Parameters
    ----------
    pickled : bytes
        The pickle.
    where : str
        File and name, for messages.

    Returns
    -------
    list of str

    Raises
    ------
    JetFileError
        If it is no pickle, or of anything else.

    Examples
    --------
    >>> pickled_strings(b"(lp0\nVE_0\np1\naVPX_0\np2\na.", "file, names")
    ['E_0', 'PX_0']
    """
    strings: list[str] = []
    lists = 0
    try:
        for instruction, argument, _ in pickletools.genops(pickled):
            if instruction.name in _STRINGS and lists == 1:
                strings.append(str(argument))
            elif instruction.name in _LISTS and not lists:
                lists = 1
            elif instruction.name not in _FRAMING:
                raise JetFileError(
                    f"{where} is pickled, and not as a list of strings ({instruction.name}): not read."
                )
    except (ValueError, IndexError, OverflowError) as error:
        raise JetFileError(f"{where} is no pickled list of strings: damaged.") from error
    if not lists:
        raise JetFileError(f"{where} is pickled, and not as a list of strings: not read.")
    return strings
