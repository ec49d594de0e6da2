"""Networks written by hand that do a task, each with inputs beside counterfactuals: induction, and
two compiled programs.

The programs are in the spirit of RASP (Weiss, Goldberg & Yahav 2021): one-hot variables in
subspaces of the stream of their own, selections as sharp attention, tables as MLPs.
"""

from dataclasses import dataclass

import torch
from circuits import Attention, Block, Circuit, Layout, Mlp, write_head
from jaxtyping import Float, Int
from torch import Tensor

# Induction: "… A B … A" is followed by B.

VOCABULARY, LENGTH = 12, 9
SOFT, SHARP = 3.0, 30.0
"""Scores of the attended position above the others: attention of about .6, and of 1 to the last bit
of a float32.
"""


def induction(sharpness: float, *, copies: int = 1) -> Circuit:
    """Two attention layers: `L0.head0` finds each token's predecessor, `L1.head0` what followed the
    last token the time before.

    The other heads: `L0.head1` and `L1.head1` attend as these two do, but write nothing (dead);
    `L0.head2` and `L1.head2` write tokens to a subspace that nothing reads. With two `copies` of
    the induction head each writes half, the second as `L1.head3`.
    """
    layout = Layout(
        {
            "token": VOCABULARY,
            "position": LENGTH,
            "previous": VOCABULARY,
            "output": VOCABULARY,
            "unread": VOCABULARY,
        }
    )
    tokens, positions = torch.zeros(VOCABULARY, layout.width), torch.zeros(LENGTH, layout.width)
    tokens[:, layout["token"]], positions[:, layout["position"]] = (
        torch.eye(VOCABULARY),
        torch.eye(LENGTH),
    )
    first, second = (Attention(layout.width, heads, VOCABULARY) for heads in (3, 2 + copies))
    identity, before = torch.eye(VOCABULARY), torch.zeros(VOCABULARY, LENGTH)
    # The query of position i is the one-hot of i − 1.
    before[torch.arange(LENGTH - 1), torch.arange(1, LENGTH)] = 1.0
    place = torch.eye(VOCABULARY)[:, :LENGTH]
    for head, output in enumerate(
        (("previous", identity), ("unread", 0 * identity), ("unread", identity))
    ):
        turned = sharpness * before
        write_head(
            first,
            head,
            layout,
            query=("position", turned),
            key=("position", place),
            value=("token", identity),
            output=output,
        )
    outputs = [
        ("output", identity / copies),
        ("unread", 0 * identity),
        ("unread", identity),
        ("output", identity / copies),
    ]
    for head in range(2 + copies):
        turned = sharpness * identity
        write_head(
            second,
            head,
            layout,
            query=("token", turned),
            key=("previous", identity),
            value=("token", identity),
            output=outputs[head],
        )
    module = Circuit(tokens, positions, [Block(first, None), Block(second, None)], VOCABULARY)
    return _with_outputs(module, layout["output"], identity)


@dataclass(frozen=True)
class Contrast:
    """Inputs beside their counterfactuals, with the right answer to each; a `wrong` of −1 is none
    (the output is the number itself).
    """

    inputs: Int[Tensor, "row position"]
    others: Int[Tensor, "row position"]
    right: Int[Tensor, " row"]
    wrong: Int[Tensor, " row"]

    def metric(
        self, output: Float[Tensor, "case out"], rows: Int[Tensor, " case"]
    ) -> Float[Tensor, " case"]:
        """Logit of the right answer minus that of the counterfactual's (of the former alone, where
        there is no other).
        """
        cases, wrong = torch.arange(len(rows)), self.wrong[rows]
        return output[cases, self.right[rows]] - torch.where(
            wrong >= 0, output[cases, wrong.clamp(min=0)], 0.0
        )


def repeats(rows: int = 12, seed: int = 0) -> Contrast:
    """`… A B … C D … A` and three kinds of counterfactuals of the same length, in turn: the last
    token is C; A and C change places; B and D do. Each has D for an answer, and each is due to
    another edge (a query's, a key's, a value's).
    """
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.stack(
        [torch.randperm(VOCABULARY, generator=generator)[:LENGTH] for _ in range(rows)]
    )
    first = torch.stack([torch.randperm(3, generator=generator)[:2] for _ in range(rows)])
    # Pairs start at two of the places 1, 3, 5, so that neither overlaps the other or the last
    # token.
    a, c = 2 * first[:, 0] + 1, 2 * first[:, 1] + 1
    every = torch.arange(rows)
    inputs[every, LENGTH - 1] = inputs[every, a]
    others = inputs.clone()
    for row in range(rows):
        here, there = int(a[row]), int(c[row])
        if row % 3 == 0:
            others[row, LENGTH - 1] = inputs[row, there]
        else:
            shift = row % 3 - 1
            others[row, [here + shift, there + shift]] = inputs[row, [there + shift, here + shift]]
    return Contrast(inputs, others, inputs[every, a + 1], inputs[every, c + 1])


