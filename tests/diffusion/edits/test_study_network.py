"""The shipped study network: a supervised direction steers, a random one of equal norm does not;
symmetric is the predicted share.
"""

import pytest
import torch

from interp.corpus import data_folder
from interp.diffusion.directions.regression import regression_directions
from interp.diffusion.edits.curved import CurvedEdit, fit_curves
from interp.diffusion.edits.straight import Edit
from interp.diffusion.images.factors import factor_table
from interp.diffusion.records.activations import record_steps
from interp.diffusion.sampling.levels import cancellations, noise_levels
from interp.diffusion.scores.decoupling import decoupled_strengths
from interp.diffusion.scores.effects import fresh_trial, judge_of, random_edit, score_edit
from interp.diffusion.scores.matching_strength import strength_for
from interp.testbeds.generators.network import load_generator
from interp.testbeds.images.shapes import read_shapes, shape_images

STUDY = data_folder() / "models" / "shapes_study"

pytestmark = pytest.mark.slow


def test_supervised_directions_steer_the_study_network() -> None:
    model = load_generator(STUDY)
    judge = judge_of(read_shapes, shape_images(1000, seed=99).images)
    acts = record_steps(model, 128, seed=100)
    known = factor_table(read_shapes, acts.images)
    directions = regression_directions(acts, {name: known[name] for name in judge.factors})
    choose, report = (
        fresh_trial(model, judge, 16, seed=101),
        fresh_trial(model, judge, 40, seed=102),
    )
    found = strength_for(choose, directions["radius"], "radius", 0.5, start=0.05)
    assert found.reached
    edit = Edit(directions["radius"], (found.strength,))
    score = score_edit(report, edit, [random_edit(edit, seed=0)], "radius")
    assert score.change.low > 0.3
    assert score.right_sign.value >= 0.95
    assert abs(score.change.control or 0) < 0.05
    assert score.leak.value < score.change.value / 2


def test_symmetric_effects_are_the_predicted_share() -> None:
    model = load_generator(STUDY)
    judge = judge_of(read_shapes, shape_images(1000, seed=99).images)
    acts = record_steps(model, 128, seed=100)
    known = factor_table(read_shapes, acts.images)
    direction = regression_directions(acts, {name: known[name] for name in judge.factors})["x"]
    trial = fresh_trial(model, judge, 16, seed=102)
    shares = cancellations(noise_levels(model, 20))
    for step in (6, 16):
        moved = []
        for rule in ("symmetric", "asymmetric"):
            up, down = (
                trial.made(Edit(direction, (sign * 0.01,), rule, range(step, step + 1))).double()
                for sign in (1, -1)
            )
            moved.append((up - down).flatten())
        ratio = float(moved[0] @ moved[1] / moved[1].square().sum())
        assert ratio == pytest.approx(float(shares[step]), rel=0.05)
        assert torch.linalg.vector_norm(moved[1]) > 1e-3, "control"


def test_edits_along_curves_move_one_factor_only() -> None:
    model = load_generator(STUDY)
    judge = judge_of(read_shapes, shape_images(1000, seed=99).images)
    acts = record_steps(model, 128, seed=100)
    known = factor_table(read_shapes, acts.images)
    curves = fit_curves(acts, {name: known[name] for name in judge.factors})
    assert float(curves.explained[-1]) > 0.95
    window = range(17, 20)
    choose, report = (
        fresh_trial(model, judge, 24, seed=101),
        fresh_trial(model, judge, 48, seed=104),
    )
    found = decoupled_strengths(
        choose,
        lambda strengths: CurvedEdit(curves=curves, strengths=strengths, window=window),
        4,
        "x",
        tolerance=0.05,
    )
    edit = CurvedEdit(curves=curves, strengths=found.strengths, window=window)
    score = score_edit(report, edit, [random_edit(edit, seed=0)], "x")
    assert score.change.low > 0.3
    assert score.right_sign.value >= 0.95
    assert score.leak.value < 0.12
    assert abs(score.change.control or 0) < 0.05
