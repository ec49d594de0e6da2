"""steer(): add a feature's direction while a model runs."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from jaxtyping import Float
from torch import Tensor

from interp.capture import EVERYWHERE, Add, Where, intervene
from interp.core import InputError
from interp.features.feature import Feature
from interp.models.transformer import TransformerModel
from interp.steering.strengths import calibrate

PROMPTS = ("I think that", "The most important thing is", "Yesterday we talked about", "It seems to me that")


@contextmanager
def steer(
    model: TransformerModel,
    feature: Feature | Float[Tensor, " d"],
    *,
    kl: float | None = None,
    alpha: float | None = None,
    site: str | None = None,
    direction: Float[Tensor, " d_site"] | None = None,
    sign: int = 1,
    where: Where = EVERYWHERE,
    prompts: Sequence[str] = PROMPTS,
) -> Iterator[float]:
    """Add `sign · alpha · direction` at a site for the length of a `with` block; gives the alpha that is used.

    The strength is either `alpha`, a multiple of the unit direction, or `kl`, the divergence (nats) of the next-token distribution it causes, mean over
    `prompts`. The direction is the feature's own, or `direction` (its companion, say) at `site`.

    Raises:
        InputError: neither or both of `kl` and `alpha` are given, the site is missing or of another width, or no strength reaches `kl`.

    Cost: nothing with `alpha`; about 20 short forward passes per prompt with `kl`.

    Example:
        >>> with interp.steer(model, feature, kl=0.5, site="L20.resid_post", direction=companion):
        ...     model.generate("I think that", max_new_tokens=50)
    """
    if (kl is None) == (alpha is None):
        raise InputError(f"give either kl or alpha, got kl={kl} and alpha={alpha}")
    if sign not in (1, -1):
        raise InputError(f"sign is 1 or -1, got {sign}")
    vector, place = _vector(feature, direction, site)
    strength = alpha if alpha is not None else _strength(model, prompts, place, sign * vector, float(kl or 0.0))
    with intervene(model, {place: Add(sign * strength * vector, where)}):
        yield strength


def _vector(feature: Feature | Tensor, direction: Tensor | None, site: str | None) -> tuple[Tensor, str]:
    own = feature.direction if isinstance(feature, Feature) else feature
    place = site or (feature.site if isinstance(feature, Feature) else None)
    if place is None:
        raise InputError("a bare direction needs a site; give site=…")
    if isinstance(feature, Feature) and direction is None and place != feature.site:
        raise InputError(
            f"the feature's direction lives at {feature.site}, not {place}; give direction=interp.companion(feature, acts, {place!r})"
        )
    vector = own if direction is None else direction
    return torch.nn.functional.normalize(vector.float(), dim=0), place


def _strength(model: TransformerModel, prompts: Sequence[str], site: str, vector: Tensor, kl: float) -> float:
    found = calibrate(model, prompts, site, vector[None], (kl,))
    if not bool(found.reached[0, 0]):
        raise InputError(
            f"no strength at {site} reaches KL {kl}: {float(found.kl[0, 0]):.3f} nats is the closest; ask for less or use alpha"
        )
    return float(found.alpha[0, 0])
