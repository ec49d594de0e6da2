"""Every search method against the true edges of an induction transformer written by hand, in soft
and in saturated attention.
"""

import numpy as np
import pytest
import torch
from edge_by_edge import FLOOR, VALUES, Truth, induction_network, of_induction, on_induction
from jaxtyping import Bool
from written_networks import LENGTH, SHARP, SOFT, VOCABULARY, repeats

from interp.causal import CausalGraph
from interp.detection.auroc import auroc_many

WHOLE = ("resample", "zero", "mean")
"""The values that replace all of a contribution."""


def auroc(graph: CausalGraph, true: Truth, among: Bool[np.ndarray, " edge"] | None = None) -> float:
    chosen = np.ones(len(true.edges), bool) if among is None else among
    return float(auroc_many(np.abs(graph.effects)[chosen, None], true.edges[chosen])[0])


def into(true: Truth, prefix: str) -> Bool[np.ndarray, " edge"]:
    return np.array([port.startswith(prefix) for _, port in true.names])


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("sharpness", [SOFT, SHARP])
def test_the_network_does_the_task_and_its_counterfactual(sharpness: float, turned: bool) -> None:
    data, module = repeats(120, seed=3), induction_network(sharpness, turned)
    for ids, answers in ((data.inputs, data.right), (data.others, data.wrong)):
        accuracy = float((module(ids)[:, -1].argmax(-1) == answers).float().mean())
        assert accuracy == 1.0
    # The answer's logit is the attention that the induction head pays to it.
    attention = module(data.inputs)[torch.arange(120), -1, data.right]
    assert bool(
        ((attention > 0.4) & (attention < 0.7)).all()
        if sharpness == SOFT
        else (attention == 1).all() or turned
    )
    guesses = torch.randint(VOCABULARY, (120, LENGTH), generator=torch.Generator().manual_seed(4))
    assert float((module(guesses)[:, -1].argmax(-1) == data.right).float().mean()) < 0.5


@pytest.mark.parametrize("value", VALUES)
@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("sharpness", [SOFT, SHARP])
def test_exact_patching_finds_the_true_edges_and_only_them(
    sharpness: float, turned: bool, value: str
) -> None:
    true, graph = (
        of_induction(sharpness, turned, value),
        on_induction(sharpness, turned, "exact", value),
    )
    size = np.abs(graph.effects) / np.abs(true.effects).max()
    # Between the weakest true effect and what rounding leaves of none lie three orders of
    # magnitude.
    assert size[true.edges].min() > 1e-3
    assert size[~true.edges].max() < 5 * FLOOR
    assert auroc(graph, true) == 1.0


@pytest.mark.parametrize("value", VALUES)
@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("sharpness", [SOFT, SHARP])
def test_integrated_gradients_rank_all_true_edges_first(
    sharpness: float, turned: bool, value: str
) -> None:
    true = of_induction(sharpness, turned, value)
    assert auroc(on_induction(sharpness, turned, "eap-ig-inputs", value), true) == 1.0


@pytest.mark.parametrize("value", WHOLE)
@pytest.mark.parametrize("sharpness", [SOFT, SHARP])
def test_integrated_gradients_over_activations_do_too(sharpness: float, value: str) -> None:
    true = of_induction(sharpness, True, value)
    assert auroc(on_induction(sharpness, True, "eap-ig-activations", value), true) == 1.0


@pytest.mark.parametrize("value", VALUES)
@pytest.mark.parametrize("turned", [False, True])
def test_in_soft_attention_the_qk_fix_and_plain_eap_do_too(turned: bool, value: str) -> None:
    true = of_induction(SOFT, turned, value)
    assert auroc(on_induction(SOFT, turned, "eap-qk", value), true) == 1.0
    assert auroc(on_induction(SOFT, turned, "eap", value), true) == 1.0


@pytest.mark.parametrize("value", WHOLE)
def test_in_sharp_attention_the_qk_fix_ranks_all_true_edges_first(value: str) -> None:
    assert (
        auroc(on_induction(SHARP, False, "eap-qk", value), of_induction(SHARP, False, value)) == 1.0
    )


