"""show(): a strip of cards, what it holds, and what it says of what it leaves out."""

from dataclasses import replace

import pytest
import torch
from html_checks import ATTACK, SEEN, checked

import interp
from interp.core import InputError, Provenance
from interp.decompose import RandomDirections
from interp.features import Feature, FeatureContext, Strip, TokenEffect, show

WIDTH = 8


def features(count: int, text: str = " word") -> tuple[Feature, ...]:
    directions = torch.nn.functional.normalize(
        torch.eye(WIDTH).repeat(count // WIDTH + 1, 1)[:count], dim=1
    )
    dictionary = RandomDirections(
        directions, torch.zeros(WIDTH), Provenance("random", site="L1.mlp", seed=0)
    )
    context = FeatureContext((text,) * 31, tuple(i / 30 for i in range(31)), 15)
    effects = tuple(TokenEffect(text, float(20 - i)) for i in range(20))
    whole = Feature(
        dictionary=dictionary,
        index=0,
        firing_rate=0.125,
        contexts=(context,) * 25,
        promoted=effects,
        suppressed=tuple(replace(one, logit=-one.logit) for one in effects),
    )
    return tuple(
        replace(whole, index=i, label=f"label {i}", label_source="distinctive words")
        for i in range(count)
    )


def test_a_strip_holds_a_card_for_every_feature_and_can_be_reached_by_the_keyboard() -> None:
    page = checked(show(features(3))._repr_html_())
    cards = [
        value for tag, key, value in page.attributes if key == "class" and value == "interp-card"
    ]
    assert len(cards) == 3
    assert (page.named("role"), page.named("aria-label")) == (
        ["region"],
        ["Cards of 3 features; scroll sideways"],
    )
    assert page.named("tabindex") == ["0"]
    assert "shown" not in page.text
    for expected in (
        "random-2 L1.mlp",
        "label 2",
        "L1.mlp",
        "fires on 12.5% of rows",
        "neurons 1 of 8 (12.5%)",
        "' word' +20.000",
        "' word' −20.000",
    ):
        assert expected in page.text
    for rule in (
        "scroll-snap-type:x",
        "scroll-snap-align:start",
        "width:min(20rem,85vw)",
        "line-clamp",
    ):
        assert rule in page.styles


def test_what_is_cut_is_said() -> None:
    strip = show(features(100))
    page = checked(strip._repr_html_())
    assert "24 of 100 shown; interp.show(features[24:])" in page.text
    assert page.named("class").count("interp-card") == 24
    assert repr(strip).splitlines()[0].split() == ["random-0", "label", "0"]
    assert repr(strip).splitlines()[-1] == "24 of 100 shown; interp.show(features[24:])"
    assert len(repr(strip).splitlines()) == 25
    assert "2 of 3 shown; interp.show(features[2:])" in repr(show(features(3), count=2))


def test_one_feature_is_a_strip_of_one() -> None:
    (only,) = features(1)
    assert show(only) == show([only]) == Strip((only,), 24)
    assert interp.show is show
    assert repr(show(only)).split() == ["random-0", "label", "0"]


def test_a_card_shows_hostile_text_as_text() -> None:
    (only,) = features(1, ATTACK)
    page = checked(show(replace(only, label=ATTACK, concept=ATTACK))._repr_html_())
    assert page.text.count(SEEN) > 10


def test_nothing_to_show_is_refused() -> None:
    with pytest.raises(InputError, match="no features to show; give at least one"):
        show(())
    with pytest.raises(InputError, match="count is 0; show at least 1"):
        show(features(1), count=0)
