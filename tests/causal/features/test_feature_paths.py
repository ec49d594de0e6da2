"""Features' effects and paths: by hand on a linear network, by hooks of the network itself on
others.
"""

from typing import Any, get_args

import numpy as np
import pytest
import torch
from tiny import language, tokenizer
from torch import Tensor

from interp.capture import Add, Where
from interp.causal import Edge, ResidualWiring, path_effects
from interp.causal.features.feature_effect import (
    AFTER_FIRST,
    SetCoefficient,
    control_directions,
    feature_effect,
)
from interp.causal.features.feature_paths import FeatureExamples, PathMethod, _graph, feature_paths
from interp.causal.methods.eap import eap
from interp.core import InputError, Provenance, silent
from interp.decompose.random_directions import RandomDirections
from interp.features.feature import Feature
from interp.models import Model, wrap

INPUTS = [[3, 4, 5, 6, 7, 8], [9, 10, 11, 12, 13, 14, 15, 16], [21, 22, 23, 24]]
"""Of three lengths, so that padding matters."""

WIDTH = {"mlp": 24, "mlp_out": 16}


def metric(output: Tensor, rows: Tensor) -> Tensor:
    return output[:, 5] - output[:, 7]


def projecting(
    site: str, *, count: int = 3, seed: int = 0, sparse: bool = False
) -> RandomDirections:
    """A dictionary of orthonormal directions, whose coefficients are projections: setting one
    leaves the others as they are.
    """
    width = WIDTH[site.split(".")[1]]
    drawn = torch.randn(width, width, generator=torch.Generator().manual_seed(seed))
    directions = (
        torch.eye(width)[:count] if sparse else torch.linalg.qr(drawn).Q[:count].contiguous()
    )
    return RandomDirections(directions, torch.zeros(width), Provenance("random", site=site))


def feature(site: str, index: int = 1, **options: Any) -> Feature:
    return Feature(dictionary=projecting(site, **options), index=index)


def linear_network() -> Any:
    """GPT-2 with nothing curved left: no norms, no attention, MLPs without their nonlinearity."""
    module = language("gpt2")
    module.transformer.ln_f = torch.nn.Identity()
    for block in module.transformer.h:
        block.ln_1, block.ln_2, block.mlp.act = (torch.nn.Identity() for _ in range(3))
        with torch.no_grad():
            block.attn.c_proj.weight.zero_()
            block.attn.c_proj.bias.zero_()
    return module


@pytest.fixture(scope="module", params=["gpt2", "llama", "gemma3", "pythia"])
def wiring(request: pytest.FixtureRequest) -> ResidualWiring:
    return ResidualWiring(wrap(language(request.param), tokenizer()))


def seen(
    model: Model, tokens: list[int], sites: list[str], hooks: dict[str, Any]
) -> tuple[dict[str, Tensor], Tensor]:
    """What sites hold in a run of one example alone, and its last logits."""
    kept: dict[str, Tensor] = {}
    looks = {
        site: (lambda value, call, site=site: kept.__setitem__(site, value.detach().clone()))
        for site in sites
    }
    with torch.no_grad(), model.hooked(hooks):
        logits = model.run([tokens], looks)
    return kept, logits[:, -1]


def test_setting_a_coefficient_sets_it_and_no_other_and_leaves_the_first_token() -> None:
    model = wrap(language("llama"), tokenizer())
    cause = feature("L1.mlp")
    before, _ = seen(model, INPUTS[1], ["L1.mlp"], {})
    after, _ = seen(model, INPUTS[1], ["L1.mlp"], {"L1.mlp": SetCoefficient.of(cause, 0.7)})
    old, new = (cause.dictionary.encode(value["L1.mlp"][0]) for value in (before, after))
    torch.testing.assert_close(new[1:, 1], torch.full((7,), 0.7))
    torch.testing.assert_close(new[:, [0, 2]], old[:, [0, 2]])
    assert torch.equal(after["L1.mlp"][0, 0], before["L1.mlp"][0, 0])
    everywhere, _ = seen(
        model, INPUTS[1], ["L1.mlp"], {"L1.mlp": SetCoefficient.of(cause, 0.7, Where())}
    )
    assert float(cause.dictionary.encode(everywhere["L1.mlp"][0])[0, 1]) == pytest.approx(
        0.7, abs=1e-5
    )


