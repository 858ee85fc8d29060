"""Requests that no tagger can answer, and what it says instead."""

import numpy as np
import pandas as pd


def refused_images():
    """Images, and what is said of them."""
    image = np.full((2, 40, 40), 1.0)
    nan, negative, infinite, absurd, empty = (image.copy() for _ in range(5))
    nan[1, 2, 3] = np.nan
    negative[0, 0, 0] = -0.1
    infinite[1, 0, 0] = np.inf
    absurd[0, 5, 5] = 1e6
    empty[1] = 0
    return {
        "another shape": (image[:, :30], "shape (N, 40, 40) or (N, 40, 40, 1), not (2, 30, 40)"),
        "one image alone": (image[0], "not (40, 40)"),
        "two channels": (np.ones((1, 40, 40, 2)), "not (1, 40, 40, 2)"),
        "ragged": ([[[1.0, 2.0], [1.0]]], "differ among themselves"),
        "no image": ([], "There is no image"),
        "text": ([[["a"] * 40] * 40], "must be numbers"),
        "a table": ({"a": 1}, "as an array"),
        "NaN": (nan, "Pixel (2, 3) of image 1 is not a finite number"),
        "infinity": (infinite, "Pixel (0, 0) of image 1 is not a finite number"),
        "next to nothing": (image * 1e-60, "Image 1 has no energy"),
        "negative": (negative, "Pixel (0, 0) of image 0 is negative"),
        "absurd": (absurd, "Pixel (5, 5) of image 0 is above 13000 GeV"),
        "empty": (empty, "Image 1 has no energy"),
    }


def refused_tables():
    """Tables of constituents, and what is said of them."""

    def table(**changes):
        rows = {"pt": [[500.0, 300.0], [400.0]], "eta": [[0.1, 0.2], [1.0]], "phi": [[3.1, -3.1], [0.0]]}
        return pd.DataFrame(rows | changes)

    many = [1.0] * 5000
    return {
        "a column less": (
            table().drop(columns="phi"),
            "columns pt, eta, phi, each a list of numbers a jet; not by pt, eta",
        ),
        "a column more": (table(mass=[1.0, 2.0]), "not by pt, eta, phi, mass"),
        "no jet": (table().iloc[:0], "There is no jet"),
        "numbers": (table(pt=[500.0, 400.0]), "pt of jet 0 is no list of numbers"),
        "texts": (table(eta=[[0.1, 0.2], ["1.0"]]), "eta of jet 1 is no list of numbers"),
        "nothing": (table(eta=[[0.1, None], [1.0]]), "eta of jet 0 is no list of numbers"),
        "true and false": (table(pt=[[True, False], [400.0]]), "pt of jet 0 is no list of numbers"),
        "lists of lists": (table(phi=[[3.1, -3.1], [[0.0]]]), "phi of jet 1 is no list of numbers"),
        "lists that differ": (table(eta=[[0.1], [1.0]]), "Jet 0 has 2 pt, 1 eta, 2 phi"),
        "a jet without constituents": (
            table(pt=[[], [1.0]], eta=[[], [1.0]], phi=[[], [1.0]]),
            "Jet 0 has no constituent",
        ),
        "a jet of padding": (table(pt=[[0.0, 0.0], [1.0]]), "Jet 0 has no constituent with a pT above 0"),
        "next to no pT": (
            table(pt=[[500.0, 300.0], [1e-60]]),
            "Jet 1 has no constituent with a pT above 0",
        ),
        "negative pT": (table(pt=[[500.0, -1.0], [400.0]]), "pt of constituent 1 of jet 0 is negative"),
        "absurd pT": (table(pt=[[500.0, 300.0], [1e7]]), "pt of constituent 0 of jet 1 is above 13000 GeV"),
        "absurd eta": (
            table(eta=[[0.1, 0.2], [99.0]]),
            "eta of constituent 0 of jet 1 is not a number within 10",
        ),
        "degrees": (
            table(phi=[[178.0, -178.0], [0.0]]),
            "phi of constituent 0 of jet 0 is not a number of radians",
        ),
        "too many constituents": (
            table(pt=[many, [400.0]], eta=[many, [1.0]], phi=[many, [0.0]]),
            "Jet 0 has 5000 constituents, more than 4096",
        ),
        "two bad jets": (
            table(pt=[[500.0, -1.0], [-2.0]]),
            "of jet 0 is negative. pt of constituent 0 of jet 1 is",
        ),
    }
