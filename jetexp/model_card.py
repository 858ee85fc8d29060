"""What a registered model is, what it was measured to do, and what it is not for: its model card.

The sections follow Mitchell et al., Model Cards for Model Reporting (FAT* 2019, 220).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from jetexp.evaluation.report import Measurement
from jetexp.evaluation.sculpting import MassSculpting, PtBin, RejectionAgainstPt
from jetexp.experiment import Experiment
from jetexp.images import ImageSettings
from jetexp.jets.sample import Jets
from jetexp.sentences import table_of_parts

__all__ = ["MODEL_CARD", "ModelCard", "PartOfJets", "summary_of"]

# the artifact
MODEL_CARD = "model_card.md"
# what a version's description holds in PostgreSQL, with room to spare
MAXIMUM_SUMMARY = 4_500
# the last section, which a summary goes without
MADE_FROM = "## Made from"


@dataclass(frozen=True)
class PartOfJets:
    """Some jets, in short.

    Attributes
    ----------
    counts : dict of str to int
        Jets of each class.
    pt_range : tuple of float
        Smallest and largest pT, GeV.
    fingerprint : str
        Of their content.
    """

    counts: Mapping[str, int]
    pt_range: tuple[float, float]
    fingerprint: str

    @classmethod
    def of(cls, jets: Jets) -> PartOfJets:
        """Sum jets up.

        Parameters
        ----------
        jets : Jets
            At least one.

        Returns
        -------
        PartOfJets
            Of these.
        """
        pt = jets.pt
        return cls(jets.class_counts, (float(pt.min()), float(pt.max())), jets.fingerprint)

    def __str__(self) -> str:
        low, high = self.pt_range
        jets = ", ".join(f"{count} {name}" for name, count in self.counts.items())
        return f"{jets}; pT {low:.0f} to {high:.0f} GeV; fingerprint `{self.fingerprint[:12]}`"


@dataclass(frozen=True, eq=False)
class ModelCard:
    """A model card.

    Attributes
    ----------
    experiment : Experiment
        As it was run, with the hyperparameters found.
    fit : str
        Name of the final fit, such as "ensemble".
    run_id, experiment_run_id : str
        The run of the fit, and of the whole execution.
    parameters : int
        Of the network.
    raw_images : ImageSettings
        What is sent to the served model.
    parts : dict of str to PartOfJets
        The jets that trained, validated and tested.
    provenance : dict
        Where the jets come from.
    measured : dict of str to dict of str to Measurement
        Numbers by the form of the jets that were scored.
    against_pt : RejectionAgainstPt
        On the test jets.
    sculpting : MassSculpting
        On the test jets.
    versions : dict of str to str
        Of the packages it was made with.
    """

    experiment: Experiment
    fit: str
    run_id: str
    experiment_run_id: str
    parameters: int
    raw_images: ImageSettings
    parts: Mapping[str, PartOfJets]
    provenance: Mapping[str, Any]
    measured: Mapping[str, Mapping[str, Measurement]]
    against_pt: RejectionAgainstPt
    sculpting: MassSculpting
    versions: Mapping[str, str]

    @property
    def markdown(self) -> str:
        """The whole card."""
        sections = [
            f"# {self.experiment.registered_model or self.experiment.name}",
            self._what(),
            "## Measured",
            self._numbers(),
            "## Against pT",
            self._against_pt(),
            "## Jet mass",
            self._mass(),
            "## Use",
            self._use(),
            "## Limits",
            "\n".join(f"- {one}" for one in self._limits()),
            MADE_FROM,
            self._made_from(),
        ]
        return "\n\n".join(sections) + "\n"

    def _what(self) -> str:
        one = self.experiment
        against = ", ".join(name for name in one.classes if name != one.signal)
        inputs = ["the image"] if one.tagger.kind != "pfn" else []
        if one.tagger.kind == "pfn" or getattr(one.tagger, "constituents", None) is not None:
            inputs.append("the list of constituents")
        inputs += getattr(one.tagger, "side_inputs", ())
        return (
            f"{one.description}\n\nTells {one.signal} jets from {against} jets. A `{one.tagger.kind}` of "
            f"{self.parameters} parameters ({self.fit}, run {self.run_id}) that sees {', '.join(inputs)}; it "
            f"answers with a probability for each of {', '.join(one.classes)}, in this order."
        )

    def _numbers(self) -> str:
        return (
            f"On test jets that no choice has seen ({self.parts['test']}); background rejection at 30, "
            "50 and 80 % signal efficiency; errors are statistical (68 %).\n\n"
            + table_of_parts(self.measured).rstrip()
        )

    def _against_pt(self) -> str:
        lines = [
            f"At the one threshold that keeps {100 * self.against_pt.signal_efficiency:g} % of all signal:",
            "",
            "| pT (GeV) | signal efficiency | background rejection (68 % interval) |",
            "|---|---|---|",
            *map(_row, self.against_pt.bins),
        ]
        return "\n".join(lines)

    def _mass(self) -> str:
        found = self.sculpting
        if found.distance is None:
            return "Too few background jets pass to say how the tagger sculpts their mass spectrum."
        chance = ""
        if found.random_distance is not None:
            chance = f" (as many jets drawn at random: {found.random_distance:.3f})"
        return (
            f"The mass spectrum of background that passes at {100 * found.signal_efficiency:g} % signal "
            f"efficiency is {found.distance:.3f} from that of all background by the Jensen-Shannon "
            f"distance, 0 to 1{chance}: {'sculpted' if self._sculpts else 'not seen to be sculpted'}."
        )

    @property
    def _sculpts(self) -> bool:
        """Whether the mass spectrum changes by more than so few jets do by chance."""
        found = self.sculpting
        if found.distance is None:
            return False
        chance = (found.random_distance or 0.0) + 2 * (found.random_distance_spread or 0.0)
        return found.distance > chance

    def _use(self) -> str:
        pixels = self.raw_images.pixels
        width = 2 * self.raw_images.half_width / pixels
        return (
            "To rank and select simulated jets of the kind it was trained on, and as a reference for other "
            "taggers. Send constituents (columns `pt` in GeV, `eta` and `phi` in radians, a list of numbers "
            f"a jet), or raw images, {pixels} x {pixels} pixels of transverse energy in GeV, {width:.3g} in "
            "eta and phi, around the jet axis; all preprocessing is inside."
        )

    def _limits(self) -> Sequence[str]:
        low, high = self.parts["training"].pt_range
        limits = [f"Trained on jets of {low:.0f} to {high:.0f} GeV; beyond, nothing was measured."]
        settings = self.provenance.get("settings")
        if self.provenance.get("source") == "pythia" and isinstance(settings, dict):
            seen = "calorimeter towers" if settings.get("calorimeter") else "stable particles, no detector"
            limits += [
                f"The jets are of {seen}, with {settings.get('pileup', 0)} further collisions.",
                "Its numbers are those of one simulation, with its parton shower and hadronisation; they are "
                "no efficiencies of data.",
            ]
        if self._sculpts:
            limits.append("A mass spectrum after this selection needs a model of how it is sculpted.")
        return limits

    def _made_from(self) -> str:
        jets = "\n".join(f"- {name}: {one}" for name, one in self.parts.items())
        versions = ", ".join(f"{name} {number}" for name, number in self.versions.items())
        settings = yaml.safe_dump(dict(self.provenance), sort_keys=False, default_flow_style=None).strip()
        return (
            f"{jets}\n\nWhere the jets come from:\n\n```yaml\n{settings}\n```\n\n"
            f"Packages: {versions}. The experiment file is `resolved_experiment.yaml` of run "
            f"{self.experiment_run_id}."
        )


def _row(one: PtBin) -> str:
    efficiency = (
        ""
        if one.signal_efficiency is None
        else str(Measurement(one.signal_efficiency, one.signal_efficiency_error))
    )
    if one.is_limit or one.interval is None:
        rejection = f"> {one.rejection:.3g} (95 % CL)"
    else:
        rejection = f"{one.rejection:.3g} ({one.interval[0]:.3g} to {one.interval[1]:.3g})"
    return f"| {one.low:.0f} to {one.high:.0f} | {efficiency} | {rejection} |"


def summary_of(card: str) -> str:
    """Shorten a card to what the description of a registered version holds.

    Parameters
    ----------
    card : str
        Markdown, as :attr:`ModelCard.markdown` gives it.

    Returns
    -------
    str
        All but the last section, cut between lines to at most 4 500 characters.
    """
    text = card.partition(f"\n{MADE_FROM}")[0].strip()
    return text if len(text) <= MAXIMUM_SUMMARY else text[: text.rindex("\n", 0, MAXIMUM_SUMMARY)]