def test_on_a_linear_network_a_feature_moves_another_by_the_product_of_weights() -> None:
    module = linear_network()
    model = wrap(module, tokenizer())
    cause, effect, values = feature("L0.mlp"), feature("L2.mlp", seed=1), [-1.0, 0.0, 2.0]
    inner, outer = (
        getattr(module.transformer.h[layer].mlp, name).weight.detach()
        for layer, name in ((0, "c_proj"), (2, "c_fc"))
    )
    middle = module.transformer.h[1].mlp
    onward = torch.eye(16) + middle.c_fc.weight.detach() @ middle.c_proj.weight.detach()
    gain = float(cause.direction @ inner @ onward @ outer @ effect.direction)
    present = [
        cause.dictionary.encode(seen(model, tokens, ["L0.mlp"], {})[0]["L0.mlp"][0])[1:, 1].mean()
        for tokens in INPUTS
    ]
    expected = np.array([[gain * (value - float(own)) for own in present] for value in values])
    found = feature_effect(model, INPUTS, cause, effect, values=values)
    np.testing.assert_allclose(found.per_example, expected, atol=1e-5)
    assert np.abs(expected).max() > 0.1
    assert [change.value for _, change in found.curve] == pytest.approx(
        expected.mean(axis=1), abs=1e-5
    )
    # A random direction is moved by the same amounts, along itself.
    other = control_directions(cause, 3, 0)
    gains = (other @ inner @ onward @ outer @ effect.direction).mean()
    np.testing.assert_allclose(found.control, expected / gain * float(gains), atol=1e-5)
    assert found.changes[0].control == pytest.approx(float(found.control[0].mean()))


def test_a_feature_moves_a_metric_as_hooks_say(wiring: ResidualWiring) -> None:
    model, cause = wiring.model, feature("L1.mlp")
    found = feature_effect(model, INPUTS, cause, metric, values=[0.0, 3.0], batch_size=2)
    for number, tokens in enumerate(INPUTS):
        _, clean = seen(model, tokens, [], {})
        assert found.clean[number] == pytest.approx(float(metric(clean, clean)), abs=1e-4)
        for dose, value in enumerate(found.values):
            _, changed = seen(model, tokens, [], {"L1.mlp": SetCoefficient.of(cause, value)})
            assert found.per_example[dose, number] == pytest.approx(
                float(metric(changed, clean) - metric(clean, clean)), abs=1e-4
            )
    assert np.abs(found.per_example).max() > 0.05


def test_controls_are_as_long_and_as_sparse() -> None:
    one = feature("L1.mlp", sparse=True)
    others = control_directions(one, 4, 0)
    torch.testing.assert_close(others.norm(dim=1), torch.ones(4))
    assert (others != 0).sum(dim=1).tolist() == [1, 1, 1, 1]
    assert torch.equal(control_directions(one, 4, 0), others)


def test_what_passes_on_a_feature_is_what_hooks_say(wiring: ResidualWiring) -> None:
    """Total, and through one later part: run once with the feature set, then clean with that part's
    output from there.
    """
    # A feature of the output where a norm follows the MLP (Gemma).
    site = "L0.mlp" if "L1.head2" in {node.name for node in wiring.sources} else "L0.mlp_out"
    model, cause, value = wiring.model, feature(site), 2.5
    found = feature_paths(wiring, INPUTS, cause, metric, value=value)
    assert found.source == "L0.mlp"
    assert found.nodes[-1] == "L2.mlp"
    # Where heads have no outputs of their own (Gemma), the layer's sum is the part.
    parts = {
        "L2.mlp": "L2.mlp_out",
        **({"L1.head2": "L1.head2"} if "L1.head2" in found.nodes else {"L1.attn": "L1.attn_out"}),
    }
    moved = []
    for number, tokens in enumerate(INPUTS):
        setting = {site: SetCoefficient.of(cause, value)}
        _, clean = seen(model, tokens, [], {})
        held, changed = seen(model, tokens, list(parts.values()), setting)
        total = float(metric(changed, clean) - metric(clean, clean))
        assert found.graph.replaced[number] - found.graph.clean[number] == pytest.approx(
            total, abs=1e-4
        )
        for name, there in parts.items():
            _, passed = seen(model, tokens, [], {there: lambda value, call, now=held[there]: now})
            expected = float(metric(passed, clean) - metric(clean, clean))
            moved.append(abs(expected))
            assert found.per_example[number, found.nodes.index(name)] == pytest.approx(
                expected, abs=1e-4
            )
    assert max(moved) > 1e-3
    assert found.total.value == pytest.approx(
        float((found.graph.replaced - found.graph.clean).mean()), abs=1e-4
    )
    assert found.total.control is not None


