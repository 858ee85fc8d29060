from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from jetexp.errors import JetFileError
from jetexp.jets.momenta import double, jets_from_constituents, jets_from_four_momenta

JET: dict[str, Any] = {"label": np.zeros(1, int), "classes": ["jets"], "where": "file", "first": 7}
OFFSETS = np.array([0, 2])


def test_a_nan_that_signals_is_told_as_any_other() -> None:
    signalling = np.array([0x7FA00000, 0x3F800000], "u4").view("f4")
    assert np.isnan(double(signalling)).tolist() == [True, False]
    with pytest.raises(JetFileError, match="file, jet 7, constituent 0: pT is nan"):
        jets_from_constituents(OFFSETS, signalling, np.zeros(2), np.zeros(2), **JET)


def test_what_flies_along_the_beam_is_refused() -> None:
    px, pz, nothing = np.array([5.0, 1e-40]), np.array([5.0, 1e5]), np.zeros(2)
    with pytest.raises(JetFileError, match=r"file, jet 7, constituent 1: eta is 104\.\d+; a finite number"):
        jets_from_four_momenta(OFFSETS, px, nothing, pz, np.hypot(px, pz), **JET)


def test_what_float32_cannot_hold_is_left_out() -> None:
    px = np.array([5.0, 1e-60])
    jets = jets_from_four_momenta(OFFSETS, px, np.zeros(2), np.zeros(2), px, **JET)
    assert jets.constituent_pt.tolist() == [5.0]
