"""A grammar of requests that no tagger can answer: well-formed bodies of the right Content-Type.

Each kind draws one request anew; where the request reaches the model, it says which rows are bad, and each
of them must be named in the answer.
"""

import io
import json
from dataclasses import dataclass

import numpy as np
import pandas as pd

JSON, PARQUET = "application/json", "application/vnd.apache.parquet"
PIXELS = 40


@dataclass(frozen=True)
class Malformed:
    """One request.

    ``sentences`` must all stand in the answer; they name the bad rows, where the body reaches the model.
    """

    body: bytes
    sentences: tuple[str, ...] = ()
    content_type: str = JSON


def dumped(sentences=(), **content):
    return Malformed(json.dumps(content).encode(), tuple(sentences))


def images_of(rng, number):
    return rng.exponential(20, (number, PIXELS, PIXELS)).round(2).tolist()


def jets_of(rng, number):
    """Constituents a jet, by column."""
    sizes = rng.integers(2, 30, number)
    return {
        "pt": [rng.exponential(20, size).round(2).tolist() for size in sizes],
        "eta": [rng.normal(0, 0.2, size).round(4).tolist() for size in sizes],
        "phi": [rng.uniform(-3, 3, size).round(4).tolist() for size in sizes],
    }


def some_of(rng, number):
    """Some rows, at least one, at most as many as an answer names."""
    return sorted(rng.choice(number, rng.integers(1, min(number, 15) + 1), replace=False).tolist())


def number_of(rng):
    return int(rng.integers(1, 25))


# raw images


def bad_pixels(problem, *values):
    """Images, some of which have one pixel that is wrong."""

    def make(rng):
        images, sentences = images_of(rng, number := number_of(rng)), []
        for image in some_of(rng, number):
            row, column = rng.integers(0, PIXELS, 2)
            images[image][row][column] = values[rng.integers(len(values))]
            sentences.append(f"Pixel ({row}, {column}) of image {image} {problem}.")
        return dumped(sentences, **{str(rng.choice(["instances", "inputs"])): images})

    return make


def empty_images(rng):
    images, bad = images_of(rng, number := number_of(rng)), []
    for image in (bad := some_of(rng, number)):
        images[image] = np.zeros((PIXELS, PIXELS)).tolist()
    return dumped([f"Image {image} has no energy" for image in bad], instances=images)


def other_shapes(rng):
    shapes = ([2, 39, 40], [1, 40, 41], [3, 1600], [40, 40], [2, 40, 40, 3], [1, 40, 40, 1, 1], [5])
    shape = shapes[rng.integers(len(shapes))]
    return dumped([f"not {tuple(shape)}"], inputs=np.ones(shape).tolist())


def no_images(rng):
    return dumped(["There is no image"], instances=[[], [[]], [[], []]][rng.integers(3)])


def other_pixels(rng):
    images = images_of(rng, 2)
    images[1][rng.integers(PIXELS)][rng.integers(PIXELS)] = ["12", "", "NaN", "x" * 50][rng.integers(4)]
    return dumped(["Pixels must be numbers"], instances=images)


def true_and_false(rng):
    return dumped(["Pixels must be numbers"], instances=(rng.random((1, PIXELS, PIXELS)) < 0.5).tolist())


def nothing_as_pixel(rng):
    images = images_of(rng, 1)
    images[0][rng.integers(PIXELS)][rng.integers(PIXELS)] = None
    return dumped(["Pixels must be numbers"], inputs=images)


def images_by_name(rng):
    name = str(rng.choice(["image", "pixels", "x"]))
    return dumped(["as an array"], inputs={name: images_of(rng, 1)})


def ragged_images(rng):
    images = images_of(rng, 3)
    del images[rng.integers(3)][rng.integers(PIXELS)][-1]
    return dumped(instances=images)


# constituents


def sent(rng, table, sentences):
    """Send a table in one of its forms."""
    columns = list(table)
    rows = [list(row) for row in zip(*table.values(), strict=True)]
    form = rng.integers(3)
    if form == 0:
        return dumped(sentences, dataframe_split={"columns": columns, "data": rows})
    if form == 1 and rows:
        return dumped(sentences, dataframe_records=[dict(zip(columns, row, strict=True)) for row in rows])
    return as_parquet(table, sentences)


def as_parquet(table, sentences):
    body = io.BytesIO()
    pd.DataFrame(table).to_parquet(body)
    return Malformed(body.getvalue(), tuple(sentences), PARQUET)


