"""What an execution measured: one result a tagger (and variant), and how the taggers compare."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from jetexp.evaluation.power_law import PowerLaw, fit_power_law
from jetexp.evaluation.report import CurveWithBand, Summary, discriminant
from jetexp.evaluation.seeds import SeedComparison, compare_over_seeds
from jetexp.evaluation.separation import recorded
from jetexp.fits import FinalFit
from jetexp.jets.sample import Jets
from jetexp.plots import gallery

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["TaggerResult", "compared", "figures_of_results", "power_laws"]


@dataclass(frozen=True, eq=False)
class TaggerResult:
    """What one tagger reached.

    Attributes
    ----------
    tagger : str
        Its name.
    variant : str
        The variant of the experiment; empty where there are none.
    fits : tuple of FinalFit
        One a seed.
    validation, test : Summary
        Over seeds.
    training_jets : int
        Number of jets it was trained on.
    fingerprint : str
        Of the test jets.
    """

    tagger: str
    variant: str
    fits: tuple[FinalFit, ...]
    validation: Summary
    test: Summary
    training_jets: int
    fingerprint: str

    @property
    def name(self) -> str:
        """Variant and tagger, as far as there are variants."""
        return f"{self.variant}: {self.tagger}" if self.variant else self.tagger

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers as JSON-serialisable content; those of pairs only of more than two classes."""
        pairs = {name: one.to_dict() for name, one in recorded(self.test.separations).items()}
        return {
            "tagger": self.tagger,
            "variant": self.variant,
            "training_jets": self.training_jets,
            "test_jets": dict(zip(self.test.classes, self.test.counts, strict=True)),
            "test_sample": self.fingerprint,
            "runs": [one.run_id for one in self.fits],
            "test": {name: one.to_dict() for name, one in self.test.measurements.items()},
            "validation": {name: one.to_dict() for name, one in self.validation.measurements.items()},
            **({"pairs": pairs} if pairs else {}),
        }


def compared(
    first: TaggerResult,
    second: TaggerResult,
    test: Jets,
    *,
    signal: str,
    seed: int = 0,
    one_training: bool = False,
) -> SeedComparison:
    """Compare two taggers on the jets that both were tested on.

    Parameters
    ----------
    first, second : TaggerResult
        The taggers; above zero means that the first is better.
    test : Jets
        The test jets.
    signal : str
        The class that is signal.
    seed : int
        Of the bootstrap.
    one_training : bool
        Whether the second is made of the fits of the first, as its ensemble is.

    Returns
    -------
    SeedComparison
        Of AUC and of rejection at 50 %.
    """
    scores = (
        np.stack([discriminant(one.scores, test.classes, signal) for one in result.fits])
        for result in (first, second)
    )
    return compare_over_seeds(
        test.label,
        *scores,
        signal_index=test.classes.index(signal),
        seed=seed,
        one_training=one_training,
    )


def power_laws(results: Sequence[TaggerResult]) -> dict[str, PowerLaw]:
    """Fit each tagger's rejection at 50 % against its number of training jets.

    Parameters
    ----------
    results : sequence of TaggerResult
        Of several variants.

    Returns
    -------
    dict of str to PowerLaw
        By tagger; none for one whose numbers of jets span less than a factor of two, or that has a limit.
    """
    laws = {}
    for tagger in dict.fromkeys(one.tagger for one in results):
        of_tagger = [one for one in results if one.tagger == tagger]
        points = [one.test.measurements["rejection_50"] for one in of_tagger]
        jets = [one.training_jets for one in of_tagger]
        # variants of other jets differ by a few in number, which says nothing of a law
        if max(jets) < 2 * min(jets) or any(point.is_limit or not point.error for point in points):
            continue
        # one seed's own spread is not known: that of the others stands in for it
        relative = [point.spread / point.mean for point in points if point.spread is not None]
        typical = float(np.mean(relative)) if relative else 0.0
        spread = [typical * p.mean if p.spread is None else p.spread for p in points]
        laws[tagger] = fit_power_law(
            jets,
            [point.mean for point in points],
            [point.error or 0.0 for point in points],
            [one / np.sqrt(len(point.values)) for one, point in zip(spread, points, strict=True)],
        )
    return laws


def _curve(result: TaggerResult) -> CurveWithBand:
    """Give a tagger's rejection curve; one fit has no spread over seeds to show, but a statistical error."""
    return result.fits[0].test.rejection if len(result.fits) == 1 else result.test.curve


def figures_of_results(results: Sequence[TaggerResult]) -> dict[str, Figure]:
    """Draw the taggers and variants beside each other.

    Parameters
    ----------
    results : sequence of TaggerResult
        At least one.

    Returns
    -------
    dict of str to Figure
        Nothing where there is one tagger alone; rejection against the number of training jets where
        that is what varies.
    """
    if len(results) < 2:
        return {}
    # of one tagger alone, the variants' names say all
    alone = len({one.tagger for one in results}) == 1
    rows = {one.variant if alone else one.name: one.test.measurements["rejection_50"] for one in results}
    figures = {"results": gallery.figure_of_variants(rows)}
    if not results[0].variant:
        figures["taggers"] = gallery.rejection_comparison({one.name: _curve(one) for one in results})
    laws = power_laws(results)
    if laws:
        until = 10 * max(one.training_jets for one in results)
        figures["rejection_against_jets"] = gallery.power_laws(laws, until=until)
    return figures