# Reverse: BOS x1 … xn pad … ?j, answered by x(n + 1 − j).

LETTERS, LONGEST = 4, 5
PAD, BOS, ASK = LETTERS, LETTERS + 1, LETTERS + 2
"""Tokens: the letters, padding, the beginning, and from `ASK` on the questions for the first,
second, … letter of the reversed word.
"""


def reverse(sharpness: float = 40.0) -> Circuit:
    """Three layers, at the question: `L0.head0` averages over BOS and the letters whether a token
    is BOS, 1/(1 + n); `L0.mlp` turns that into the length, one-hot; `L1.mlp` looks up the place n +
    1 − j; `L2.head0` fetches the letter from there.

    `L1.head0` averages the letters into a subspace that nothing reads; `L0.head1`, `L2.head1`
    attend and write nothing.
    """
    layout = Layout(
        {
            "letter": LETTERS,
            "kind": 4,
            "ask": LONGEST,
            "position": LONGEST + 2,
            "share": 1,
            "length": LONGEST,
            "place": LONGEST + 2,
        }
        | {"output": LETTERS, "unread": LETTERS}
    )
    one, bos, word, asked = torch.eye(4)
    tokens = torch.zeros(ASK + LONGEST, layout.width)
    tokens[:LETTERS, layout["letter"]], tokens[ASK:, layout["ask"]] = (
        torch.eye(LETTERS),
        torch.eye(LONGEST),
    )
    tokens[:, layout["kind"]] = one
    tokens[BOS, layout["kind"]] += bos + word
    tokens[:LETTERS, layout["kind"]] += word
    tokens[ASK:, layout["kind"]] += asked
    positions = torch.zeros(LONGEST + 2, layout.width)
    positions[:, layout["position"]] = torch.eye(LONGEST + 2)
    inner = LONGEST + 2
    attentions = [Attention(layout.width, heads, inner) for heads in (2, 1, 2)]
    letters, places = torch.eye(LETTERS), torch.eye(LONGEST + 2)
    of_words = {"query": ("kind", sharpness * one[None]), "key": ("kind", word[None])}
    write_head(
        attentions[0],
        0,
        layout,
        **of_words,
        value=("kind", bos[None]),
        output=("share", torch.ones(1, 1)),
    )
    write_head(
        attentions[0],
        1,
        layout,
        **of_words,
        value=("letter", letters),
        output=("unread", 0 * letters),
    )
    write_head(
        attentions[1], 0, layout, **of_words, value=("letter", letters), output=("unread", letters)
    )
    fetch = {
        "query": ("place", sharpness * places),
        "key": ("position", places),
        "value": ("letter", letters),
    }
    write_head(attentions[2], 0, layout, **fetch, output=("output", letters))
    write_head(attentions[2], 1, layout, **fetch, output=("unread", 0 * letters))
    blocks = [
        Block(attentions[0], _length(layout)),
        Block(attentions[1], _place(layout)),
        Block(attentions[2], None),
    ]
    return _with_outputs(Circuit(tokens, positions, blocks, LETTERS), layout["output"], letters)


@torch.no_grad()
def _length(layout: Layout) -> Mlp:
    """`share` = 1/(1 + n) to n one-hot: for each border between two lengths a ramp (two neurons),
    an indicator their difference.
    """
    borders = torch.tensor([1 / (length + 1.5) for length in range(LONGEST + 1)])
    mlp, steep = Mlp(layout.width, 2 * len(borders)), 200.0
    share, length = layout["share"], layout["length"]
    for number, border in enumerate(borders):
        # relu(s(x − b) + 1/2) − relu(s(x − b) − 1/2) is 0 below and 1 above the border.
        for upper in range(2):
            neuron = 2 * number + upper
            mlp.into.weight[neuron, share] = steep
            mlp.into.bias[neuron] = -steep * border + 0.5 - upper
            sign = 1.0 - 2 * upper
            # Above border `number` the length is at most `number`.
            if number > 0:
                mlp.out.weight[length.start + number - 1, neuron] += sign
            if number < LONGEST:
                mlp.out.weight[length.start + number, neuron] -= sign
    return mlp


