"""The methods paragraphs of a report, written from its provenance."""

from collections.abc import Mapping
from typing import Any

from interp.report.data.records import Method, Report
from interp.report.tables.features import control_methods, listed

SOURCES = {
    "snmf": "Ding, Li & Jordan 2010; winner-take-all directions as in Shafran, Geiger & Geva 2025",
    "sae": "Gao et al. 2024",
    "pca": "Pearson 1901",
    "difference_in_means": "Marks & Tegmark 2023",
}
PARAMETERS = {
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


def methods_text(data: Report) -> list[str]:
    """Paragraphs on a report's recording, decomposition, detection and steering, as far as done.

    Example:
        >>> methods_text(data)[0]
        'Activations of smollm2-135m-instruct (weights, sha256 a672150fb4f9…) at L5.mlp were
        recorded …'
    """
    paragraphs = (_recording(data), _decomposition(data), _detection(data), _steering(data))
    return [paragraph for paragraph in paragraphs if paragraph]


def _recording(data: Report) -> str:
    model, corpus = data.model, data.corpus
    source = _mapping(data.provenance.get("activations"))
    weights = f" (weights, sha256 {model.weight_hash[:12]}…)" if model.weight_hash else ""
    texts = f" (sha256 {source['corpus_hash'][:12]}…)" if source.get("corpus_hash") else ""
    versions = _mapping(source.get("versions") or data.provenance.get("versions"))
    named = ", ".join(f"{name} {version}" for name, version in versions.items())
    made = f" Versions: {named}." if versions else ""
    selection = f"; {corpus.selection}" if corpus.selection else ""
    return (
        f"Activations of {model.name}{weights} at {model.site} were recorded on {corpus.rows:,} "
        f"tokens of {corpus.texts:,} texts{texts}{selection}.{made}"
    )


def _decomposition(data: Report) -> str:
    controls, fits = control_methods(data), _mapping(data.provenance.get("dictionaries"))
    shown = [item for item in data.methods if item.method not in controls]
    parts = [_method(item, _mapping(fits.get(item.method))) for item in shown]
    if not parts:
        return ""
    seed = data.provenance.get("seed")
    seeds = f" All seeds derive from {seed}." if seed is not None else ""
    return f"They were decomposed by {listed(parts)}. Directions have unit norm.{seeds}"


def _method(item: Method, fit: Mapping[str, Any]) -> str:
    details = [f"{item.features:,} features"]
    for name, value in _mapping(fit.get("parameters")).items():
        if name in PARAMETERS:
            details.append(f"{name.replace('_', ' ')} {value}")
    if item.method in SOURCES:
        details.append(SOURCES[item.method])
    return f"{item.title} ({'; '.join(details)})"


def _detection(data: Report) -> str:
    if not data.detection.concepts:
        return ""
    best = next(data.detection.best, None)
    interval = f", with {best.auroc.interval} intervals" if best else ""
    return (
        f"For each of {len(data.detection.concepts)} labelled concepts the feature of each method "
        "that best separates its sentences from the others was chosen on the fit sentences and "
        f"scored on held-out ones by AUROC{interval}, beside random directions that went through "
        "the same choice and shuffled labels."
    )


def _steering(data: Report) -> str:
    steering = data.steering
    if not steering.families:
        return ""
    strengths = ", ".join(f"{kl:g}" for kl in steering.strengths_kl)
    both = len({dose.sign for route in data.routes for dose in route.dose}) > 1
    return (
        f"Directions were added at {data.model.site} (own direction) or "
        f"{data.model.companion_site} (companion: the coefficient-weighted mean there) at "
        "strengths that move the next-token distribution by a mean KL divergence of "
        f"{strengths} nats{', with both signs' if both else ''}. "
        f"{len(steering.prompts_selection)} prompts chose the strength"
        f"{' and sign' if both else ''} and {len(steering.prompts_report)} others were scored "
        f"({steering.samples} × at most {steering.max_new_tokens} new tokens) by the harmonic mean "
        f"of concept and fluency, 0 to 2, as judged by {data.judge.name}. Random directions and no "
        "steering went through the same procedure, and differences are to the best of them."
    )


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
