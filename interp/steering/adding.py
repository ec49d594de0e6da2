"""`steer`: add a feature's direction while a model runs."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from jaxtyping import Float
from torch import Tensor

from interp.capture import EVERYWHERE, Add, Where, intervene
from interp.core import InputError
from interp.features.feature import Feature
from interp.models.adapters.transformer import TransformerModel
from interp.steering.strengths import calibrate

PROMPTS = (
    "I think that",
    "The most important thing is",
    "Yesterday we talked about",
    "It seems to me that",
)


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
    """Add `sign · alpha · direction` at a site inside a `with` block; gives the alpha used.

    The strength is either `alpha`, a multiple of the unit direction, or `kl`, the divergence (nats)
    it causes in the next-token distribution, mean over `prompts`, measured with the vector at all
    positions whatever `where` is. The direction is the feature's own, or `direction` (such as its
    companion) at `site`.

    Raises:
        InputError: neither or both of `kl` and `alpha` are given, the direction is zero, the site
            is missing or of another width, or no strength reaches `kl`.

    Cost: nothing with `alpha`; about 20 short forward passes per prompt with `kl`.

    Example:
        >>> with interp.steer(model, feature, kl=0.5, site="L20.resid_post", direction=companion):
        ...     model.generate("I think that", max_new_tokens=50)
    """
    if (kl is None) == (alpha is None):
        raise InputError(f"give either kl or alpha, got kl={kl} and alpha={alpha}")
    if sign not in (1, -1):
        raise InputError(f"sign is 1 or -1, got {sign}")
    place = _place(model, feature, direction, site)
    vector = _unit(feature, direction, place)
    strength = _strength(model, prompts, place, sign * vector, kl) if kl is not None else alpha
    assert strength is not None
    with intervene(model, {place: Add(sign * strength * vector, where)}):
        yield strength


def _place(
    model: TransformerModel, feature: Feature | Tensor, direction: Tensor | None, site: str | None
) -> str:
    own = feature.site if isinstance(feature, Feature) else None
    if not (site or own):
        raise InputError(
            "a direction without a site cannot be added anywhere; give site=…, one of model.sites"
        )
    place = model.sites.resolve(site or own or "")
    if own is not None and direction is None and place != model.sites.resolve(own):
        raise InputError(
            f"the feature's direction lives at {own}, not {place}; give "
            f"direction=interp.companion(feature, acts, {place!r})"
        )
    return place


def _unit(feature: Feature | Tensor, direction: Tensor | None, place: str) -> Tensor:
    own = feature.direction if isinstance(feature, Feature) else feature
    vector = (own if direction is None else direction).float()
    if not float(vector.norm()) > 0:
        raise InputError(
            f"the direction for {place} has no length or is not finite (its feature never fires?); "
            "choose another feature"
        )
    return torch.nn.functional.normalize(vector, dim=0)


def _strength(
    model: TransformerModel, prompts: Sequence[str], site: str, vector: Tensor, kl: float
) -> float:
    found = calibrate(model, prompts, site, vector[None], (kl,))
    if not bool(found.reached[0, 0]):
        raise InputError(
            f"no strength at {site} reaches KL {kl}: {float(found.kl[0, 0]):.3f} nats is the "
            "closest; ask for less or use alpha"
        )
    return float(found.alpha[0, 0])
