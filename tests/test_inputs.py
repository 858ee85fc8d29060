"""What taggers take, as asked for by name."""

import numpy as np
import pytest
from pydantic import ValidationError
from toys import build_jets, toy_jets

from jetexp.constituents import ConstituentSettings, make_constituents
from jetexp.errors import JetexpError
from jetexp.images import ImageSettings, make_images
from jetexp.inputs import InputSettings, LazyArray, make_inputs, number_of_jets, some_inputs
from jetexp.jets.observables import make_observables

IMAGES, LISTS = ImageSettings(pixels=8), ConstituentSettings(constituents=6)


@pytest.mark.parametrize("images", [None, IMAGES])
@pytest.mark.parametrize("observables", [(), ("mass", "multiplicity")])
@pytest.mark.parametrize("constituents", [None, LISTS])
def test_all_that_is_asked_for_is_made_and_no_more(images, observables, constituents):
    if images is None and not observables and constituents is None:
        with pytest.raises(ValidationError, match="at least one input"):
            InputSettings()
        return
    jets = toy_jets(9)
    inputs = make_inputs(
        jets, InputSettings(images=images, observables=observables, constituents=constituents)
    )
    expected = {}
    if images:
        expected["image"] = make_images(jets, IMAGES)
    if observables:
        expected["observables"] = make_observables(jets, observables)
    if constituents:
        expected["constituents"] = make_constituents(jets, LISTS)
    assert list(inputs) == list(expected)
    assert number_of_jets(inputs) == 9
    for name, values in inputs.items():
        assert values.dtype == np.float32
        np.testing.assert_array_equal(values, expected[name])


def test_the_cache_holds_what_takes_long(tmp_path):
    jets, settings = toy_jets(9), InputSettings(observables=("soft_drop_mass", "mass"))
    first = make_inputs(jets, settings, cache=tmp_path)["observables"]
    assert len(list(tmp_path.iterdir())) == 1
    np.testing.assert_array_equal(make_inputs(jets, settings, cache=tmp_path)["observables"], first)
    np.testing.assert_array_equal(make_inputs(jets, settings)["observables"], first)


@pytest.mark.parametrize(
    ("channels", "needed"),
    [(("pt",), False), (("pt", "count"), False), (("charged",), True), (("pt", "neutral"), True)],
)
def test_charges_are_needed_by_some_channels_alone(channels, needed):
    settings = InputSettings(images=ImageSettings(channels=channels))
    assert settings.need_charge is needed
    if needed:
        with pytest.raises(JetexpError, match="charges"):
            make_inputs(toy_jets(3), settings)
    else:
        assert make_inputs(toy_jets(3), settings)["image"].shape[-1] == len(channels)
    assert not InputSettings(observables=("mass",), constituents=LISTS).need_charge


def test_no_jets_give_inputs_of_no_length():
    settings = InputSettings(images=IMAGES, observables=("mass", "tau21"), constituents=LISTS)
    inputs = make_inputs(build_jets([0], [], [], []), settings)
    assert {name: values.shape for name, values in inputs.items()} == {
        "image": (0, 8, 8, 1),
        "observables": (0, 2),
        "constituents": (0, 6, 3),
    }
    assert number_of_jets(inputs) == 0


@pytest.mark.parametrize("which", [slice(None), slice(3, 9), slice(7, 700), slice(None, None, 4), [5, 0, 5]])
def test_what_does_not_fit_into_the_memory_is_made_when_it_is_looked_at(which):
    jets = toy_jets(23)
    settings = InputSettings(images=IMAGES, observables=("mass",), constituents=LISTS)
    whole = make_inputs(jets, settings)
    assert not any(isinstance(values, LazyArray) for values in whole.values())
    lazy = make_inputs(jets, settings, memory=23 * 4 * (64 + 18) - 1)
    assert list(lazy) == list(whole)
    assert isinstance(lazy["image"], LazyArray)
    assert isinstance(lazy["constituents"], LazyArray)
    assert lazy["image"].shape == whole["image"].shape
    for name, values in some_inputs(lazy, which).items():
        np.testing.assert_array_equal(values, whole[name][which])
    fits = make_inputs(jets, settings, memory=23 * 4 * (64 + 18))
    assert not any(isinstance(values, LazyArray) for values in fits.values())
