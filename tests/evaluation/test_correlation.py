import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jetexp.evaluation import correlation
from jetexp.evaluation.correlation import correlation_image


@given(st.integers(0, 1000), st.integers(2, 40), st.integers(1, 60))
def test_it_is_pearsons_coefficient_in_whatever_chunks(seed, jets, at_once):
    rng = np.random.default_rng(seed)
    images = rng.exponential(size=(jets, 3, 4)).astype(np.float32)
    values = rng.normal(size=jets) + images[:, 1, 2]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(correlation, "PIXELS_AT_ONCE", at_once)
        found = correlation_image(images, values)
    expected = [np.corrcoef(pixel, values)[0, 1] for pixel in images.reshape(jets, -1).T]
    np.testing.assert_allclose(found, np.reshape(expected, (3, 4)), atol=1e-6)


def test_constant_pixels_and_discriminants_give_zero():
    rng = np.random.default_rng(0)
    images = rng.exponential(size=(50, 4, 4)).astype(np.float32)
    images[:, 0, 0] = 0
    images[:, 1, 1] = 0.1
    found = correlation_image(images, rng.normal(size=50))
    assert found[0, 0] == found[1, 1] == 0
    assert np.count_nonzero(found) == 14
    assert not correlation_image(images, np.full(50, 0.3)).any()


def test_images_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="do not fit"):
        correlation_image(np.zeros((3, 4, 4)), [1, 2])
    with pytest.raises(ValueError, match="do not fit"):
        correlation_image(np.zeros((3, 4, 4, 1)), [1, 2, 3])
