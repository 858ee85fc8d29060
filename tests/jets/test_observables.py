from __future__ import annotations

import itertools
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from toys import build_jets, one_jet, toy_jets

from jetexp.errors import JetexpError
from jetexp.jets import observables
from jetexp.jets.clustering import wrap_phi
from jetexp.jets.observables import FROM_FASTJET, LABELS, OBSERVABLES, make_observables
from jetexp.jets.sample import Jets

ANGLE = st.floats(-0.7, 0.7)
PT = st.floats(1.0, 500.0)
CONSTITUENT = st.tuples(ANGLE, ANGLE, PT)


def of_one(name: str, eta, phi, pt) -> float:
    return float(make_observables(one_jet(eta, phi, pt), [name])[0, 0])


def moved(jets: Jets, *, eta: float = 0.0, phi: float = 0.0) -> Jets:
    return replace(
        jets,
        constituent_eta=jets.constituent_eta + np.float32(eta),
        constituent_phi=wrap_phi(jets.constituent_phi + phi).astype(np.float32),
    )


@given(CONSTITUENT, CONSTITUENT)
def test_two_massless_constituents_have_the_mass_of_the_formula(first, second) -> None:
    jets = one_jet(*zip(first, second, strict=True))
    eta, phi, pt = (
        values.astype(float) for values in (jets.constituent_eta, jets.constituent_phi, jets.constituent_pt)
    )
    mass = np.sqrt(2 * pt[0] * pt[1] * (np.cosh(eta[0] - eta[1]) - np.cos(phi[0] - phi[1])))
    found = make_observables(jets, ["mass", "pt"])[0]
    # a difference of squared energies loses half the digits
    assert found[0] == pytest.approx(mass, rel=1e-5, abs=1e-4)
    assert found[1] == pytest.approx(abs(np.sum(pt * np.exp(1j * phi))), rel=1e-5)


@pytest.mark.parametrize(("eta", "phi"), [(0.0, 3.0), (0.0, np.pi), (1.5, 0.0), (-0.7, -3.1)])
def test_nothing_depends_on_where_the_jet_is(eta: float, phi: float) -> None:
    jets = toy_jets(60)
    expected = make_observables(jets, OBSERVABLES)
    assert np.allclose(make_observables(moved(jets, eta=eta, phi=phi), OBSERVABLES), expected, rtol=2e-3)


@pytest.mark.parametrize("angle", [0.3, np.pi / 2, 2.5])
def test_angular_observables_know_no_direction_in_the_plane(angle: float) -> None:
    jets = toy_jets(60)
    turned = replace(
        jets,
        constituent_eta=np.cos(angle) * jets.constituent_eta - np.sin(angle) * jets.constituent_phi,
        constituent_phi=np.sin(angle) * jets.constituent_eta + np.cos(angle) * jets.constituent_phi,
    )
    names = ["tau21", "tau32", "d2"]
    assert np.allclose(make_observables(turned, names), make_observables(jets, names), rtol=2e-3)


