"""Two compiled programs: they do what they say on every input, and the methods that measure find
their edges.
"""

import itertools

import numpy as np
import pytest
import torch
from edge_by_edge import VALUES, measured, truth
from written_networks import (
    ASK,
    KINDS,
    LETTERS,
    LONGEST,
    MARKED,
    START,
    STRETCH,
    fraction,
    fractions,
    question,
    reversals,
    reverse,
)

from interp.causal import Method
from interp.detection.auroc import auroc_many

PROGRAMS = {"reverse": (reverse, reversals), "fraction": (fraction, fractions)}


def test_reverse_answers_every_question_about_every_word() -> None:
    asked, answers = [], []
    for length in range(1, LONGEST + 1):
        for word in itertools.product(range(LETTERS), repeat=length):
            for place, letter in enumerate(reversed(word)):
                asked.append(question(word, place + 1))
                answers.append(letter)
    assert len(asked) == sum(length * LETTERS**length for length in range(1, LONGEST + 1))
    assert max(max(row) for row in asked) == ASK + LONGEST - 1
    with torch.no_grad():
        found = reverse()(torch.tensor(asked))[:, -1]
    torch.testing.assert_close(found, torch.eye(LETTERS)[answers])


def test_fraction_is_right_for_every_sequence_at_every_place() -> None:
    words = torch.tensor(list(itertools.product(range(KINDS), repeat=STRETCH)))
    with torch.no_grad():
        found = fraction()(torch.cat([torch.full((len(words), 1), START), words], dim=1))[:, 1:, 0]
    torch.testing.assert_close(
        found, (words == MARKED).float().cumsum(1) / torch.arange(1, STRETCH + 1)
    )


@pytest.mark.parametrize("value", VALUES)
@pytest.mark.parametrize("method", ["exact", "acdc"])
@pytest.mark.parametrize("program", PROGRAMS)
def test_measuring_recovers_the_programs_edges(program: str, method: Method, value: str) -> None:
    module, data = (make() for make in PROGRAMS[program])
    true = truth(module, data, value)
    graph = measured(module, data, method, value)
    assert auroc_many(np.abs(graph.effects)[:, None], true.edges)[0] >= 0.99
    if method == "acdc" and value in ("resample", "zero", "mean"):
        np.testing.assert_array_equal(graph.kept, true.edges)


@pytest.mark.parametrize("program", PROGRAMS)
def test_parts_the_program_does_not_use_have_no_edges(program: str) -> None:
    module, data = (make() for make in PROGRAMS[program])
    true = truth(module, data, "zero")
    real = [edge for edge, there in zip(true.names, true.edges, strict=True) if there]
    written = {source for source, _ in real} - {"embed"}
    read = {port.rpartition(".")[0] for _, port in real} - {""}
    # Every part of the program is read and reads; the others neither.
    assert written == read
    idle = {
        "reverse": {"L0.head1", "L1.head0", "L2.head1"},
        "fraction": {"L0.head0", "L1.head1", "L1.mlp"},
    }[program]
    assert written == {source for source, _ in true.names} - {"embed"} - idle


def test_the_wrong_order_is_not_found() -> None:
    """The control: a ranking by chance is far from the bar."""
    true = truth(reverse(), reversals(), "zero")
    drawn = np.random.default_rng(0).random((len(true.edges), 200))
    assert np.quantile(auroc_many(drawn, true.edges), 0.99) < 0.8