def test_a_changed_run_does_not_pass_for_a_clean_one(wiring: ResidualWiring) -> None:
    part = next(
        iter(FeatureExamples(wiring, INPUTS, "L0.mlp", SetCoefficient.of(feature("L0.mlp"), 3.0)))
    )
    clean = torch.cat([seen(wiring.model, INPUTS[row], [], {})[1] for row in part.rows.tolist()])
    torch.testing.assert_close(wiring.output(part.batch), clean, atol=1e-4, rtol=1e-4)


def test_on_a_linear_network_paths_are_products_of_weights() -> None:
    module = linear_network()
    wiring = ResidualWiring(wrap(module, tokenizer()))
    cause, value = feature("L0.mlp"), 2.0
    readout = (module.lm_head.weight[5] - module.lm_head.weight[7]).detach()
    maps = [
        (block.mlp.c_fc.weight @ block.mlp.c_proj.weight).detach() for block in module.transformer.h
    ]
    image = cause.direction @ module.transformer.h[0].mlp.c_proj.weight.detach()
    held = [seen(wiring.model, tokens, ["L0.mlp"], {})[0]["L0.mlp"][0, -1] for tokens in INPUTS]
    amount = np.array([value - float(row @ cause.direction) for row in held])
    eye = torch.eye(16)
    products = {
        "total": image @ (eye + maps[1]) @ (eye + maps[2]) @ readout,
        "direct": image @ readout,
        "L1.mlp": image @ maps[1] @ (eye + maps[2]) @ readout,
        "L2.mlp": image @ (eye + maps[1]) @ maps[2] @ readout,
        "L0.mlp → L2.mlp.in": image @ maps[2] @ readout,
    }
    expected = {name: float(product) * amount for name, product in products.items()}
    found = feature_paths(wiring, INPUTS, cause, metric, value=value)
    assert found.total.value == pytest.approx(expected["total"].mean(), abs=1e-5)
    assert found.direct.value == pytest.approx(expected["direct"].mean(), abs=1e-5)
    for name in ("L1.mlp", "L2.mlp"):
        np.testing.assert_allclose(
            found.per_example[:, found.nodes.index(name)], expected[name], atol=1e-5
        )
    assert all(
        found.per_example[:, place] == pytest.approx(0, abs=1e-6)
        for place, name in enumerate(found.nodes)
        if "head" in name
    )
    assert abs(products["total"]) > 0.1
    examples = FeatureExamples(wiring, INPUTS, cause.site, SetCoefficient.of(cause, value))
    graphs = [
        _graph(
            examples,
            metric,
            wiring.source_groups[2][0],
            method,
            parameters={},
            seed=0,
            progress=silent,
        )
        for method in get_args(PathMethod)
    ]
    for graph, method in zip(graphs, get_args(PathMethod), strict=True):
        edges = {
            str(graph.edge(number)): graph.per_example[:, number]
            for number in range(len(graph.edges))
        }
        np.testing.assert_allclose(
            edges["L0.mlp → L2.mlp.in"], expected["L0.mlp → L2.mlp.in"], atol=1e-5
        )
        np.testing.assert_allclose(edges["L0.mlp → logits"], expected["direct"], atol=1e-5)
        assert graph.method == method
        # Estimates are of all edges, so that they also say how the effect goes on from the later
        # parts.
        if method == "exact":
            assert {name.split(" ")[0] for name in edges} == {"L0.mlp"}
        else:
            np.testing.assert_allclose(
                edges["L1.mlp → logits"], float(image @ maps[1] @ readout) * amount, atol=1e-5
            )


