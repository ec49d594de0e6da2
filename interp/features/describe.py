"""describe(): contexts, vocabulary effect and a label for every feature of a dictionary."""

from typing import Any

from jaxtyping import Float
from torch import Tensor

from interp.core import Activations, Progress, silent
from interp.decompose.dictionary import Dictionary
from interp.features.contexts import firing_rate, top_contexts
from interp.features.feature import Feature
from interp.features.labels import label_features
from interp.features.vocabulary import token_effects


def describe(
    dictionary: Dictionary,
    acts: Activations,
    model: Any = None,
    *,
    count: int = 25,
    coefficients: Float[Tensor, "row feature"] | None = None,
    progress: Progress = silent,
) -> tuple[Feature, ...]:
    """Every feature of a dictionary with its top contexts, its promoted and suppressed tokens, and
    an offline label.

    `acts` are of the dictionary's site; without a `model` that has a vocabulary there are no
    tokens. `coefficients` of the activations, where known, save the encoding.

    Raises:
        InputError: the activations are of another site.

    Cost: one encoding of the activations and one unembedding per feature.

    Example:
        >>> features = interp.describe(snmf, acts, model)
        >>> features[12].label, features[12].promoted[:3]
    """
    encoded = dictionary.encoded(acts, coefficients).float().cpu().numpy()
    reads = hasattr(model, "vocabulary_effect")
    effects = token_effects(model, dictionary.site, dictionary.directions) if reads else None
    features = []
    for index in range(len(dictionary)):
        own = encoded[:, index]
        promoted, suppressed = effects[index] if effects else ((), ())
        feature = Feature(
            dictionary=dictionary,
            index=index,
            firing_rate=firing_rate(own),
            contexts=top_contexts(own, acts.contexts, count=count),
            promoted=promoted,
            suppressed=suppressed,
        )
        features.append(feature)
        progress("describe", index + 1, len(dictionary), "feature")
    return label_features(features)
