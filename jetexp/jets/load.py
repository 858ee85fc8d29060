"""The one door to jets: settings in, jets out, whatever they come from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from jetexp.errors import JetexpError
from jetexp.jets.collection import selected
from jetexp.jets.files import read_files
from jetexp.jets.formats.ucl import default_ucl_name, export_ucl
from jetexp.jets.grooming import soft_dropped, with_hard_constituents
from jetexp.jets.sample import Jets
from jetexp.jets.settings import GenerationSettings, JetFileSettings

if TYPE_CHECKING:
    from jetexp.workers import Workers

__all__ = ["default_ucl_name", "export_ucl", "load_jets"]

# of the jets of a file that does not say; soft drop asks for it, where its beta is not 0
USUAL_RADIUS = 1.0


def load_jets(
    settings: GenerationSettings | JetFileSettings,
    classes: Sequence[str],
    folder: str | Path,
    *,
    workers: Workers | None = None,
    scratch: Path | None = None,
) -> Jets:
    """Give the jets that settings describe: generate them, or read them.

    Parameters
    ----------
    settings : GenerationSettings or JetFileSettings
        Where the jets come from.
    classes : sequence of str
        The classes wanted, in the order of the labels.
    folder : str or Path
        Where generated samples are kept; one that is there already is read.
    workers : int or distributed.Client, optional
        Number of processes that generate, or a Dask cluster; by default one a core. The jets do not depend on
        it.
    scratch : Path, optional
        Where jets that are too many for the memory are kept; see :func:`jetexp.jets.collection.collect`.

    Returns
    -------
    Jets
        Of these classes only, at least one of each; selected and groomed, if the settings say so.

    Raises
    ------
    JetFileError
        If a file cannot be read, or lacks a class.
    JetexpError
        If jets cannot be generated or stored.
    """
    if isinstance(settings, GenerationSettings):
        # pyarrow and the generator's tools are needed from here on only
        from jetexp.jets.production import generated_jets

        jets = generated_jets(settings, classes, Path(folder), workers=workers, scratch=scratch)
    else:
        jets = read_files(settings, classes, scratch=scratch)
    if settings.select_pt is not None:
        jets = _selected(jets, settings.select_pt, scratch)
    if settings.minimum_constituent_pt:
        jets = with_hard_constituents(jets, settings.minimum_constituent_pt, scratch=scratch)
    if settings.soft_drop is not None:
        jets = soft_dropped(jets, settings.soft_drop, _radius(jets), scratch=scratch)
    return jets


def _selected(jets: Jets, window: tuple[float, float], scratch: Path | None) -> Jets:
    """Keep the jets of a range of pT."""
    low, high = window
    kept = selected(jets, (jets.pt >= low) & (jets.pt < high), scratch)
    for name, count in kept.class_counts.items():
        if not count:
            raise JetexpError(f"No jet of class {name!r} has a pT of {low:g} to {high:g} GeV (select_pt).")
    return kept


def _radius(jets: Jets) -> float:
    """Give the radius that the provenance says, if it says one."""
    physics = jets.provenance.get("physics")
    radius = physics.get("radius") if isinstance(physics, dict) else None
    return radius if isinstance(radius, float) and 0 < radius < np.inf else USUAL_RADIUS