def test_a_feature_that_writes_nothing_has_no_effect_and_its_control_does() -> None:
    module = language("gpt2")
    with torch.no_grad():
        module.transformer.h[1].mlp.c_proj.weight[:3] = 0.0
    wiring = ResidualWiring(wrap(module, tokenizer()))
    cause = feature("L1.mlp", sparse=True, count=2)
    found = feature_paths(wiring, INPUTS, cause, metric, value=5.0)
    assert found.total.value == pytest.approx(0.0, abs=1e-5)
    assert np.abs(found.graph.per_example).max() < 1e-5
    assert abs(found.total.control or 0.0) > 1e-2
    assert not [name for name in found.nodes if name.startswith(("L0", "L1"))]


def test_a_constant_addition_is_the_image_added_at_the_source() -> None:
    """The same by path_effects, where a direction is added as it is, at every token."""
    model = wrap(language("llama"), tokenizer())
    direction = 3.0 * feature("L1.mlp").direction
    image = model.residual_effect("L1.mlp", direction[None])[0]
    edges = [Edge("L1.mlp", "logits")]
    graph = path_effects(
        model,
        INPUTS,
        metric=metric,
        method="exact",
        value="add",
        directions={"L1.mlp": image},
        edges=edges,
    )
    for number, tokens in enumerate(INPUTS):
        _, clean = seen(model, tokens, [], {})
        _, added = seen(model, tokens, [], {"L1.mlp": Add(direction)})
        assert graph.clean[number] == pytest.approx(float(metric(clean, clean)), abs=1e-4)
        assert graph.replaced[number] == pytest.approx(float(metric(added, clean)), abs=1e-4)
        assert abs(graph.replaced[number] - graph.clean[number]) > 1e-2


def test_some_of_the_examples() -> None:
    wiring = ResidualWiring(wrap(language("llama"), tokenizer()))
    whole = FeatureExamples(wiring, INPUTS, "L1.mlp", SetCoefficient.of(feature("L1.mlp"), 2.0))
    found = eap(whole, metric)
    np.testing.assert_allclose(eap(whole.take(np.array([2, 0])), metric), found[[2, 0]], atol=1e-5)
    before = np.array([wiring.sources[source].layer < 4 for source, _ in wiring.edges])
    assert not found[:, before].any()
    assert np.abs(found[:, ~before]).max() > 1e-2


def test_what_cannot_be_answered_is_refused() -> None:
    model = wrap(language("gpt2"), tokenizer())
    wiring, cause = ResidualWiring(model), feature("L1.mlp")
    for site in ("L0.mlp", "L1.mlp"):
        with pytest.raises(InputError, match=f"{site} does not come after L1.mlp"):
            feature_effect(model, INPUTS, cause, feature(site), values=[1.0])
    with pytest.raises(InputError, match="0 values and 3 controls"):
        feature_effect(model, INPUTS, cause, metric, values=[])
    with pytest.raises(InputError, match="no token from position 4 on"):
        feature_effect(
            model, INPUTS, cause, feature("L2.mlp"), values=[1.0], where=Where(first_position=4)
        )
    with pytest.raises(InputError, match=r"input 0 is longer than the network takes"):
        feature_effect(model, [[3] * 100], cause, metric, values=[1.0])
    for site in ("L1.resid_post", "L1.head1"):
        there = Feature(
            dictionary=RandomDirections(
                torch.eye(16), torch.zeros(16), Provenance("random", site=site)
            ),
            index=0,
        )
        with pytest.raises(InputError, match=f"'{site}' does not act through one MLP"):
            feature_paths(wiring, INPUTS, there, metric, value=1.0)
    with pytest.raises(InputError, match=r"unknown site 'L7\.mlp'"):
        feature_paths(wiring, INPUTS, feature("L7.mlp"), metric, value=1.0)
    with pytest.raises(InputError, match="with 0 controls"):
        feature_paths(wiring, INPUTS, cause, metric, value=1.0, controls=0)
    assert AFTER_FIRST.first_position == 1
