import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jetexp.evaluation.power_law import PowerLaw, fit_power_law

JETS = np.array([1500.0, 5000.0, 15_000.0, 50_000.0, 150_000.0])


@given(st.floats(0.5, 30), st.floats(-0.3, 0.6), st.lists(st.floats(0.01, 0.3), min_size=5, max_size=5))
def test_points_on_a_power_law_give_it_back(factor, exponent, relative):
    rejection = factor * JETS**exponent
    law = fit_power_law(JETS, rejection, rejection * relative)
    assert law.exponent == pytest.approx(exponent, abs=1e-9)
    assert np.exp(law.log_factor) == pytest.approx(factor)
    assert law.chi2 == pytest.approx(0, abs=1e-9)
    assert law.chi2_p_value == pytest.approx(1)
    assert law.at(1e6).rejection == pytest.approx(factor * 1e6**exponent)


def test_fit_agrees_with_numpys_polynomial_and_its_covariance():
    rng = np.random.default_rng(0)
    rejection = 4 * JETS**0.22 * np.exp(0.1 * rng.normal(size=5))
    statistical, training = 0.05 * rejection, rejection * [0.12, 0.09, 0.05, 0.03, 0.02]
    law = fit_power_law(JETS, rejection, statistical, training)
    relative = np.hypot(statistical, training) / rejection
    (slope, height), covariance = np.polyfit(
        np.log(JETS), np.log(rejection), 1, w=1 / relative, cov="unscaled"
    )
    assert (law.exponent, law.log_factor) == pytest.approx((slope, height))
    np.testing.assert_allclose(law.covariance, covariance[::-1, ::-1], rtol=1e-6)
    residual = (np.log(rejection) - height - slope * np.log(JETS)) / relative
    assert law.chi2 == pytest.approx(np.square(residual).sum())
    assert law.ndf == 3


def test_errors_are_those_of_repeated_measurements():
    rng = np.random.default_rng(1)
    truth, relative = 4 * JETS**0.22, np.array([0.1, 0.08, 0.05, 0.05, 0.04])
    laws = [
        fit_power_law(JETS, drawn, drawn * relative)
        for drawn in truth * np.exp(relative * rng.normal(size=(500, 5)))
    ]
    assert np.std([law.exponent for law in laws]) == pytest.approx(laws[0].exponent_error, rel=0.12)
    ahead = [law.at(1e6) for law in laws]
    assert np.std([np.log(one.rejection[0]) for one in ahead]) == pytest.approx(
        ahead[0].error[0] / ahead[0].rejection[0], rel=0.12
    )
    # further out is less certain, and the interval is in the logarithm
    near, far = laws[0].at([15_000, 1e7]).error / laws[0].at([15_000, 1e7]).rejection
    assert far > 3 * near
    assert ahead[0].low[0] * ahead[0].high[0] == pytest.approx(ahead[0].rejection[0] ** 2)
    assert np.mean([law.chi2 for law in laws]) == pytest.approx(3, abs=0.4)


def test_two_points_have_no_chi2_and_come_back_from_json():
    law = fit_power_law([1000, 4000], [10, 20], [1, 2])
    again = PowerLaw.from_dict(json.loads(json.dumps(law.to_dict())))
    assert (again.chi2, again.ndf, again.chi2_p_value) == (None, 0, None)
    assert again.at([1000, 4000]).rejection == pytest.approx([10, 20])
    # through each point, with the point's own error
    assert again.at([1000, 4000]).error == pytest.approx([1, 2])


def test_points_that_give_no_power_law_are_refused():
    for jets in ([1000.0], [1000.0, 1000.0]):
        with pytest.raises(ValueError, match="two numbers of jets or more, not 1"):
            fit_power_law(jets, [10.0] * len(jets), [1.0] * len(jets))
    with pytest.raises(ValueError, match="not 0"):
        fit_power_law([], [], [])
    with pytest.raises(ValueError, match="differ in shape"):
        fit_power_law([1000, 2000], [10, 20, 30], [1, 1])
    for wrong in ([0.0, 1.0], [np.nan, 1.0]):
        with pytest.raises(ValueError, match="above zero"):
            fit_power_law([1000, 2000], [10, 20], wrong)
    with pytest.raises(ValueError, match="above zero"):
        fit_power_law([1000, 2000], [10, 20], [1, 1]).at(0)