def bad_constituents(name, problem, *values):
    """Jets, some of which have one constituent that cannot be."""

    def make(rng):
        table, sentences = jets_of(rng, number := number_of(rng)), []
        for jet in some_of(rng, number):
            place = int(rng.integers(len(table[name][jet])))
            table[name][jet][place] = values[rng.integers(len(values))]
            sentences.append(f"{name} of constituent {place} of jet {jet} {problem}.")
        return sent(rng, table, sentences)

    return make


def bad_lists(*cells):
    """Jets, some of which have something else than a list of numbers; not as Parquet, which has types."""

    def make(rng):
        table, sentences = jets_of(rng, number := number_of(rng)), []
        for jet in some_of(rng, number):
            name = str(rng.choice(list(table)))
            table[name][jet] = cells[rng.integers(len(cells))]
            sentences.append(f"{name} of jet {jet} is no list of numbers")
        rows = [list(row) for row in zip(*table.values(), strict=True)]
        return dumped(sentences, dataframe_split={"columns": list(table), "data": rows})

    return make


def lists_that_differ(rng):
    table, bad = jets_of(rng, number := number_of(rng)), []
    for jet in (bad := some_of(rng, number)):
        del table[str(rng.choice(list(table)))][jet][0]
    return sent(rng, table, [f"Jet {jet} has " for jet in bad])


def jets_without_constituents(rng):
    table, bad = jets_of(rng, number := 1 + number_of(rng)), []
    for jet in (bad := some_of(rng, number)):
        for values in table.values():
            values[jet] = []
    return sent(rng, table, [f"Jet {jet} has no constituent" for jet in bad])


def jets_of_padding(rng):
    table, bad = jets_of(rng, number := number_of(rng)), []
    for jet in (bad := some_of(rng, number)):
        table["pt"][jet] = [0.0] * len(table["pt"][jet])
    return sent(rng, table, [f"Jet {jet} has no constituent with a pT above 0" for jet in bad])


def too_many_constituents(rng):
    table, size = jets_of(rng, 2), int(rng.integers(4097, 6000))
    jet = int(rng.integers(2))
    for values in table.values():
        values[jet] = [0.5] * size
    return sent(rng, table, [f"Jet {jet} has {size} constituents, more than 4096"])


def a_column_less(rng):
    table = jets_of(rng, number_of(rng))
    for name in rng.choice(list(table), rng.integers(1, 3), replace=False):
        del table[str(name)]
    return sent(rng, table, ["Jets are given by the columns pt, eta, phi"])


def a_column_more(rng):
    table = jets_of(rng, number := number_of(rng))
    table[str(rng.choice(["mass", "Pt", "charge", "0"]))] = rng.random(number).tolist()
    return sent(rng, table, ["Jets are given by the columns pt, eta, phi"])


def columns_twice(rng):
    table = jets_of(rng, 2)
    columns = ["pt", "eta", "phi", str(rng.choice(list(table)))]
    rows = [[table[name][jet] for name in columns] for jet in range(2)]
    return dumped(
        ["Jets are given by the columns pt, eta, phi"], dataframe_split={"columns": columns, "data": rows}
    )


def no_jets(rng):
    names = ["pt", "eta", "phi"]
    if rng.integers(2):
        return as_parquet({name: [] for name in names}, ["There is no jet"])
    return dumped(["There is no jet"], dataframe_split={"columns": names, "data": []})


def a_file_of_other_types(rng):
    table = jets_of(rng, number := number_of(rng))
    name = str(rng.choice(list(table)))
    table[name] = [["a"], [True], 1.5, "a", None][rng.integers(5)]
    table[name] = [table[name]] * number
    return as_parquet(table, [f"{name} of jet {jet} is no list of numbers" for jet in range(min(number, 20))])


# what MLflow's own parser must refuse


def no_object(rng):
    return Malformed(json.dumps([[1, 2], 3.5, "jets", None, True, []][rng.integers(6)]).encode())


def no_known_key(rng):
    keys = [{}, {"jets": [1]}, {"Instances": []}, {"dataframe": {}}, {"predictions": []}]
    return dumped(**keys[rng.integers(5)])


def two_known_keys(rng):
    images = images_of(rng, 1)
    return dumped(**{"instances": images, str(rng.choice(["inputs", "dataframe_split"])): images})


def rows_of_other_lengths(rng):
    rows = [[[1.0], [0.0], [0.0]], [[1.0]] * int(rng.choice([1, 2, 4, 5]))]
    return dumped(dataframe_split={"columns": ["pt", "eta", "phi"], "data": rows})


