"""Files of jets in public forms, one module a form; each is known by its content, not by its name."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import cast

from jetexp.errors import JetFileError
from jetexp.jets.formats.form import Format

__all__ = ["FORMATS", "format_of"]

# the general ones come last
FORMATS = (
    "ucl",
    "energyflow",
    "top_tagging",
    "jetnet",
    "jet_images",
    "jetclass",
    "parquet",
    "four_momenta",
    "image_arrays",
)


def format_of(path: Path) -> Format:
    """Tell which form a file is of.

    Parameters
    ----------
    path : Path
        An existing file.

    Returns
    -------
    Format
        The module that reads it.

    Raises
    ------
    JetFileError
        If it is of no known form, or damaged.
    """
    known = []
    for name in FORMATS:
        # what reads one form is not loaded for another
        module = cast(Format, import_module(f"{__name__}.{name}"))
        if module.sniff(path):
            return module
        known.append(module.NAME)
    raise JetFileError(
        f"{path} is in no form that is known here: a folder with a sample of jetexp's, or a file of "
        f"{', '.join(known)}."
    )