@torch.no_grad()
def _place(layout: Layout) -> Mlp:
    """Length n and question j, one-hot, to the place n + 1 − j, one-hot: a neuron for every
    pair.
    """
    mlp = Mlp(layout.width, LONGEST * LONGEST)
    for n in range(1, LONGEST + 1):
        for j in range(1, n + 1):
            neuron = (n - 1) * LONGEST + j - 1
            mlp.into.weight[neuron, layout["length"].start + n - 1] = 1.0
            mlp.into.weight[neuron, layout["ask"].start + j - 1] = 1.0
            mlp.into.bias[neuron] = -1.0
            mlp.out.weight[layout["place"].start + n + 1 - j, neuron] = 1.0
    return mlp


def question(word: tuple[int, ...], j: int) -> list[int]:
    """A word of up to `LONGEST` letters and the question for letter j (from 1) of it reversed."""
    return [BOS, *word, *(PAD,) * (LONGEST - len(word)), ASK + j - 1]


def reversals(rows: int = 24, seed: int = 0) -> Contrast:
    """Questions beside others that differ in everything at random; the answers differ."""
    generator = torch.Generator().manual_seed(seed)

    def drawn(below: int) -> int:
        return int(torch.randint(below, (1,), generator=generator))

    pairs: list[tuple[list[int], int, list[int], int]] = []
    while len(pairs) < rows:
        asked = []
        for _ in range(2):
            word = tuple(drawn(LETTERS) for _ in range(1 + drawn(LONGEST)))
            j = 1 + drawn(len(word))
            asked.append((question(word, j), word[len(word) - j]))
        (here, right), (there, wrong) = asked
        if right != wrong:
            pairs.append((here, right, there, wrong))
    here, right, there, wrong = (torch.tensor(part) for part in zip(*pairs, strict=True))
    return Contrast(here, there, right, wrong)


# The share of previous tokens (the present one included) that are MARKED, after BOS.

MARKED, KINDS, STRETCH = 0, 4, 6
START = KINDS


def fraction(sharpness: float = 40.0) -> Circuit:
    """`L0.mlp` says of each token whether it is marked; `L1.head0` averages that over all tokens
    but BOS.

    `L0.head0` averages tokens, and `L1.mlp` counts marked ones, into a subspace that nothing reads;
    `L1.head1` is dead.
    """
    layout = Layout({"token": KINDS + 1, "one": 1, "marked": 1, "output": 1, "unread": KINDS + 1})
    tokens, positions = torch.zeros(KINDS + 1, layout.width), torch.zeros(STRETCH + 1, layout.width)
    tokens[:, layout["token"]], tokens[:, layout["one"]] = torch.eye(KINDS + 1), 1.0
    ones, every = torch.ones(1, 1), torch.eye(KINDS + 1)
    words = 1 - every[START]
    first, second = (Attention(layout.width, heads, KINDS + 1) for heads in (1, 2))
    of_words = {"query": ("one", sharpness * ones), "key": ("token", words[None])}
    write_head(first, 0, layout, **of_words, value=("token", every), output=("unread", every))
    write_head(second, 0, layout, **of_words, value=("marked", ones), output=("output", ones))
    write_head(second, 1, layout, **of_words, value=("marked", ones), output=("output", 0 * ones))
    mark, count = Mlp(layout.width, 1), Mlp(layout.width, 1)
    with torch.no_grad():
        for mlp, place in ((mark, layout["marked"]), (count, layout["unread"])):
            mlp.into.weight[0, layout["token"].start + MARKED] = 1.0
            mlp.out.weight[place.start, 0] = 1.0
    return _with_outputs(
        Circuit(tokens, positions, [Block(first, mark), Block(second, count)], 1),
        layout["output"],
        ones,
    )


def fractions(rows: int = 16, seed: int = 0) -> Contrast:
    """Sequences beside independent ones with another share of marked tokens."""
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randint(KINDS, (8 * rows, 2, STRETCH), generator=generator)
    counts = (drawn == MARKED).sum(-1)
    drawn = drawn[counts[:, 0] != counts[:, 1]][:rows]
    begun = torch.cat([torch.full((rows, 2, 1), START), drawn], dim=-1)
    return Contrast(
        begun[:, 0], begun[:, 1], torch.zeros(rows, dtype=torch.long), torch.full((rows,), -1)
    )


@torch.no_grad()
def _with_outputs(module: Circuit, place: slice, matrix: Float[Tensor, "out size"]) -> Circuit:
    module.unembed.weight[:, place] = matrix
    return module
