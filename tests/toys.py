"""Toy jets that a tagger can learn from: two prongs at a fixed distance, or one with soft radiation."""

from dataclasses import replace

import numpy as np

from jetexp.images import ImageSettings, make_images
from jetexp.jets.sample import Jets
from jetexp.training import Parts, Sample


def toy_jets(number: int, seed: int = 0, constituents: float = 40.0) -> Jets:
    """Background (label 0) is one prong, signal (label 1) is two of nearly equal pT."""
    random = np.random.default_rng(seed)
    label = random.integers(0, 2, number)
    counts = 1 + random.poisson(constituents, number)
    offsets = np.concatenate([[0], np.cumsum(counts)])
    jet = np.repeat(np.arange(number), counts)
    total = random.uniform(600.0, 1500.0, number)
    distance = np.where(label == 1, 160.0 / total * 2, random.uniform(0.0, 0.3, number))[jet]
    side = np.where(random.random(len(jet)) < np.where(label == 1, 0.4, 0.1)[jet], 0.8, -0.2)
    direction = random.uniform(0.0, 2 * np.pi, number)[jet]
    pt = random.exponential(1.0, len(jet))
    pt *= (total / np.bincount(jet, pt))[jet]
    eta = side * distance * np.cos(direction) + random.normal(0.0, 0.05, len(jet))
    phi = side * distance * np.sin(direction) + random.normal(0.0, 0.05, len(jet))
    jets = build_jets(offsets, eta, phi, pt, label)
    return replace(jets, pt=total.astype(np.float32), mass=(0.3 * total).astype(np.float32))


def build_jets(offsets, eta, phi, pt, label=None) -> Jets:
    """Make Jets of plain arrays."""
    number = len(offsets) - 1
    label = np.zeros(number, dtype=np.int64) if label is None else label
    zeros = np.zeros(number, dtype=np.float32)
    return Jets(
        offsets=np.asarray(offsets, dtype=np.int64),
        constituent_eta=np.asarray(eta, dtype=np.float32),
        constituent_phi=np.asarray(phi, dtype=np.float32),
        constituent_pt=np.asarray(pt, dtype=np.float32),
        label=label,
        pt=zeros,
        eta=zeros,
        mass=zeros,
        classes=("background", "signal"),
    )


def one_jet(eta, phi, pt) -> Jets:
    """Make Jets of one jet."""
    return build_jets([0, len(pt)], eta, phi, pt)


def toy_parts(train: int, validation: int, *, pixels: int = 12, seed: int = 0) -> Parts:
    """Make small images of toy jets, to train on and to validate with."""
    jets = toy_jets(train + validation, seed)
    images = make_images(jets, ImageSettings(pixels=pixels))
    return Parts(
        Sample({"image": images[:train]}, jets.label[:train]),
        Sample({"image": images[train:]}, jets.label[train:]),
        signal=1,
    )
