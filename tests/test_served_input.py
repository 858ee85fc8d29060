"""What clients send: brought to one form, or refused."""

import numpy as np
import pandas as pd
import pytest
from refused import refused_images, refused_tables

from jetexp.served_input import RefusedJetsError, check_images, jets_from_table


@pytest.mark.parametrize("kind", refused_images())
def test_images_that_cannot_be_judged_are_refused_in_one_sentence(kind):
    given, sentence = refused_images()[kind]
    with pytest.raises(RefusedJetsError) as caught:
        check_images(given)
    assert sentence in str(caught.value)


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "int64", "uint8"])
@pytest.mark.parametrize("shape", [(3, 40, 40), (3, 40, 40, 1)])
def test_images_of_any_number_type_come_to_one_form(dtype, shape):
    given = np.arange(4800).reshape(shape) % 200
    taken = check_images(given.astype(dtype))
    assert taken.dtype == np.float32
    assert np.array_equal(taken, given.reshape(3, 40, 40))


def test_every_bad_image_is_named_up_to_a_number():
    images = np.ones((60, 40, 40))
    images[10:50, 1, 2] = -1
    images[12] = 0
    with pytest.raises(RefusedJetsError) as caught:
        check_images(images)
    text = str(caught.value)
    assert text.startswith(
        "Pixel (1, 2) of image 10 is negative. Pixel (1, 2) of image 11 is negative. Image 12 has"
    )
    assert text.endswith("So are 20 more.")


@pytest.mark.parametrize("kind", refused_tables())
def test_constituents_that_cannot_be_judged_are_refused(kind):
    given, sentence = refused_tables()[kind]
    with pytest.raises(RefusedJetsError) as caught:
        jets_from_table(given)
    assert sentence in str(caught.value)


@pytest.mark.parametrize("name", ["pt", "eta", "phi"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_refused(name, value):
    row = {"pt": [[1.0, 2.0]], "eta": [[0.1, 0.2]], "phi": [[0.0, 0.1]]}
    row[name][0][1] = value
    with pytest.raises(RefusedJetsError, match=f"{name} of constituent 1 of jet 0 is"):
        jets_from_table(pd.DataFrame(row))


def test_constituents_come_to_jets_about_their_own_axis():
    table = pd.DataFrame(
        {
            "phi": [np.array([3.1, -3.1, 0.0]), [0.5]],
            "pt": [(100, 100, 0), [50.0]],
            "eta": [[1.0, 1.2, 0.0], [-2.0]],
        }
    )
    jets = jets_from_table(table)
    assert jets.counts.tolist() == [2, 1]
    np.testing.assert_allclose(jets.constituent_phi, [-0.0416, 0.0416, 0.0], atol=1e-4)
    np.testing.assert_allclose(jets.constituent_eta, [-0.1, 0.1, 0.0], atol=5e-3)
    assert jets.constituent_pt.tolist() == [100, 100, 50]
