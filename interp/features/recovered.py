"""How much of a network's loss a dictionary's reconstruction of a site recovers."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol, get_args, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from interp.capture import Batch, Call, Hook, Model, Prepared, TokenSelection
from interp.core import InputError, Progress, Score, bootstrap_cases, silent
from interp.core.display.markup import block, facts, numeral, table
from interp.core.display.scores import axis_note, score_cells
from interp.core.names import require_known
from interp.decompose.dictionary import Dictionary

Ablation = Literal["zero", "mean"]
Change = Callable[[Float[Tensor, "row d"]], Float[Tensor, "row d"]]


@runtime_checkable
class Predicting(Model, Protocol):
    """A network that says how probable each token was."""

    def token_logprobs(self, batch: Batch) -> Tensor: ...


@dataclass(frozen=True, kw_only=True)
class LossRecovered:
    """How much of the loss a dictionary recovers at a site.

    `recovered` is a Score over texts: 1 if the reconstruction does as well as the activations, 0 if
    no better than the ablation; its control permutes coefficients among tokens. The losses are mean
    cross-entropies in nats per predicted token: of the network as it is, with the reconstruction,
    the control and the ablation.
    """

    recovered: Score
    original: float
    reconstructed: float
    shuffled: float
    ablated: float
    site: str
    ablation: str
    n_tokens: int
    selection: str

    def _repr_html_(self) -> str:
        (cell,) = score_cells([self.recovered])
        rows = [("recovered", cell, self.recovered.n)]
        score = table(("", "score", "texts"), rows, caption=axis_note([self.recovered]))
        losses = [
            ("as it is", numeral(self.original)),
            ("reconstructed", numeral(self.reconstructed)),
            ("shuffled (control)", numeral(self.shuffled)),
            (f"ablated ({self.ablation})", numeral(self.ablated)),
        ]
        caption = "Mean cross-entropy in nats per predicted token"
        body = table(("site holds", "loss"), losses, caption=caption, muted={2})
        named = facts([("tokens", f"{self.n_tokens:,}"), ("selection", self.selection)])
        return block("Loss recovered", score, body, named, name=self.site)


def loss_recovered(
    model: Model,
    dictionary: Dictionary,
    inputs: Any,
    *,
    site: str | None = None,
    ablation: Ablation = "zero",
    selection: TokenSelection = TokenSelection(),  # noqa: B008 - frozen
    batch_size: int | None = None,
    seed: int = 0,
    progress: Progress = silent,
) -> LossRecovered:
    """Replace a site's activations by a dictionary's reconstruction and measure the model's loss.

    `recovered = Σ (CE_ablated − CE_reconstructed) / Σ (CE_ablated − CE_original)`, summed and
    bootstrapped over texts. Tokens that `selection` leaves out (by default the first position and
    special tokens) keep their activations throughout.

    Args:
        inputs: texts, chats or token ids.
        site: default: the dictionary's.
        ablation: zero (as SAEBench), or the mean of the selected rows of these inputs.

    Raises:
        InputError: the site does not exist or has another width, the model is no language model, no
            token is selected, or the ablation does not raise the loss.

    Source: Karvonen et al. 2025 (SAEBench, arXiv 2503.09532), section 3. Cost: four forward passes
    over the inputs.

    Example:
        >>> loss_recovered(model, sae, held_out_texts).recovered
    """
    require_known("ablation", ablation, get_args(Ablation))
    if not isinstance(model, Predicting):
        raise InputError(
            f"{type(model).__name__} predicts no tokens; the loss recovered is measured on "
            "language models"
        )
    place = _site(model, dictionary, site)
    prepared = model.prepare(inputs, batch_size)
    gathered = _Sum(dictionary.directions.shape[1])
    generator = torch.Generator().manual_seed(seed)
    losses, counts = {}, np.zeros(len(prepared.items))
    changes: dict[str, Change] = {
        "original": gathered.add,
        "reconstructed": lambda rows: dictionary.decode(dictionary.encode(rows)),
        "shuffled": lambda rows: dictionary.decode(_shuffled(dictionary.encode(rows), generator)),
        "ablated": lambda rows: (
            gathered.mean() if ablation == "mean" else torch.zeros_like(gathered.total)
        ).expand_as(rows),
    }
    for number, (name, change) in enumerate(changes.items()):
        losses[name], counts = _losses(model, prepared, place, change, selection)
        progress("loss recovered", number + 1, len(changes), "pass")
    if not gathered.count:
        raise InputError(
            f"no token is selected ({selection}); give longer texts or another TokenSelection"
        )
    means = {name: float(own.sum() / counts.sum()) for name, own in losses.items()}
    return LossRecovered(
        recovered=_recovered(losses, seed),
        **means,
        site=place,
        ablation=ablation,
        n_tokens=int(counts.sum()),
        selection=str(selection),
    )


class _Sum:
    """A running sum of rows."""

    def __init__(self, width: int) -> None:
        self.total, self.count = torch.zeros(width, dtype=torch.float64), 0

    def add(self, rows: Float[Tensor, "row d"]) -> Float[Tensor, "row d"]:
        self.total = self.total + rows.sum(dim=0, dtype=torch.float64).cpu()
        self.count += len(rows)
        return rows

    def mean(self) -> Float[Tensor, " d"]:
        return self.total / max(1, self.count)


def _site(model: Predicting, dictionary: Dictionary, site: str | None) -> str:
    wanted = site or dictionary.site
    if not wanted:
        raise InputError(
            "the dictionary was fitted to a bare tensor and names no site; say which with site="
        )
    name = model.sites.resolve(wanted)
    width, own = model.sites.width(name), dictionary.directions.shape[1]
    if width and width != own:
        raise InputError(
            f"{name} is {width} wide, the dictionary {own}; give a dictionary of that site and "
            "model"
        )
    return name


def _shuffled(
    coefficients: Float[Tensor, "row feature"], generator: torch.Generator
) -> Float[Tensor, "row feature"]:
    order = torch.randperm(len(coefficients), generator=generator)
    return coefficients[order.to(coefficients.device)]


def _losses(
    model: Predicting, prepared: Prepared, site: str, change: Change, selection: TokenSelection
) -> tuple[Float[np.ndarray, " text"], Float[np.ndarray, " text"]]:
    """Every text's summed negative log-probability, and its number of predicted tokens."""
    total, count = np.zeros(len(prepared.items)), np.zeros(len(prepared.items))
    for batch in prepared.batches:
        with model.hooked({site: _changing(batch, change, selection)}):
            own = -model.token_logprobs(batch).double().cpu().numpy()
        assert batch.keep is not None
        keep = batch.keep.cpu().numpy()
        np.add.at(total, batch.items, own.sum(axis=1))
        np.add.at(count, batch.items, (keep[:, 1:] & keep[:, :-1]).sum(axis=1))
    return total, count


