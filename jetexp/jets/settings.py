"""Where jets come from, as the experiment file says it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from jetexp.settings import Settings

__all__ = [
    "CalorimeterSettings",
    "GenerationSettings",
    "JetFileSettings",
    "JetsSettings",
    "SoftDropSettings",
]

MAXIMUM_PER_CLASS = 100_000_000

# stochastic term (times the root of 1 GeV over the energy) and constant term of an energy resolution
Resolution = tuple[Annotated[float, Field(ge=0, le=5)], Annotated[float, Field(ge=0, le=1)]]


def _increasing(window: tuple[float, float]) -> tuple[float, float]:
    if not 0 <= window[0] < window[1]:
        raise ValueError("two increasing numbers that are not negative would be right, in GeV")
    return window


PtWindow = Annotated[tuple[float, float], AfterValidator(_increasing)]

# came after samples had been stored: where they are at their default, what is written stays as it was
LATER = ("shower", "pileup", "calorimeter")
# done to jets when they are loaded, and to no stored ones
AFTER_STORING = ("select_pt", "minimum_constituent_pt", "soft_drop")


class CalorimeterSettings(Settings):
    """A calorimeter between the particles and the jets.

    The relative resolution is ``stochastic / sqrt(E / GeV)`` and ``constant``, added in quadrature.

    Attributes
    ----------
    tower : float
        Size of a tower in eta, and nearly so in phi (a whole number of towers closes the circle).
    electromagnetic : tuple of float
        Stochastic and constant term for photons and electrons.
    hadronic : tuple of float
        Stochastic and constant term for all other particles.
    """

    tower: float = Field(0.1, ge=0.01, le=0.5)
    electromagnetic: Resolution = (0.10, 0.007)
    hadronic: Resolution = (0.50, 0.03)


class SoftDropSettings(Settings):
    """Soft drop grooming (Larkoski et al., arXiv:1402.2657).

    A jet is declustered until its two branches obey ``z > z_cut (distance / radius)**beta``,
    where z is the softer branch's share of the transverse momentum.

    Attributes
    ----------
    beta : float
        Exponent of the angle; 0 is the modified mass drop.
    z_cut : float
        Smallest share of the softer branch.
    """

    beta: float = Field(0.0, ge=0, le=10)
    z_cut: float = Field(0.1, gt=0, lt=0.5)


class GenerationSettings(Settings):
    """Jets made by Pythia 8 and FastJet.

    Attributes
    ----------
    per_class : int
        Number of jets of each class.
    seed : int
        Seed of the sample; samples of different seeds share no event.
    pt_range : tuple of float
        Smallest and largest jet transverse momentum, GeV.
    maximum_eta : float
        Largest absolute jet pseudorapidity.
    radius : float
        Anti-kT radius parameter.
    shower : {"simple", "vincia"}
        Pythia's parton shower: its own, or the antenna shower Vincia, which is some ten times slower.
    pileup : float
        Mean number of further proton collisions in each event (Poisson). Nothing is subtracted:
        at a radius of 1 a collision adds about 3 GeV to a jet, and ``pt_range`` is of what is seen.
    calorimeter : CalorimeterSettings, optional
        Measure particles in towers before jets are found; by default jets are made of particles.
    soft_drop : SoftDropSettings, optional
        Groom the jets when they are loaded; what is stored is not groomed.
    minimum_constituent_pt : float
        Drop constituents of less transverse momentum, GeV, when the jets are loaded, before soft drop.
    select_pt : tuple of float, optional
        Of the jets that were made, keep those of this transverse momentum, GeV, whatever is dropped then.
    """

    source: Literal["pythia"] = "pythia"
    per_class: int = Field(10_000, ge=1, le=MAXIMUM_PER_CLASS)
    seed: int = Field(1, ge=0, le=1_000_000)
    pt_range: tuple[float, float] = (600.0, 1500.0)
    maximum_eta: float = Field(2.0, gt=0, le=3.0)
    radius: float = Field(1.0, gt=0.1, le=1.5)
    shower: Literal["simple", "vincia"] = "simple"
    pileup: float = Field(0.0, ge=0, le=200)
    calorimeter: CalorimeterSettings | None = None
    soft_drop: SoftDropSettings | None = None
    minimum_constituent_pt: float = Field(0.0, ge=0, le=100)
    select_pt: PtWindow | None = None

    @model_validator(mode="after")
    def _range(self) -> GenerationSettings:
        if not 0 < self.pt_range[0] < self.pt_range[1]:
            raise ValueError("pt_range must be two increasing positive numbers, in GeV")
        return self

    def of_stored(self) -> GenerationSettings:
        """Return the settings of the sample as it is stored, nothing done to its jets."""
        fields = type(self).model_fields
        return self.model_copy(update={name: fields[name].default for name in AFTER_STORING})

    def stored(self) -> dict[str, Any]:
        """Give the settings that a stored sample was made with, JSON-serialisable.

        Returns
        -------
        dict
            Without what is done to jets after storing, and without newer settings that are at their
            default, so that a sample says the same whichever version made it.
        """
        everything = self.model_dump(mode="json", exclude=set(AFTER_STORING))
        defaults = {name: type(self).model_fields[name].default for name in LATER}
        return {
            name: value
            for name, value in everything.items()
            if name not in defaults or value != defaults[name]
        }


Paths = tuple[str, ...]


def _paths(given: Any) -> Any:
    """Bring one path, several, or either class by class, to lists of paths."""
    if isinstance(given, dict) and given:
        return {name: _some_paths(value) for name, value in given.items()}
    return _some_paths(given)


def _some_paths(given: Any) -> Paths:
    several = (given,) if isinstance(given, str) else given
    if (
        not isinstance(several, list | tuple)
        or not several
        or not all(isinstance(one, str) and one for one in several)
    ):
        raise ValueError("a path, a list of paths, or either for each class would be right")
    return tuple(several)


class JetFileSettings(Settings):
    """Jets read from files, or from a sample generated before.

    Attributes
    ----------
    path : str, list of str, or dict of str to either
        The files, or the folder of a stored sample; globs (``*``, ``?``, ``[...]``) may stand for several
        files. A dictionary gives them class by class.
    names : dict of str to str
        What the files call a class, where that is not its own name: the name of an array, of a column, or
        the number that stands for it.
    per_class : int, optional
        Read no more than this many jets of each class; by default all.
    half_width : float, optional
        Half the side of images in eta and phi, where a file does not say it.
    unit : float
        What a pixel or momentum of 1 is in GeV, where a file does not say it.
    maximum_pixel : float
        Jets with a pixel above this transverse energy, in GeV, are dropped as corrupt.
    sha256 : dict of str to str
        Checksums that files must have, by the name of the file, without folders.
    soft_drop : SoftDropSettings, optional
        Groom the jets after reading.
    minimum_constituent_pt : float
        Drop constituents of less transverse momentum, GeV, before soft drop.
    select_pt : tuple of float, optional
        Of the jets that were read, keep those of this transverse momentum, GeV, whatever is dropped then.
    """

    source: Literal["file"] = "file"
    path: Annotated[Paths | dict[str, Paths], BeforeValidator(_paths)]
    names: dict[str, str] = Field(default_factory=dict)
    per_class: int | None = Field(None, ge=1, le=MAXIMUM_PER_CLASS)
    half_width: float | None = Field(None, gt=0, le=10)
    unit: float = Field(1.0, gt=0, le=1e12)
    maximum_pixel: float = Field(13_000.0, gt=0)
    sha256: dict[str, Annotated[str, Field(pattern="^[0-9a-fA-F]{64}$")]] = Field(default_factory=dict)
    soft_drop: SoftDropSettings | None = None
    minimum_constituent_pt: float = Field(0.0, ge=0, le=100)
    select_pt: PtWindow | None = None


JetsSettings = Annotated[GenerationSettings | JetFileSettings, Field(discriminator="source")]
