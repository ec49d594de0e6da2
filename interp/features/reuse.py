"""Reuse: neurons that several features share, and how amplifying them changes the next token."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from interp.capture import Add, Batch, Model, Prepared, intervene
from interp.core import InputError, Score, bootstrap_mean
from interp.decompose.dictionary import Dictionary


@dataclass(frozen=True, eq=False)
class FamilyNeurons:
    """The neurons of some features: `core [neuron]` are used by all of them with one sign, `opposed
    [neuron]` by all but not with one sign, `exclusive[feature] [neuron]` by that feature alone.
    """

    core: Int[Tensor, " core"]
    opposed: Int[Tensor, " opposed"]
    exclusive: Mapping[int, Int[Tensor, " own"]]


@dataclass(frozen=True, eq=False)
class Amplification:
    """How adding to some neurons changed the logits of some tokens at the end of prompts.

    `change[token]` is the mean over prompts, its control the mean over draws of as many random
    neurons; `draws [draw, token]` holds each draw's mean, `percentile[token]` the per cent of draws
    below the change.
    """

    change: Mapping[str, Score]
    draws: Float[np.ndarray, "draw token"]
    percentile: Mapping[str, float]


@runtime_checkable
class NextToken(Model, Protocol):
    """A language model that gives the log-probabilities of the next token."""

    tokenizer: Any

    def prepare(
        self, inputs: Any, batch_size: int | None = None, *, padding: Any = ...
    ) -> Prepared: ...

    def next_token_logprobs(self, batch: Batch) -> Tensor: ...


def neuron_reuse(
    dictionary: Dictionary, *, same_sign: bool = False
) -> Int[Tensor, "feature feature"]:
    """How many neurons each pair of features shares; on the diagonal, how many each feature uses.

    Definition: `support @ supportᵀ` with `support` the non-zero entries of the directions; with
    `same_sign` only neurons that both use with one sign count. Without it every count of a dense
    dictionary is d.

    Source: Shafran, Geiger & Geva 2025 (arXiv 2506.10920), without signs. Cost: `feature²·d`.

    Example:
        >>> neuron_reuse(snmf)[3, 7], neuron_reuse(snmf, same_sign=True)[3, 7]
    """
    # float64 counts exactly, and is a matrix product that every device has.
    signs = dictionary.directions.sign().double()
    shared = signs.abs() @ signs.abs().T
    if same_sign:
        shared = (shared + signs @ signs.T) / 2
    return shared.round().long()


def family_neurons(dictionary: Dictionary, family: Sequence[int]) -> FamilyNeurons:
    """The neurons that all features of a family use, with one sign or not, and for each feature
    those that no other of the family uses.

    Neurons of both signs are separate, because features at opposite ends of a scale can share them,
    and amplifying them means nothing for the family.

    Raises:
        InputError: there are fewer than two features, one is named twice, or one does not exist.

    Source: Shafran, Geiger & Geva 2025 (arXiv 2506.10920), there for the weekdays and without
    signs.

    Example:
        >>> family_neurons(snmf, [3, 7, 12]).core
    """
    unknown = set(family) - set(range(len(dictionary)))
    if len(family) < 2 or len(set(family)) < len(family) or unknown:
        raise InputError(
            f"the family is {list(family)}; expected at least two different features of 0 to "
            f"{len(dictionary) - 1}"
        )
    signs = dictionary.directions[list(family)].sign()
    users = (signs != 0).sum(dim=0)
    by_all, agreed = users == len(family), signs.sum(dim=0).abs() == len(family)
    own = {
        feature: torch.nonzero((row != 0) & (users == 1))[:, 0]
        for feature, row in zip(family, signs, strict=True)
    }
    return FamilyNeurons(torch.nonzero(agreed)[:, 0], torch.nonzero(by_all & ~agreed)[:, 0], own)


@torch.no_grad()
def amplify_neurons(
    model: NextToken,
    site: str,
    neurons: Int[Tensor, " neuron"],
    values: Float[Tensor, " value"],
    factor: float,
    prompts: Sequence[str],
    tokens: Sequence[str],
    *,
    spared: Int[Tensor, " spared"] | None = None,
    draws: int = 40,
    seed: int = 0,
) -> Amplification:
    """Add to some neurons while the model reads prompts, and measure how the logits of some next
    tokens change.

    Every token gets `factor · values / ‖values‖` at the neurons. The change is that of a logit
    minus the vocabulary's mean logit, which no softmax sees. The control adds the same values,
    permuted, to as many random other neurons.

    Args:
        site: of the neurons; an MLP's for a dictionary of MLP activations.
        values: what to add to each neuron before scaling, as in the family's mean direction
            (`directions[family].mean(0)`).
        factor: the length of what is added, in units of the activations.
        tokens: each one token of the vocabulary, with its leading space if any.
        spared: neurons that the control leaves out too, as all of the family's.
        draws: number of controls.

    Raises:
        InputError: a text is not one token, a neuron does not exist or is named twice, values do
            not fit or are all zero, or too few neurons are left for the control.

    Source: Shafran, Geiger & Geva 2025 (arXiv 2506.10920); the random neurons are ours. Cost:
    `draws + 2` forward passes over the prompts.

    Example:
        >>> core = family_neurons(snmf, days).core
        >>> values = snmf.directions[days].mean(0)[core]
        >>> amplify_neurons(
        ...     model, "L5.mlp", core, values, 8.0, ["The meeting is on"], [" Monday", " Tuesday"]
        ... ).change[" Monday"]
    """
    ids = _token_ids(model, tokens)
    added = _scaled(neurons, values, factor)
    prepared = model.prepare(list(prompts), padding="left")
    width = _width(model, site)
    others = _others(neurons, spared, width, draws)
    plain = _logits(model, prepared, ids)

    def change(where: Tensor, what: Tensor) -> np.ndarray:
        vector = torch.zeros(width).index_put((where,), what)
        with intervene(model, {site: Add(vector)}):
            changed: np.ndarray = _logits(model, prepared, ids) - plain
        return changed

    own = change(neurons.cpu(), added)
    generator = torch.Generator().manual_seed(seed)
    random = np.empty((draws, len(tokens)))
    for draw in range(draws):
        elsewhere = others[torch.randperm(len(others), generator=generator)[: len(neurons)]]
        permuted = added[torch.randperm(len(added), generator=generator)]
        random[draw] = change(elsewhere, permuted).mean(axis=0)
    scores, above = {}, {}
    for token, changed, by_chance in zip(tokens, own.T, random.T, strict=True):
        score = bootstrap_mean(changed, seed=seed, control=float(by_chance.mean()))
        scores[token] = score
        above[token] = 100 * int((by_chance < score.value).sum()) / draws
    return Amplification(scores, random, above)


def _token_ids(model: NextToken, tokens: Sequence[str]) -> list[int]:
    if model.tokenizer is None:
        raise InputError(
            "this model was wrapped without a tokenizer and knows no tokens by name; use "
            "wrap(module, tokenizer)"
        )
    if not tokens:
        raise InputError("no token was given whose logit should be watched; name at least one")
    ids = []
    for token in tokens:
        found = model.tokenizer(token, add_special_tokens=False)["input_ids"]
        if len(found) != 1:
            raise InputError(
                f"{token!r} is {len(found)} tokens of this model's vocabulary, expected one; try "
                "it with a leading space"
            )
        ids.append(int(found[0]))
    return ids


def _scaled(
    neurons: Int[Tensor, " neuron"], values: Tensor, factor: float
) -> Float[Tensor, " neuron"]:
    if len(neurons) == 0 or values.shape != neurons.shape:
        raise InputError(
            f"{len(neurons)} neurons were given with values of shape {tuple(values.shape)}; give "
            "one value for each of some"
        )
    length = float(values.norm())
    if not length > 0:
        raise InputError(
            "the values are all zero, so nothing would be added; give the family's mean direction "
            "at the neurons"
        )
    return factor * values.detach().float().cpu() / length


def _width(model: NextToken, site: str) -> int:
    width = model.sites.width(model.sites.resolve(site))
    if not width:
        raise InputError(f"the width of {site!r} is not known; use a site of a language model")
    return width


def _others(
    neurons: Int[Tensor, " neuron"], spared: Tensor | None, width: int, draws: int
) -> Int[Tensor, " other"]:
    own = neurons.cpu()
    if len(set(own.tolist())) < len(own) or int(own.min()) < 0 or int(own.max()) >= width:
        raise InputError(f"neurons are {own.tolist()}; expected different ones of 0 to {width - 1}")
    if draws < 20:
        raise InputError(f"draws is {draws}; expected at least 20, or the percentile says nothing")
    free = torch.ones(width, dtype=torch.bool)
    free[own] = False
    if spared is not None:
        free[spared.cpu()] = False
    if int(free.sum()) < len(own):
        raise InputError(
            f"{int(free.sum())} neurons are left for a control of {len(own)}; amplify fewer neurons"
        )
    return torch.nonzero(free)[:, 0]


def _logits(
    model: NextToken, prepared: Prepared, ids: Sequence[int]
) -> Float[np.ndarray, "prompt token"]:
    """The tokens' logits after each prompt, above the vocabulary's mean."""
    found = np.empty((len(prepared.items), len(ids)))
    for batch in prepared.batches:
        logprobs = model.next_token_logprobs(batch)
        centred = logprobs - logprobs.mean(dim=1, keepdim=True)
        found[batch.items] = centred[:, list(ids)].cpu().numpy()
    return found