def prongs(number: int, *, size: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Equal prongs of eight constituents at the corners of a polygon."""
    random = np.random.default_rng(number)
    corner = np.repeat(np.exp(2j * np.pi * np.arange(number) / number), 8) * 0.4
    around = random.normal(0, size, (2, len(corner)))
    return corner.real + around[0], corner.imag + around[1], random.uniform(10, 20, len(corner))


def test_as_many_axes_as_prongs_leave_nothing() -> None:
    assert of_one("tau21", *prongs(2, size=0.001)) < 0.01
    assert of_one("tau32", *prongs(3, size=0.001)) < 0.01
    assert of_one("tau21", *prongs(3, size=0.001)) > 0.3
    assert of_one("tau32", *prongs(2, size=0.1)) > 0.3


@pytest.mark.parametrize("pt", [(500, 50, 2000), (300, 250, 900), (80, 40, 200)])
def test_n_subjettiness_by_hand(pt: tuple[float, ...]) -> None:
    # two constituents near each other and one far off, harder than both: the axes are the hardest, which
    # FastJet's minimisation finds to 1e-4
    expected = pt[1] * 0.01 / (pt[0] * 0.5 + pt[1] * 0.49)
    assert of_one("tau21", (0.0, 0.01, 0.5), (0.0, 0.0, 0.0), pt) == pytest.approx(expected, rel=0.02)


@settings(max_examples=50)
@given(st.lists(CONSTITUENT, min_size=5, max_size=5))
def test_d2_is_what_its_definition_says(constituents) -> None:
    jets = one_jet(*np.array(constituents).T)
    eta, phi, pt = (
        values.astype(float) for values in (jets.constituent_eta, jets.constituent_phi, jets.constituent_pt)
    )
    fraction = pt / pt.sum()
    distance = np.hypot(eta[:, None] - eta, phi[:, None] - phi)
    e2 = sum(fraction[i] * fraction[j] * distance[i, j] for i, j in itertools.combinations(range(5), 2))
    e3 = sum(
        fraction[i] * fraction[j] * fraction[k] * distance[i, j] * distance[j, k] * distance[i, k]
        for i, j, k in itertools.combinations(range(5), 3)
    )
    found = float(make_observables(jets, ["d2"])[0, 0])
    if e2 > 1e-4:
        assert found == pytest.approx(e3 / e2**3, rel=1e-3, abs=1e-6)
    assert np.isfinite(found)


@pytest.mark.parametrize(("fraction", "kept"), [(0.05, False), (0.09, False), (0.11, True), (0.3, True)])
def test_soft_drop_removes_what_is_soft_and_wide_alone(fraction: float, kept: bool) -> None:
    core = 1 - fraction
    eta, phi, pt = [0.0, 0.1, 0.0], [0.0, 0.0, 0.6], [300 * core, 200 * core, 500 * fraction]
    which = slice(0, 3 if kept else 2)
    expected = of_one("mass", eta[which], phi[which], pt[which])
    assert of_one("soft_drop_mass", eta, phi, pt) == pytest.approx(expected, rel=1e-5)


def test_soft_drop_goes_on_inside() -> None:
    # two soft constituents, one within the other's distance: both go
    eta, phi, pt = [0.0, 0.05, 0.0, 0.3], [0.0, 0.0, 0.6, 0.0], [300.0, 200.0, 10.0, 20.0]
    expected = of_one("mass", eta[:2], phi[:2], pt[:2])
    assert of_one("soft_drop_mass", eta, phi, pt) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("eta", "phi", "pt", "expected"),
    [
        ([], [], [], (0, 0, 0, 0, 1, 1, 0)),
        ([0.3], [3.1], [700], (700, 0, 1, 0, 1, 1, 0)),
        ([0.3, 0.1], [0.1, 0.2], [0, 0], (0, 0, 0, 0, 1, 1, 0)),
        ([0.3, 0.1], [0.1, 0.2], [0, 9], (9, 0, 1, 0, 1, 1, 0)),
        ([0.3] * 4, [-0.2] * 4, [50] * 4, (200, 0, 4, 0, 1, 1, 0)),
        ([0.3, 0.3, 0.1, 0.1], [-0.2] * 4, [50] * 4, (200, 20.0333, 4, 20.0333, 0, 1, 0)),
        ([0.1, -0.1], [0, 0], [50, 50], (100, 10.0167, 2, 10.0167, 0, 1, 0)),
    ],
)
def test_odd_jets(eta, phi, pt, expected) -> None:
    found = make_observables(one_jet(eta, phi, pt), OBSERVABLES)
    assert np.allclose(found[0], expected, rtol=1e-4, atol=1e-3)


@settings(max_examples=60)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([0.0, 1e-7, 0.1, -0.4]),
            st.sampled_from([0.0, 1e-6, 3.14]),
            st.floats(0, 1e3, width=32),
        ),
        max_size=6,
    )
)
# next to no pT beside much
@example([(0.0, 0.0, 46.0), (0.1, 0.0, 1e-38), (-0.4, 1e-6, 1e-38)])
@example([(0.0, 0.0, 500.0), (0.1, 0.0, 1e-30), (-0.4, 0.0, 1e-30)])
def test_every_observable_of_every_jet_is_finite(constituents) -> None:
    found = make_observables(one_jet(*np.array(constituents).reshape(-1, 3).T), OBSERVABLES)
    assert np.isfinite(found).all()
    assert (found >= 0).all()


def test_constituents_without_pt_count_for_nothing() -> None:
    jets = toy_jets(20)
    padded = replace(
        jets,
        offsets=jets.offsets + np.concatenate([np.arange(len(jets)), [len(jets) - 1]]),
        **{
            name: np.insert(getattr(jets, name), jets.offsets[1:-1], fill).astype(np.float32)
            for name, fill in (("constituent_eta", 0.6), ("constituent_phi", -0.6), ("constituent_pt", 0))
        },
    )
    assert (padded.constituent_pt == 0).sum() == len(jets) - 1
    assert np.array_equal(make_observables(padded, OBSERVABLES), make_observables(jets, OBSERVABLES))


def test_blocks_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    full = toy_jets(30)
    # empty jets at the ends and in the middle
    offsets = np.insert(full.offsets, [0, 10, 10, 31], full.offsets[[0, 10, 10, 30]])
    jets = build_jets(offsets, full.constituent_eta, full.constituent_phi, full.constituent_pt)
    whole = make_observables(jets, OBSERVABLES)
    monkeypatch.setattr(observables, "BLOCK_CONSTITUENTS", 150)
    assert np.array_equal(make_observables(jets, OBSERVABLES), whole)
    assert np.array_equal(whole[jets.counts > 0], make_observables(full, OBSERVABLES))


def test_columns_come_as_asked_for() -> None:
    jets = toy_jets(10)
    everything = dict(zip(OBSERVABLES, make_observables(jets, OBSERVABLES).T, strict=True))
    names = ["d2", "pt", "tau32", "pt"]
    found = make_observables(jets, names)
    assert found.dtype == np.float32
    assert np.array_equal(found.T, [everything[name] for name in names])
    assert make_observables(jets, []).shape == (10, 0)
    assert make_observables(jets.take(slice(0, 0)), OBSERVABLES).shape == (0, 7)
    with pytest.raises(JetexpError, match=r"no observable 'tau43'; there are pt, mass, .*, d2\."):
        make_observables(jets, ["pt", "tau43"])
    assert set(LABELS) == set(OBSERVABLES)


def test_a_served_model_needs_no_fastjet() -> None:
    code = """
import sys
import numpy as np
from jetexp.jets.observables import make_observables
from jetexp.jets.sample import Jets
one = np.ones(1, np.float32)
jets = Jets(np.array([0, 1]), one, one, one, np.array([0]), one, one, one, ("QCD",))
make_observables(jets, ["pt", "mass", "multiplicity"])
assert not {"fastjet", "awkward", "pyarrow"} & sys.modules.keys()
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_fastjet_writes_nothing_to_standard_output() -> None:
    code = """
import numpy as np
from jetexp.jets.observables import make_observables
from jetexp.jets.sample import Jets
one = np.ones(1, np.float32)
jets = Jets(np.array([0, 1]), one, one, one, np.array([0]), one, one, one, ("QCD",))
make_observables(jets, ["soft_drop_mass", "tau21", "d2"])
"""
    written = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert (written.stdout, written.stderr) == ("", "")


def kept_file(folder: Path) -> Path:
    (path,) = folder.iterdir()
    return path


def test_what_is_kept_is_read_again(tmp_path: Path) -> None:
    jets = toy_jets(12)
    assert make_observables(jets, ["pt", "mass"], cache=tmp_path / "kept").shape == (12, 2)
    assert not (tmp_path / "kept").exists()
    first = make_observables(jets, OBSERVABLES, cache=tmp_path / "kept")
    assert np.array_equal(first, make_observables(jets, OBSERVABLES))
    path = kept_file(tmp_path / "kept")
    assert jets.fingerprint[:16] in path.name
    table = pq.read_table(path)
    pq.write_table(table.set_column(3, "d2", pa.array(np.arange(12, dtype="f4"))), path)
    again = make_observables(jets, ["d2", "tau21"], cache=tmp_path / "kept")
    assert np.array_equal(again[:, 0], np.arange(12))
    assert np.array_equal(again[:, 1], first[:, OBSERVABLES.index("tau21")])
    # other jets are kept elsewhere
    make_observables(toy_jets(12, seed=1), ["d2"], cache=tmp_path / "kept")
    assert len(list((tmp_path / "kept").iterdir())) == 2


def test_what_is_kept_of_another_definition_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jets = toy_jets(5)
    make_observables(jets, ["d2"], cache=tmp_path)
    monkeypatch.setattr(observables, "VERSION", observables.VERSION + 1)
    make_observables(jets, ["d2"], cache=tmp_path)
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("damage", ["text", "cut", "flipped", "short", "column", "type", "nan"])
def test_what_is_kept_and_stale_is_made_anew(tmp_path: Path, damage: str) -> None:
    jets = toy_jets(12)
    expected = make_observables(jets, FROM_FASTJET, cache=tmp_path)
    path = kept_file(tmp_path)
    whole, table = path.read_bytes(), pq.read_table(path)
    if damage == "text":
        path.write_text("observables")
    elif damage == "cut":
        path.write_bytes(whole[:-20])
    elif damage == "flipped":
        middle = 4 + 60
        path.write_bytes(whole[:middle] + bytes([whole[middle] ^ 0xFF]) + whole[middle + 1 :])
    elif damage == "short":
        pq.write_table(table.slice(0, 11), path)
    elif damage == "column":
        pq.write_table(table.drop_columns(["d2"]), path)
    elif damage == "type":
        pq.write_table(table.set_column(3, "d2", table["d2"].cast(pa.float64())), path)
    else:
        pq.write_table(table.set_column(3, "d2", pa.array(np.full(12, np.nan, "f4"))), path)
    assert np.array_equal(make_observables(jets, FROM_FASTJET, cache=tmp_path), expected)
    assert kept_file(tmp_path).read_bytes() == whole


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(JetexpError, match="cannot be written"):
        make_observables(toy_jets(2), ["d2"], cache=tmp_path / "file")
