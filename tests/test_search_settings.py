"""The space that a search goes through."""

import pytest

from jetexp.search_settings import Choices, Range


@pytest.mark.parametrize(
    ("space", "values"),
    [
        (Range(min=0.0, max=1.0), {0.0: "lower", 0.1: "lower", 0.2: None, 0.89: None, 0.91: "upper"}),
        (Range(min=1e-3, max=1e-1, scale="log"), {1.5e-3: "lower", 2e-3: None, 5e-2: None, 7e-2: "upper"}),
        (Range(min=1, max=3), {1: "lower", 2: None, 3: "upper"}),
        (Choices(choices=(4, 2, 3)), {2: "lower", 3: None, 4: "upper"}),
        # two choices have no middle, and names no order
        (Choices(choices=(2, 3)), {2: None, 3: None}),
        (Choices(choices=("a", "b", "c")), {"a": None, "c": None}),
    ],
)
def test_the_edge_of_a_space(space, values):
    assert {value: space.edge(value) for value in values} == values
