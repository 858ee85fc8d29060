"""Do errors mean what they say? How often 68 % intervals hold the truth, on 200 test samples.

The truth must be known better than any one sample knows it, and the samples must be independent. A pool
of real scores offers neither: 200 samples of 10 000 jets a class out of 30 000 share most of their jets,
their spread is too small, and the pool's own rejection is itself uncertain. So samples are drawn from a
smooth density that is known for certain: the binormal model, whose numbers are formulas, or for
``--scores FILE.npz`` a kernel density of the real discriminant's log-odds, class by class, whose numbers are
computed from five million draws a class. That density is not what the jets were drawn from, but
one as skewed, and with as heavy a tail of background under the signal: what intervals stumble over.

    python benchmarks/coverage.py
    python benchmarks/coverage.py --scores FILE.npz     # arrays: label, and discriminant from 0 to 1
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from functools import partial

import numpy as np
import numpy.typing as npt
from scipy.special import logit, ndtr, ndtri

from jetexp.evaluation.rejection import working_points
from jetexp.evaluation.roc import roc_curve
from jetexp.evaluation.uncertainty import delong

Float = npt.NDArray[np.float64]
Sampler = Callable[[int, np.random.Generator], tuple[Float, Float]]

SAMPLES, JETS = 200, 10_000
TRUTH_JETS = 5_000_000
EFFICIENCIES = (0.5, 0.8)
# 68.3 % of 200, 2.3 standard deviations of 3.3 % either way
LOW, HIGH = 0.60, 0.76
SEPARATION = 1.7


def binormal(separation: float, jets: int, rng: np.random.Generator) -> tuple[Float, Float]:
    """Draw signal and background."""
    return rng.normal(separation, 1, jets), rng.normal(0, 1, jets)


def binormal_truth(separation: float) -> dict[str, float]:
    rejections = {
        f"rejection at {efficiency:.0%}": 1 / float(ndtr(ndtri(efficiency) - separation))
        for efficiency in EFFICIENCIES
    }
    return {"AUC": float(ndtr(separation / np.sqrt(2))), **rejections}


def smooth(signal: Float, background: Float, jets: int, rng: np.random.Generator) -> tuple[Float, Float]:
    """Draw jets of the two, each moved by a kernel of Silverman's width."""
    drawn = []
    for pool in (signal, background):
        low, high = np.quantile(pool, [0.25, 0.75])
        width = 0.9 * min(pool.std(), (high - low) / 1.34) * len(pool) ** -0.2
        drawn.append(rng.choice(pool, jets) + width * rng.normal(size=jets))
    return drawn[0], drawn[1]


def drawn_truth(sampler: Sampler, rng: np.random.Generator) -> dict[str, float]:
    """Compute from very many draws, whose errors are a twentieth of one sample's."""
    signal, background = map(np.sort, sampler(TRUTH_JETS, rng))
    found = {"AUC": float(np.searchsorted(background, signal).mean() / TRUTH_JETS)}
    for efficiency in EFFICIENCIES:
        threshold = signal[round((1 - efficiency) * TRUTH_JETS)]
        passing = TRUTH_JETS - int(np.searchsorted(background, threshold))
        found[f"rejection at {efficiency:.0%}"] = TRUTH_JETS / passing
    return found


def measure(signal: Float, background: Float, rng: np.random.Generator) -> dict[str, tuple[float, float]]:
    """Return each number with its error, as an evaluation has them."""
    values = np.concatenate([signal, background])
    is_signal = np.arange(len(values)) < len(signal)
    auc, covariance = delong([values], is_signal)
    found = {"AUC": (float(auc[0]), float(np.sqrt(covariance[0, 0])))}
    for point in working_points(roc_curve(values, is_signal), EFFICIENCIES, rng=rng):
        # a lower limit has no error, and covers no value
        found[f"rejection at {point.signal_efficiency:.0%}"] = (point.rejection, point.error or 0.0)
    return found


def coverage(
    sampler: Sampler, truth: dict[str, float], samples: int, jets: int, rng: np.random.Generator
) -> dict[str, tuple[float, float, float]]:
    """Return by number: the fraction covered, the mean error, and the true spread over samples."""
    measured = [measure(*sampler(jets, rng), rng) for _ in range(samples)]
    table = {}
    for name, true in truth.items():
        values, errors = np.transpose([one[name] for one in measured])
        table[name] = (
            float(np.mean(np.abs(values - true) < errors)),
            float(errors.mean()),
            float(values.std(ddof=1)),
        )
    return table


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--scores", help="a file of real scores: arrays label and discriminant")
    parser.add_argument("--signal", type=int, default=1, help="the label that is signal (default 1)")
    chosen = parser.parse_args()
    started, rng = time.perf_counter(), np.random.default_rng(0)
    if chosen.scores:
        with np.load(chosen.scores, allow_pickle=False) as content:
            odds = logit(np.clip(content["discriminant"].astype(np.float64), 1e-7, 1 - 1e-7))
            is_signal = content["label"] == chosen.signal
        sampler: Sampler = partial(smooth, odds[is_signal], odds[~is_signal])
        truth = drawn_truth(sampler, rng)
    else:
        sampler, truth = partial(binormal, SEPARATION), binormal_truth(SEPARATION)
    table = coverage(sampler, truth, SAMPLES, JETS, rng)
    print(f"{SAMPLES} samples of {JETS} jets a class, from {chosen.scores or 'the binormal model'}")
    print(f"{'number':20} {'truth':>9} {'mean error':>11} {'true spread':>12} {'covered':>8}")
    for name, (covered, error, spread) in table.items():
        print(f"{name:20} {truth[name]:9.4f} {error:11.4f} {spread:12.4f} {covered:8.1%}")
    print(f"{time.perf_counter() - started:.0f} s")
    wrong = [name for name, (covered, *_) in table.items() if not LOW <= covered <= HIGH]
    if wrong:
        sys.exit(f"outside {LOW:.0%} to {HIGH:.0%}: {', '.join(wrong)}")


if __name__ == "__main__":
    main()