def _changing(batch: Batch, change: Change, selection: TokenSelection) -> Hook:
    def hook(value: Tensor, call: Call) -> Tensor | None:
        if call.positions is None or value.ndim != 3:
            raise InputError(
                f"{call.site} holds a value of shape {tuple(value.shape)}; choose a site with a "
                "row per token"
            )
        mask = selection.mask(batch, call.positions)
        if not bool(mask.any()):
            return None
        changed = value.clone()
        changed[mask] = change(value[mask].float()).to(value)
        return changed

    return hook


def _recovered(losses: dict[str, Float[np.ndarray, " text"]], seed: int) -> Score:
    gap = losses["ablated"] - losses["original"]
    recovered = losses["ablated"] - losses["reconstructed"]
    by_chance = losses["ablated"] - losses["shuffled"]
    if gap.sum() <= 0:
        raise InputError(
            f"ablating the site changes the summed loss by {gap.sum():.3g} nats, so there is "
            "nothing to recover; choose another site, the other ablation, or more texts"
        )

    def share(drawn: Int[np.ndarray, "*draw text"]) -> np.ndarray:
        lost = gap[drawn].sum(axis=-1)
        safe = np.where(lost == 0, np.finfo(float).tiny, lost)
        return np.asarray(recovered[drawn].sum(axis=-1) / safe)

    control = float(by_chance.sum() / gap.sum())
    return bootstrap_cases(len(gap), share, seed=seed, control=control)
