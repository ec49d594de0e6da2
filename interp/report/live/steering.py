"""Steering on request: a report's directions, a loaded model, and the strengths found so far."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from interp.core import InputError
from interp.models.adapters.decoding import Sampling
from interp.models.adapters.transformer import TransformerModel
from interp.models.protocol import Call
from interp.report.data.records import Model
from interp.report.live.directions import Directions, Route
from interp.report.live.queue import Check
from interp.report.live.request import LADDER, SteerRequest
from interp.steering.adding import PROMPTS
from interp.steering.generation import Cell, continuations
from interp.steering.strengths import calibrate, steering_kl


@dataclass(frozen=True)
class Strength:
    """A multiple of a direction, its measured divergence, and whether that is the requested one."""

    alpha: float
    kl: float
    reached: bool


class LiveSteering:
    """Continues prompts with and without a feature of a report; only one thread may use it.

    Strength in KL is that of `interp.steer`: the divergence of the next-token distribution, mean
    over the report's selection prompts. It is calibrated once per feature, route and sign, for the
    whole ladder.

    Raises:
        InputError: the report is of another model's weights, or the model has no tokenizer.

    Cost: one cached forward call of two rows per new token; the first request for a feature, route
    and sign also up to about 30 short forward calls from the site on.
    """

    def __init__(self, directions: Directions, model: TransformerModel) -> None:
        _require_same_weights(directions.data.model, model)
        if model.tokenizer is None:
            raise InputError(
                f"{model.name} was wrapped without a tokenizer and cannot continue texts; use "
                "wrap(module, tokenizer)"
            )
        self.directions, self.model = directions, model
        self.prompts: tuple[str, ...] = directions.data.steering.prompts_selection or PROMPTS
        self._known: dict[tuple[str, Route, int], dict[float, Strength]] = {}

    @torch.no_grad()
    def __call__(self, request: SteerRequest, check: Check) -> dict[str, Any]:
        """The continuations with and without the feature, from the same random numbers.

        `check` is called at every step and may raise to stop.

        Raises:
            InputError: an unknown feature or route, or a prompt too long for the network.
        """
        start = time.perf_counter()
        site, direction = self.directions.of(request.feature, request.route)
        site = self.model.sites.resolve(site)
        self._require_room(request)
        strength = self._strength(request, site, direction, check)
        vector = request.sign * strength.alpha * direction
        steered, plain = self._texts(request, site, vector, check)
        return {
            "feature": request.feature,
            "route": request.route,
            "site": site,
            "sign": request.sign,
            "kl": request.kl,
            "alpha": strength.alpha,
            "measured_kl": strength.kl if math.isfinite(strength.kl) else None,
            "reached": strength.reached,
            "text": steered,
            "unsteered": plain,
            "seed": request.seed,
            "seconds": round(time.perf_counter() - start, 3),
        }

    def _require_room(self, request: SteerRequest) -> None:
        batch = self.model.prepare([request.prompt], padding="left").batches[0]
        tokens, longest = batch.inputs["input_ids"].shape[1], self.model.context_length
        if tokens + request.max_new_tokens > longest:
            raise InputError(
                f"the prompt has {tokens} tokens and {request.max_new_tokens} are to follow, but "
                f"the network takes {longest}; shorten it"
            )

    def _strength(
        self, request: SteerRequest, site: str, direction: Float[Tensor, " d"], check: Check
    ) -> Strength:
        check()
        if request.kl is None:
            assert request.alpha is not None
            vector = request.sign * request.alpha * direction
            return Strength(
                request.alpha,
                float(steering_kl(self.model, self.prompts, site, vector[None])),
                reached=True,
            )
        if request.kl == 0:
            return Strength(0.0, 0.0, reached=True)
        key = (request.feature, request.route, request.sign)
        if key not in self._known:
            self._known[key] = self._calibrated(site, request.sign * direction, check)
        return self._known[key][request.kl]

    def _calibrated(
        self, site: str, direction: Float[Tensor, " d"], check: Check
    ) -> dict[float, Strength]:
        targets = tuple(kl for kl in LADDER if kl > 0)
        found = calibrate(
            self.model, self.prompts, site, direction[None], targets, progress=lambda *_: check()
        )
        columns = (values[0].tolist() for values in (found.alpha, found.kl, found.reached))
        return dict(zip(targets, map(Strength, *columns), strict=True))

    def _texts(
        self, request: SteerRequest, site: str, vector: Float[Tensor, " d"], check: Check
    ) -> tuple[str, str]:
        """With the vector and without, in one batch."""
        cells = [_cell(site, one) for one in (vector, torch.zeros_like(vector))]
        with self.model.hooked({site: _watching(check)}):
            steered, plain = continuations(
                self.model, cells, [request.prompt], 1, _sampling(request), request.seed
            )
        return steered[0].text, plain[0].text


def _cell(site: str, vector: Float[Tensor, " d"]) -> Cell:
    return Cell(
        target=None,
        site=site,
        vector=vector,
        kl=math.nan,
        sign=1,
        alpha=math.nan,
        measured_kl=math.nan,
        reached=True,
    )


def _watching(check: Check) -> Callable[[Tensor, Call], Tensor]:
    """A hook that changes nothing but checks, at every token, whether to go on."""

    def hook(value: Tensor, call: Call) -> Tensor:
        check()
        return value

    return hook


def _sampling(request: SteerRequest) -> Sampling:
    if request.temperature == 0:
        return Sampling(request.max_new_tokens, top_k=1)
    return Sampling(request.max_new_tokens, top_p=request.top_p, temperature=request.temperature)


def _require_same_weights(described: Model, model: TransformerModel) -> None:
    expected = described.weight_hash
    if model.weight_hash != expected:
        raise InputError(
            f"{model.name} has weights {model.weight_hash[:12]}, the report is about "
            f"{described.name} with {str(expected)[:12]}; "
            "give the model that the report was made of"
        )
