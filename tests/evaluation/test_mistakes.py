import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.metrics import structural_similarity
from sklearn.metrics import confusion_matrix as sklearn_confusion_matrix

from jetexp.evaluation.mistakes import confusion_matrix, find_mistakes, similarity


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1))
def test_confusion_agrees_with_scikit_learn(pairs):
    label, predicted = np.array(pairs).T
    np.testing.assert_array_equal(
        confusion_matrix(label, predicted, 3), sklearn_confusion_matrix(label, predicted, labels=[0, 1, 2])
    )


def test_sums_are_those_of_a_loop_over_jets():
    rng = np.random.default_rng(11)
    images = rng.random((60, 12, 12)).astype(np.float32)
    label, predicted = np.arange(60) % 2, rng.integers(0, 2, 60)
    found = find_mistakes(images, label, predicted, 2, 1.0)
    for kind in found.kinds:
        expected = np.zeros((12, 12))
        for image, true, guess in zip(images, label, predicted, strict=True):
            if (true, guess) == (kind.true, kind.predicted):
                expected += image
        np.testing.assert_allclose(kind.sum_image, expected, atol=1e-4)
        for index, class_sum in enumerate(found.class_sums):
            score = structural_similarity(
                expected / expected.max(), class_sum / class_sum.max(), data_range=1.0
            )
            assert kind.ssim[index] == pytest.approx(score, abs=1e-4)
    assert [(kind.true, kind.predicted) for kind in found.kinds] == [(0, 1), (1, 0)]
    assert sum(kind.count for kind in found.kinds) == np.sum(label != predicted)
    np.testing.assert_allclose(found.class_sums[1], images[label == 1].sum(axis=0), atol=1e-4)
    np.testing.assert_allclose(found.examples[1], images[1], atol=1e-5)


def test_no_mistakes_have_no_similarity():
    label = np.arange(10) % 2
    found = find_mistakes(np.ones((10, 8, 8)), label, label, 2, 1.0)
    assert all(kind.count == 0 and kind.ssim == (None, None) for kind in found.kinds)


@pytest.mark.parametrize("side", [3, 4, 6, 7, 40])
def test_similarity_tells_an_image_from_another(side):
    rng = np.random.default_rng(side)
    image = rng.random((side, side))
    assert similarity(image, 3 * image) == pytest.approx(1)
    assert similarity(image, rng.random((side, side))) < 0.7
