"""A calorimeter: energies smeared, summed in towers, each tower one massless particle.

Also all that happens to particles before jets are found: pile-up, then this.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from jetexp.jets.clustering import PARTICLE_ETA, Particles, eta_phi
from jetexp.jets.pileup import overlay
from jetexp.jets.settings import CalorimeterSettings, GenerationSettings

__all__ = ["TOWER", "measure", "observer", "smear"]

Float = npt.NDArray[np.float64]

ELECTROMAGNETIC = (11, 22)
MUON = 13
# a tower is entered as a photon, which is massless and neutral: a calorimeter sees no charge
TOWER = 22


def smear(energy: Float, terms: tuple[Float | float, Float | float], rng: np.random.Generator) -> Float:
    """Measure energies with a finite resolution.

    The measured energy is log-normal with the true one as its mean, as in Delphes (de Favereau et
    al., arXiv:1307.6346): it has the right mean and width, and is never negative, which a normal
    distribution cut at zero would pay for with too much energy of soft particles.

    Parameters
    ----------
    energy : ndarray of float64, shape (M,)
        True energies, GeV, positive.
    terms : tuple of float or ndarray of float64, shape (M,)
        Stochastic and constant term of the relative resolution, added in quadrature.
    rng : numpy.random.Generator
        Source of the fluctuations.

    Returns
    -------
    ndarray of float64, shape (M,)
        Measured energies, GeV.
    """
    stochastic, constant = terms
    # of the logarithm of the energy
    variance = np.log1p(stochastic**2 / energy + constant**2)
    measured: Float = energy * np.exp(np.sqrt(variance) * rng.standard_normal(len(energy)) - variance / 2)
    return measured


def measure(particles: Particles, settings: CalorimeterSettings, rng: np.random.Generator) -> Particles:
    """Measure particles in a calorimeter.

    Every particle hits the tower that it points to from the middle of the detector: there is no
    magnetic field, no shower beyond a tower, no noise and no threshold.

    Parameters
    ----------
    particles : Particles
        Visible particles. Muons are dropped: they leave next to nothing in a calorimeter.
    settings : CalorimeterSettings
        Size of the towers, and resolutions.
    rng : numpy.random.Generator
        Source of the fluctuations.

    Returns
    -------
    Particles
        The towers with energy in them, of the same events: massless, at their centres, and of
        the identity ``TOWER``, so without charge.
    """
    species = np.abs(particles.identity)
    seen = species != MUON
    event = particles.event[seen]
    eta, phi = (values[seen] for values in eta_phi(particles.momentum))
    electromagnetic = np.isin(species[seen], ELECTROMAGNETIC)
    stochastic, constant = (
        np.where(electromagnetic, *pair)
        for pair in zip(settings.electromagnetic, settings.hadronic, strict=True)
    )
    energy = smear(particles.momentum["E"][seen], (stochastic, constant), rng)

    half = int(np.ceil(PARTICLE_ETA / settings.tower))
    around = round(2 * np.pi / settings.tower)
    width = 2 * np.pi / around
    row = np.clip(np.floor(eta / settings.tower).astype(np.int64) + half, 0, 2 * half - 1)
    column = np.floor((phi + np.pi) / width).astype(np.int64) % around
    towers, which = np.unique((event * 2 * half + row) * around + column, return_inverse=True)
    total = np.bincount(which, weights=energy, minlength=len(towers)).astype(np.float64)

    tower_event, place = np.divmod(towers, 2 * half * around)
    tower_eta = (place // around - half + 0.5) * settings.tower
    tower_phi = (place % around + 0.5) * width - np.pi
    pt = total / np.cosh(tower_eta)
    return Particles(
        {
            "px": pt * np.cos(tower_phi),
            "py": pt * np.sin(tower_phi),
            "pz": pt * np.sinh(tower_eta),
            "E": total,
        },
        np.full(len(towers), TOWER, dtype=np.int64),
        np.bincount(tower_event, minlength=len(particles.counts)),
    )


def observer(
    settings: GenerationSettings, random_seed: int, pool: Particles | None
) -> Callable[[Particles], Particles] | None:
    """Say what happens to the visible particles of a chunk before jets are found.

    Parameters
    ----------
    settings : GenerationSettings
        Pile-up and calorimeter.
    random_seed : int
        Seed of the chunk.
    pool : Particles, optional
        Collisions that pile-up is drawn from, needed where there is some.

    Returns
    -------
    callable, optional
        To be called with the particles of one batch of events after the other, since its random
        numbers run on. None if nothing happens.

    Raises
    ------
    ValueError
        If there is pile-up, but nothing to draw it from.
    """
    if not settings.pileup and settings.calorimeter is None:
        return None
    if settings.pileup and pool is None:
        raise ValueError("pile-up needs a pool of collisions to draw from")
    # two streams: the same pile-up lies under a chunk with and without a calorimeter
    draws, fluctuations = (np.random.default_rng([random_seed, stream]) for stream in (1, 2))

    def observe(particles: Particles) -> Particles:
        if settings.pileup and pool is not None:
            particles = overlay(particles, pool, settings.pileup, draws)
        if settings.calorimeter is not None:
            particles = measure(particles, settings.calorimeter, fluctuations)
        return particles

    return observe