def a_table_of_another_form(rng):
    forms = [[], [1, 2], "pt", 3, None, {"data": 1}, {"columns": ["pt"], "data": 1}, {"rows": []}]
    return dumped(dataframe_split=forms[rng.integers(len(forms))])


def records_of_another_form(rng):
    forms = [{}, {"pt": [1]}, "pt", 3, None, [1, 2]]
    return dumped(dataframe_records=forms[rng.integers(len(forms))])


def instances_of_another_form(rng):
    forms = [{}, {"pt": [1.0]}, "image", 3, None, True, [None], ["a"], [{"pt": [1.0]}], [{"a": 1}, {"b": 2}]]
    return dumped(**{str(rng.choice(["instances", "inputs"])): forms[rng.integers(len(forms))]})


def a_prompt(rng):
    """MLflow hands these to the model as they are."""
    return dumped(
        **{str(rng.choice(["messages", "input", "prompt"])): [{"role": "user", "content": "W or top?"}]}
    )


# parameters


def with_parameters(rng, parameters, sentences):
    table = jets_of(rng, number_of(rng))
    rows = [list(row) for row in zip(*table.values(), strict=True)]
    return dumped(sentences, dataframe_split={"columns": list(table), "data": rows}, params=parameters)


def efficiencies_out_of_range(rng):
    value = [0.0, 1.0, -0.5, 50.0, 1e300, 0.001][rng.integers(6)]
    return with_parameters(rng, {"signal_efficiency": value}, ["from 0.01 to 0.99 would be right"])


def parameters_of_another_type(rng):
    value = ["a half", [0.5], {"at": 0.5}, True, 10**400][rng.integers(5)]
    return with_parameters(rng, {"signal_efficiency": value}, ["signal_efficiency"])


def parameters_of_another_form(rng):
    return with_parameters(rng, [[0.5], "signal_efficiency"][rng.integers(2)], ["must be a dictionary"])


KINDS = {
    "pixel that is no finite number": bad_pixels("is not a finite number", float("nan"), float("inf")),
    "negative pixel": bad_pixels("is negative", -0.01, -5, -1e30),
    "absurd pixel": bad_pixels("is above 13000 GeV", 13001, 1e6, 1e300),
    "no finite pT": bad_constituents("pt", "is not a finite number", float("nan"), float("inf")),
    "negative pT": bad_constituents("pt", "is negative", -0.01, -1e9),
    "absurd pT": bad_constituents("pt", "is above 13000 GeV", 13001.0, 1e300),
    "absurd eta": bad_constituents("eta", "is not a number within 10 of 0", 11.0, -1e9, float("nan")),
    "phi in degrees": bad_constituents(
        "phi", "is not a number of radians within 2 pi of 0", 178.0, -90.0, float("inf")
    ),
    "no lists": bad_lists(1.0, "1.0", None, {"0": 1.0}, True),
    "lists of something else": bad_lists(["1.0"], [True, False], [None], [1.0, "a"]),
    "lists of lists": bad_lists([[1.0]], [[1.0], [2.0, 3.0]], [1.0, [2.0]]),
    **{
        made.__name__.replace("_", " "): made
        for made in (
            empty_images,
            other_shapes,
            no_images,
            other_pixels,
            true_and_false,
            nothing_as_pixel,
            images_by_name,
            ragged_images,
            lists_that_differ,
            jets_without_constituents,
            jets_of_padding,
            too_many_constituents,
            a_column_less,
            a_column_more,
            columns_twice,
            no_jets,
            a_file_of_other_types,
            no_object,
            no_known_key,
            two_known_keys,
            rows_of_other_lengths,
            a_table_of_another_form,
            records_of_another_form,
            instances_of_another_form,
            a_prompt,
            efficiencies_out_of_range,
            parameters_of_another_type,
            parameters_of_another_form,
        )
    },
}

# MLflow answers these with 500 before the model sees them; docs/serving.md lists them
SERVER_ERRORS = {
    "brackets nested too deep": b'{"instances":' + b"[" * 3000 + b"]" * 3000 + b"}",
    "an integer of more than 4300 digits": b'{"instances": [[[' + b"9" * 5000 + b"]]]}",
    "column names that are lists or objects": json.dumps(
        {"dataframe_split": {"columns": [{}, [], "pt"], "data": [[[1.0], [0.0], [0.0]]]}}
    ).encode(),
}
