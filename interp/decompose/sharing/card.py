"""The model card of a dictionary, as Markdown: contents, numbers, use and provenance."""

import html
import json
from collections.abc import Mapping

from interp.core import Score
from interp.decompose.dictionary import Dictionary

NAMES = {
    "snmf": "semi-NMF: signed sparse directions, non-negative coefficients",
    "sae": "a sparse autoencoder",
    "difference_in_means": "differences in means of labelled activations",
    "pca": "principal components",
    "random": "random directions, a control",
}
MARKDOWN = "\\`*_{}[]()#|!~\n\r"


def dictionary_card(
    dictionary: Dictionary,
    repo_id: str,
    *,
    licence: str,
    scores: Mapping[str, Score],
    hashes: Mapping[str, str],
    summary: str = "",
    base_model: str | None = None,
) -> str:
    """The card as a README: the hub's metadata, then what a reader needs to judge and use the
    dictionary.

    `hashes` are the files' sha256 by name. Everything is escaped but `summary`, the author's
    Markdown.

    Example:
        >>> card = dictionary_card(
        ...     snmf, "me/snmf", licence="mit", scores={}, hashes={"dictionary.safetensors": digest}
        ... )
    """
    from huggingface_hub import ModelCardData

    tags = ["interpretability", "feature-dictionary", dictionary.method.replace("_", "-")]
    data = ModelCardData(license=licence, library_name="interp", base_model=base_model, tags=tags)
    provenance = json.dumps(dictionary.provenance.to_dict(), indent=1, ensure_ascii=False)
    parts = (
        f"---\n{data.to_yaml()}\n---\n",
        f"# {plain(repo_id.rpartition('/')[2])}\n",
        *([f"{summary.strip()}\n"] if summary.strip() else []),
        _what(dictionary),
        "## Numbers\n",
        _numbers(scores),
        "## Use\n",
        _use(dictionary, repo_id),
        "## Provenance\n",
        f"```json\n{provenance}\n```\n",
        "## Files\n",
        "| file | sha256 |\n|---|---|\n"
        + "".join(f"| {plain(name)} | {plain(digest)} |\n" for name, digest in hashes.items()),
    )
    return "\n".join(parts)


def plain(text: str) -> str:
    """Escaped text: whatever Markdown or HTML would act on becomes an entity."""
    return "".join(f"&#{ord(sign)};" if sign in MARKDOWN else sign for sign in html.escape(text))


def _what(dictionary: Dictionary) -> str:
    features, width = dictionary.directions.shape
    provenance = dictionary.provenance
    source = [
        ("site", dictionary.site or "not recorded"),
        ("model", provenance.model or "not recorded"),
        ("rows it was fitted to", str(provenance.parameters.get("rows", "not recorded"))),
        ("tokens that count", provenance.selection or "not recorded"),
        ("seed", "none" if provenance.seed is None else str(provenance.seed)),
    ]
    rows = "".join(f"| {name} | {plain(value)} |\n" for name, value in source)
    return (
        f"A dictionary of {features:,} features, each a unit direction of {width:,} numbers, found "
        f"by {NAMES[dictionary.method]}. "
        "Activations are about `coefficients @ directions + offset`.\n\n"
        f"| | |\n|---|---|\n{rows}"
    )


def _numbers(scores: Mapping[str, Score]) -> str:
    if not scores:
        return "None were given: nothing is claimed here about what the features mean or do.\n"
    rows = (
        f"| {plain(name)} | {own.value:.4g} | {own.low:.4g} to {own.high:.4g} "
        f"({plain(own.interval)}) | {own.n:,} | {own.seed} | "
        f"{'none' if own.control is None else f'{own.control:.4g}'} |\n"
        for name, own in scores.items()
    )
    header = "| | value | interval | n | seed | control |\n|---|---|---|---|---|---|\n"
    return (
        header
        + "".join(rows)
        + "\nThe control is the same measurement where nothing should be found.\n"
    )


def _use(dictionary: Dictionary, repo_id: str) -> str:
    site = json.dumps(dictionary.site or "the site it was fitted at")
    return (
        "```python\nimport interp\nfrom interp.decompose import pull_dictionary\n\ndictionary = "
        f"pull_dictionary({json.dumps(repo_id)})  # revision=… keeps to one version\ncoefficients "
        f"= dictionary.encode(interp.record(model, texts, {site}))\n```\n"
    )
