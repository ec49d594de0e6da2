"""A methods paragraph, written from the provenance: what a reader would need to make the numbers
again.
"""

from collections.abc import Mapping
from typing import Any

from interp.report.tables.features import control_methods, listed

SOURCES = {
    "snmf": "Ding, Li & Jordan 2010; winner-take-all directions as in Shafran, Geiger & Geva 2025",
    "sae": "Gao et al. 2024",
    "pca": "Pearson 1901",
    "difference_in_means": "Marks & Tegmark 2023",
}
TOLD = {
    "sparsity",
    "coefficient_sparsity",
    "k",
    "variant",
    "steps",
    "batch_size",
    "learning_rate",
    "init",
    "solver",
    "kept_entries",
    "restarts",
}


def methods_text(data: Mapping[str, Any]) -> list[str]:
    """Paragraphs on recording, decomposition, detection and steering, from a report's data; what
    was not done is not mentioned.

    Example:
        >>> methods_text(data)[0]
        'Activations of smollm2-135m-instruct (weights, sha256 a672150fb4f9…) at L5.mlp were
        recorded …'
    """
    written = (_recording(data), _decomposition(data), _detection(data), _steering(data))
    return [paragraph for paragraph in written if paragraph]


def _recording(data: Mapping[str, Any]) -> str:
    model, corpus = data["model"], data["corpus"]
    source = _mapping(data["provenance"].get("activations"))
    weights = f" (weights, sha256 {model['weight_hash'][:12]}…)" if model["weight_hash"] else ""
    texts = f" (sha256 {source['corpus_hash'][:12]}…)" if source.get("corpus_hash") else ""
    versions = _mapping(source.get("versions") or data["provenance"].get("versions"))
    made = (
        f" Versions: {', '.join(f'{name} {version}' for name, version in versions.items())}."
        if versions
        else ""
    )
    selection = f"; {corpus['selection']}" if corpus["selection"] else ""
    return (
        f"Activations of {model['name']}{weights} at {model['site']} were recorded on "
        f"{corpus['rows']:,} tokens of "
        f"{corpus['texts']:,} texts{texts}{selection}.{made}"
    )


def _decomposition(data: Mapping[str, Any]) -> str:
    controls, fits = control_methods(data), _mapping(data["provenance"].get("dictionaries"))
    parts = [
        _method(item, _mapping(fits.get(item["method"])))
        for item in data["methods"]
        if item["method"] not in controls
    ]
    if not parts:
        return ""
    seed = data["provenance"].get("seed")
    seeds = f" All seeds derive from {seed}." if seed is not None else ""
    return f"They were decomposed by {listed(parts)}. Directions have unit norm.{seeds}"


def _method(item: Mapping[str, Any], fit: Mapping[str, Any]) -> str:
    parameters = {
        name: value for name, value in _mapping(fit.get("parameters")).items() if name in TOLD
    }
    told = [
        f"{item['features']:,} features",
        *(f"{name.replace('_', ' ')} {value}" for name, value in parameters.items()),
    ]
    told += [SOURCES[item["method"]]] if item["method"] in SOURCES else []
    return f"{item['title']} ({'; '.join(told)})"


def _detection(data: Mapping[str, Any]) -> str:
    concepts = len(data["detection"]["concepts"])
    if not concepts:
        return ""
    score = next(
        (best["auroc"] for item in data["detection"]["concepts"] for best in item["best"]), None
    )
    interval = f", with {score['interval']} intervals" if score else ""
    return (
        f"For each of {concepts} labelled concepts the feature of each method that best separates "
        "its sentences from the others was chosen "
        f"on the fit sentences and scored on held-out ones by AUROC{interval}, beside random "
        "directions that went through the same choice "
        "and shuffled labels."
    )


def _steering(data: Mapping[str, Any]) -> str:
    steering, judge = data["steering"], data["judge"]
    if not steering["families"]:
        return ""
    strengths = ", ".join(f"{kl:g}" for kl in steering["strengths_kl"])
    routes = [
        route
        for item in data["features"]
        if item["steering"]
        for route in item["steering"]["routes"]
    ]
    signs = {dose["sign"] for route in routes for dose in route["dose"]}
    both = len(signs) > 1
    return (
        f"Directions were added at {data['model']['site']} (own direction) or "
        f"{data['model']['companion_site']} (companion: the "
        "coefficient-weighted mean there) at strengths that move the next-token distribution by a "
        f"mean KL divergence of {strengths} nats"
        f"{', with both signs' if both else ''}. {len(steering['prompts_selection'])} prompts "
        "chose the strength"
        f"{' and sign' if both else ''} and {len(steering['prompts_report'])} others were scored "
        f"({steering['samples']} × at most "
        f"{steering['max_new_tokens']} new tokens) by the harmonic mean of concept and fluency, 0 "
        f"to 2, as judged by {judge['name']}. "
        "Random directions and no steering went through the same procedure, and differences are to "
        "the best of them."
    )


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
