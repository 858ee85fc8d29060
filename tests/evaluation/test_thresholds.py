import numpy as np
from binormal import probabilities
from hypothesis import given, settings
from hypothesis import strategies as st

from jetexp.evaluation.thresholds import score_histograms, threshold_scan


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 1000), st.integers(2, 4))
def test_histograms_agree_with_numpy(seed, classes):
    scores, label = probabilities(30, 1.0, seed, classes)
    scores = scores.astype(np.float64)
    scores[0] = np.eye(classes)[0]
    found = score_histograms(scores, label)
    for hypothesis in range(classes):
        for true in range(classes):
            expected, _ = np.histogram(scores[label == true, hypothesis], bins=50, range=(0, 1))
            # a score may lie on the edge of two bins, where rounding decides
            assert abs(found.counts[hypothesis, true] - expected).sum() <= 2
        # but that of one has but one bin to fall into
        assert found.counts[hypothesis, label[0], -1 if hypothesis == 0 else 0] >= 1
        assert found.all_jets[hypothesis].sum() == len(label)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 20), st.booleans()), min_size=2, max_size=50),
)
def test_scan_agrees_with_counting_jet_by_jet(pairs):
    values = np.array([value for value, _ in pairs]) / 20
    signal = np.array([kind for _, kind in pairs])
    scan = threshold_scan(values, signal)
    assert scan.thresholds[0] == 0.2
    assert scan.thresholds[-1] == 0.8
    assert 0.5 in scan.thresholds
    for index, threshold in enumerate(scan.thresholds):
        called = values >= threshold
        assert scan.missed_signal[index] == np.sum(signal & ~called)
        assert scan.accepted_background[index] == np.sum(~signal & called)
        assert np.isclose(scan.accuracy[index], np.mean(called == signal))
