"""What a trained network sees: dependence on pT, mass sculpting, calibration, the pixels that matter."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jetexp.evaluation.calibration import apply_temperature, fit_temperature, reliability_curve
from jetexp.evaluation.correlation import correlation_image
from jetexp.evaluation.report import discriminant
from jetexp.evaluation.sculpting import (
    MassSculpting,
    RejectionAgainstPt,
    mass_sculpting,
    rejection_against_pt,
)
from jetexp.inputs import make_inputs, some_inputs
from jetexp.plots import gallery
from jetexp.recorder_protocol import Recorder
from jetexp.taggers.catalogue import input_settings
from jetexp.taggers.saliency import mean_saliency
from jetexp.training import predict

if TYPE_CHECKING:
    import keras

    from jetexp.fits import FinalFit, TaggerFits

__all__ = ["record_inspection"]

# jets that the gradients are averaged over
SALIENCY_JETS = 2000
# jets that pixels are correlated with the score over, at least, if there are as many
CORRELATED_JETS = 50_000


def record_inspection(
    recorder: Recorder, shared: TaggerFits, best: FinalFit
) -> tuple[RejectionAgainstPt, MassSculpting]:
    """Record what a trained network sees, on the test jets.

    Parameters
    ----------
    recorder : Recorder
        Of the run.
    shared : TaggerFits
        Experiment and jets.
    best : FinalFit
        The network.

    Returns
    -------
    RejectionAgainstPt
        How the rejection depends on pT.
    MassSculpting
        What the selection does to the mass spectrum of background.
    """
    experiment, jets = shared.experiment, shared.jets
    signal = experiment.classes.index(experiment.signal)
    score = discriminant(best.scores, experiment.classes, experiment.signal)
    label = jets.test.label
    name = best.name
    against_pt = rejection_against_pt(jets.test.pt, score, label, signal_index=signal)
    sculpting = mass_sculpting(jets.test.mass, score, label, signal_index=signal)
    recorder.result("rejection_against_pt", against_pt.to_dict())
    recorder.result("mass_sculpting", sculpting.to_dict())
    if sculpting.distance is not None:
        recorder.metrics({"test_mass_distance": sculpting.distance})
    recorder.figure("rejection_against_pt", gallery.rejection_against_pt({name: against_pt}))
    recorder.figure("mass_sculpting", gallery.mass_spectra({name: sculpting}))
    if best.network is not None:
        _record_calibration(recorder, shared, best, best.network, signal)
        _record_pixels(recorder, shared, best, best.network, signal)
    return against_pt, sculpting


def _record_calibration(
    recorder: Recorder, shared: TaggerFits, best: FinalFit, network: keras.Model, signal: int
) -> None:
    """Record how well probabilities are met, as they are and with a temperature from validation."""
    experiment, jets = shared.experiment, shared.jets
    inputs = input_settings(experiment.tagger, experiment.images)
    validation = predict(network, shared.part("validation", inputs))
    temperature = fit_temperature(validation, jets.validation.label)
    scaled = apply_temperature(best.scores, temperature)
    curves = {
        f"{best.name}": reliability_curve(best.scores, jets.test.label, class_index=signal),
        f"temperature {temperature:.2f}": reliability_curve(scaled, jets.test.label, class_index=signal),
    }
    recorder.metrics({"temperature": temperature})
    recorder.result("reliability", {key: curve.to_dict() for key, curve in curves.items()})
    figure = gallery.reliability(curves, predicted=f"predicted probability of {experiment.signal}")
    recorder.figure("reliability", figure)


def _record_pixels(
    recorder: Recorder, shared: TaggerFits, best: FinalFit, network: keras.Model, signal: int
) -> None:
    """Record which pixels go with the score, and which the network follows."""
    experiment = shared.experiment
    settings = input_settings(experiment.tagger, experiment.images)
    if settings.images is None:
        return
    # evenly over the sample, whose classes may stand one behind the other
    each = max(1, len(shared.jets.test) // CORRELATED_JETS)
    some = shared.jets.test.take(slice(None, None, each))
    inputs = some_inputs(make_inputs(some, settings), slice(None))
    score = discriminant(best.scores, experiment.classes, experiment.signal)[::each]
    half_width, compressed = settings.images.half_width, settings.images.compress
    first = inputs["image"][..., 0]
    recorder.figure(
        "correlation", gallery.correlation(correlation_image(first, score), half_width, compressed=compressed)
    )
    fewer = some_inputs(inputs, slice(None, None, max(1, len(first) // SALIENCY_JETS)))
    saliency = mean_saliency(network, fewer, signal=signal)
    recorder.figure("saliency", gallery.saliency(saliency, half_width, compressed=compressed))
