"""The figure of a steering evaluation, without a report."""

import plotly.graph_objects as go

from interp.report.data.steering import family_data
from interp.report.figures.features import family_curves
from interp.steering import SteeringResult
from interp.studies.methods import METHOD_TITLES


def steering_curves(result: SteeringResult) -> go.Figure:
    """Mean steering score of each family against the measured strength, with intervals; controls in
    grey.

    The page's figure (`interp.report.figures.features.dose_response`), from a result of
    `interp.evaluate_steering`: the score, 0 to 2, is the mean over concepts of the harmonic mean of
    concept and fluency (Wu et al. 2025), the strength the KL divergence in nats.

    Example:
        >>> steering_curves(interp.evaluate_steering(model, targets, judge=judge)).show()
    """
    families = [family_data(family, METHOD_TITLES) for family in result.families]
    return family_curves(families, result.protocol.strengths)
