from dataclasses import dataclass

import numpy as np
import pytest

from jetexp.errors import JetexpError
from jetexp.evaluation.record import Float, Integer, Record
from jetexp.evaluation.report import RejectionCurve


@dataclass(frozen=True, eq=False)
class Inner(Record):
    value: float | None


@dataclass(frozen=True, eq=False)
class Outer(Record):
    name: str
    count: int
    flag: bool
    values: Float
    counts: Integer
    pair: tuple[float, float]
    inner: tuple[Inner, ...]
    named: dict[str, Inner]


OUTER = Outer(
    "a",
    1,
    True,
    np.array([0.5, 1.0]),
    np.array([[1, 2]]),
    (1.0, 2.0),
    (Inner(None), Inner(2.0)),
    {"x": Inner(1.0)},
)


def test_everything_comes_back_as_it_was():
    again = Outer.from_dict(OUTER.to_dict())
    assert again.to_dict() == OUTER.to_dict()
    assert again.inner[1].value == 2
    assert again.named["x"].value == 1
    assert again.counts.dtype == np.int64
    assert again.counts.shape == (1, 2)


@dataclass(frozen=True, eq=False)
class Grown(Inner):
    later: tuple[Inner, ...] = ()


def test_what_is_older_than_a_field_gets_its_default():
    assert Grown.from_dict({"value": 1.0}).later == ()
    with pytest.raises(JetexpError, match="value"):
        Grown.from_dict({"later": []})


@pytest.mark.parametrize("field", ["values", "pair"])
def test_nothing_infinite_is_written(field):
    broken = Outer(**{**OUTER.__dict__, field: np.array([np.inf, 0]) if field == "values" else (np.nan, 0.0)})
    with pytest.raises(ValueError, match=field):
        broken.to_dict()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", 3),
        ("count", 1.5),
        ("count", True),
        ("flag", 1),
        ("values", [[1.0], [1.0, 2.0]]),
        ("values", ["a"]),
        ("values", [float("nan")]),
        ("values", [None]),
        ("counts", [0.5]),
        ("pair", [1.0]),
        ("pair", "ab"),
        ("pair", [1.0, 10**400]),
        ("inner", [3]),
        ("inner", [{"value": float("inf")}]),
        ("inner", [{"other": 1.0}]),
        ("named", []),
    ],
)
def test_unusable_content_is_refused_by_name(field, value):
    with pytest.raises(JetexpError, match=rf"Outer\.{field}"):
        Outer.from_dict({**OUTER.to_dict(), field: value})


@pytest.mark.parametrize("content", [None, [], {}, {"name": "a"}])
def test_content_of_another_form_is_refused(content):
    with pytest.raises(JetexpError, match="Outer"):
        Outer.from_dict(content)


def test_a_curve_of_unequal_arrays_is_refused():
    curve = RejectionCurve(*np.ones((4, 3)))
    with pytest.raises(JetexpError, match="not of one length"):
        RejectionCurve.from_dict({**curve.to_dict(), "low": [1.0]})
    with pytest.raises(ValueError, match="not of one length"):
        RejectionCurve(*np.ones((4, 3, 2)))