@pytest.mark.parametrize("value", VALUES)
@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("sharpness", [SOFT, SHARP])
def test_the_qk_fix_is_exact_where_no_other_softmax_follows(
    sharpness: float, turned: bool, value: str
) -> None:
    """All but edges into layer 0: nothing but their own softmax is curved behind them."""
    true, graph = (
        of_induction(sharpness, turned, value),
        on_induction(sharpness, turned, "eap-qk", value),
    )
    last = ~into(true, "L0.")
    np.testing.assert_allclose(graph.per_example[:, last], true.per_example[:, last], atol=5e-6)
    assert auroc(graph, true, last) == 1.0


def test_the_qk_fix_does_not_see_through_a_second_saturated_softmax() -> None:
    """An edge into layer 0 acts through the softmax of layer 1, where the fix goes by the gradient
    like EAP: nothing is left of it.
    """
    true = of_induction(SHARP, False, "resample")
    upstream = into(true, "L0.") & true.edges
    assert upstream.any()
    fixed = on_induction(SHARP, False, "eap-qk", "resample").effects[upstream]
    assert (np.abs(fixed) < 1e-9 * np.abs(true.effects[upstream])).all()
    # In a stream without axes of its own that is less than rounding, and the ranking suffers.
    assert (
        auroc(on_induction(SHARP, True, "eap-qk", "zero"), of_induction(SHARP, True, "zero")) < 1.0
    )


@pytest.mark.parametrize("value", WHOLE)
def test_plain_eap_fails_in_sharp_attention(value: str) -> None:
    """Effects through a saturated softmax are underestimated by nine orders of magnitude, and lost
    in rounding in a rotated stream.
    """
    true = of_induction(SHARP, False, value)
    curved = true.edges & ~into(true, "logits") & ~into(true, "L1.head0.v")
    assert curved.sum() >= 3
    plain = on_induction(SHARP, False, "eap", value).effects[curved]
    assert (np.abs(plain) < 1e-9 * np.abs(true.effects[curved])).all()
    assert auroc(on_induction(SHARP, True, "eap", value), of_induction(SHARP, True, value)) < 0.95
    # Where attention is soft, the same edges are right within a factor of two.
    soft = of_induction(SOFT, False, value)
    ratio = on_induction(SOFT, False, "eap", value).effects[curved] / soft.effects[curved]
    assert (ratio > 0.5).all()
    assert (ratio < 2).all()


def test_few_steps_rank_well_but_measure_badly() -> None:
    """In sharp attention the gradient lives in a small part of the way; with the usual five steps
    sizes are wrong by half or more.
    """
    true = of_induction(SHARP, False, "resample")
    curved = true.edges & ~into(true, "logits") & ~into(true, "L1.head0.v")
    ratio = (
        on_induction(SHARP, False, "eap-ig-inputs", "resample").effects[curved]
        / true.effects[curved]
    )
    assert (np.abs(ratio - 1) > 0.5).all()
    assert (ratio > 1e-3).all()


def test_graddrop_loses_what_goes_through_every_layer() -> None:
    """With two layers, and an effect through both, dropping either leaves nothing."""
    true = of_induction(SOFT, False, "resample")
    through = true.names.index(("embed", "L0.head0.v"))
    assert abs(true.effects[through]) > 0.3
    assert on_induction(SOFT, False, "eap-graddrop", "resample").effects[through] == 0
    assert auroc(on_induction(SOFT, False, "eap-graddrop", "resample"), true) < 1.0


@pytest.mark.parametrize("value", WHOLE)
@pytest.mark.parametrize("turned", [False, True])
def test_acdc_keeps_the_true_edges_and_only_them(turned: bool, value: str) -> None:
    true, graph = of_induction(SHARP, turned, value), on_induction(SHARP, turned, "acdc", value)
    np.testing.assert_array_equal(graph.kept, true.edges)
