"""When a tiny language model learned its concepts, and from when on they could be steered.

    python benchmarks/dynamics_language.py train --wordnet /usr/share/wordnet     # a quarter of an
    hour on one slow core; resumes python benchmarks/dynamics_language.py track
    # a few minutes, from the checkpoints that ship

`train` needs WordNet (Debian's wordnet-base); `track` needs nothing that does not ship.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from interp.core import bootstrap_mean
from interp.core.files import read_json, write_json
from interp.corpus import load_concepts
from interp.dynamics.language.concepts import LanguageConcept, language_concepts, require_readable
from interp.dynamics.language.features import ConceptFeature, track_features
from interp.dynamics.language.steering import ARMS
from interp.dynamics.language.tracking import ConceptTrack, LanguageTrack, track_language
from interp.dynamics.learning_times import LearningRule, learning_time
from interp.testbeds.language.data import WORDNET, wordnet_glosses
from interp.testbeds.language.store import RECIPE, language_checkpoints, load_tokenizer
from interp.testbeds.language.training import train_tiny_language

ROOT = Path(__file__).parent.parent
RUN = ROOT / "data" / "dynamics" / "language"
RESULTS = Path(__file__).parent / "results" / "dynamics_language.json"
RULE = LearningRule(threshold=0.8, hold=3)
STEERED_AT, FEATURES_AT = "L2.resid_post", "L2.mlp"
FIXED = 1
"""The number of the factor that is shown beside the best of the grid."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("train", "track"))
    parser.add_argument("--wordnet", type=Path, default=WORDNET)
    parser.add_argument("--run", type=Path, default=RUN)
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--prompts", type=int, default=48)
    parser.add_argument("--features", type=int, default=60)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.what == "train":
        train_tiny_language(
            wordnet_glosses(arguments.wordnet),
            arguments.run,
            data="WordNet 3.0: glosses and examples",
            progress=_shown,
        )
    else:
        _track(arguments)


def _track(arguments: argparse.Namespace) -> None:
    start = time.perf_counter()
    checkpoints, recipe = language_checkpoints(arguments.run), read_json(arguments.run / RECIPE)
    concepts = language_concepts(load_tokenizer(arguments.run), n=arguments.prompts)
    require_readable(checkpoints[-1].load(), concepts)
    texts = load_concepts().neutral.fit
    track = track_language(checkpoints, concepts, texts, STEERED_AT, progress=_shown)
    tracked = time.perf_counter() - start
    history, features = track_features(
        checkpoints, concepts, texts, FEATURES_AT, n_features=arguments.features
    )
    results = {
        "run": {
            name: recipe[name] for name in ("settings", "parameters", "data", "seconds", "loss")
        },
        "rule": {"threshold": RULE.threshold, "hold": RULE.hold, "smoothing": RULE.smoothing},
        "steps": list(track.steps),
        "sites": {"steering": STEERED_AT, "features": FEATURES_AT},
        "factors": list(track.factors),
        "concepts": {
            concept.name: _concept(
                track, track.concept(concept.name), feature, _frequency(concept, recipe)
            )
            for concept, feature in zip(concepts, features, strict=True)
        },
        "representation": {
            "cka_with_last": _rounded(track.cka),
            "relative_with_last": _rounded(track.relative),
            "transport": [score.to_dict() for score in track.transport],
            "unmoved": [score.to_dict() for score in track.unmoved],
        },
        "features": history.to_dict(),
        "seconds": {
            "track": round(tracked, 1),
            "features": round(time.perf_counter() - start - tracked, 1),
        },
    }
    write_json(arguments.out, results)
    _print(results)


def _frequency(concept: LanguageConcept, recipe: dict[str, Any]) -> float:
    """The share of training tokens that are right continuations of the concept; of induction, of
    rows that repeat.
    """
    if concept.name == "induction":
        return float(recipe["settings"]["repeating"] / recipe["settings"]["batch_size"])
    return float(sum(recipe["token_shares"][token] for token in concept.prompted.right[0]))


def _concept(
    track: LanguageTrack, concept: ConceptTrack, feature: ConceptFeature, frequency: float
) -> dict[str, Any]:
    arms = [arm for arm in ARMS if arm in concept.steered and arm != "naive"]
    best = {arm: concept.arm(arm) for arm in arms}
    fixed = {arm: concept.arm(arm, FIXED) for arm in arms}
    return {
        "frequency": frequency,
        "readable": concept.readable[-1].to_dict(),
        "naive": [bootstrap_mean(row, seed=0).to_dict() for row in concept.naive],
        "unsteered": _rounded(concept.steered["naive"].mean(axis=(1, 2))),
        "steered_best": {
            arm: [bootstrap_mean(row, seed=0).to_dict() for row in best[arm]] for arm in arms
        },
        "steered_fixed": {arm: _rounded(fixed[arm].mean(axis=1)) for arm in arms},
        "shift_at_end": {
            arm: concept.shift(arm, len(track.steps) - 1, FIXED).to_dict() for arm in arms
        },
        "onset_share": {
            "naive": _onset(track, concept.naive),
            "readable": _onset(track, np.array([[score.value] for score in concept.readable])),
            **{arm: _onset(track, best[arm]) for arm in arms},
            **{f"{arm} ×{track.factors[FIXED]:g}": _onset(track, fixed[arm]) for arm in arms},
        },
        "onset_accuracy": {
            "naive": _onset(track, concept.naive > 0.5),
            **{arm: _onset(track, best[arm] > 0.5) for arm in arms},
            **{f"{arm} ×{track.factors[FIXED]:g}": _onset(track, fixed[arm] > 0.5) for arm in arms},
        },
        "feature": {
            "detects": feature.detects.to_dict(),
            "born": feature.born,
            "checkpoints": 0 if feature.chain is None else len(feature.chain.features),
            "curve": _rounded(feature.curve),
        },
    }


def _onset(track: LanguageTrack, values: np.ndarray) -> int | None:
    """The step at which the mean over questions reaches the rule; None if it does not by the
    last.
    """
    step = learning_time(np.asarray(track.steps), values.astype(float).mean(axis=1), RULE).step
    return None if step is None else int(step)


def _rounded(values: np.ndarray) -> list[float]:
    return [round(float(value), 4) for value in values]


def _print(results: dict[str, Any]) -> None:
    last = results["steps"][-1]
    for kind in ("onset_share", "onset_accuracy"):
        columns = list(next(iter(results["concepts"].values()))[kind])
        print(f"\n{kind} ({results['rule']}): first step, > {last} where it is not reached")
        print(
            "| concept | frequency | "
            + " | ".join(columns)
            + " | feature born |\n"
            + "|---" * (len(columns) + 3)
            + "|"
        )
        for name, concept in results["concepts"].items():
            cells = [
                f"> {last}" if concept[kind][column] is None else str(concept[kind][column])
                for column in columns
            ]
            print(
                f"| {name} | {concept['frequency']:.4f} | "
                + " | ".join(cells)
                + f" | {_birth(concept['feature'])} |"
            )
    print(
        (
            "\n| concept | naive, end | AUROC, end | shift own | final | transported | random | "
            "feature's AUROC |\n"
        )
        + "|---" * 8
        + "|"
    )
    for name, concept in results["concepts"].items():
        shifts = " | ".join(
            f"{concept['shift_at_end'][arm]['value']:+.2f}"
            for arm in ("own", "final", "transported", "random")
        )
        feature = concept["feature"]["detects"]
        naive, readable = concept["naive"][-1]["value"], concept["readable"]["value"]
        print(
            f"| {name} | {naive:.3f} | {readable:.3f} | {shifts} | {feature['value']:.3f} "
            "(median "
            f"{feature['control']:.3f}) |"
        )
    print(
        "\n| step | "
        + " | ".join(results["concepts"])
        + " | CKA | relative | transport | unmoved | random |\n"
        + "|---" * 10
        + "|"
    )
    shown = results["representation"]
    for place, step in enumerate(results["steps"]):
        naive = [
            f"{concept['naive'][place]['value']:.3f}" for concept in results["concepts"].values()
        ]
        moved, unmoved = shown["transport"][place], shown["unmoved"][place]
        others = [
            shown["cka_with_last"][place],
            shown["relative_with_last"][place],
            moved["value"],
            unmoved["value"],
            moved["control"],
        ]
        print(f"| {step} | " + " | ".join([*naive, *(f"{value:.3f}" for value in others)]) + " |")
    births = [chain["born"] for chain in results["features"]["chains"]]
    print(
        f"\nfeatures: {len(births)} chains, {births.count(None)} from the start; links "
        f"{json.dumps(results['features']['links'])}"
    )
    print(
        f"order against shuffled checkpoints: p = {results['features']['p_value']:.4f}; seconds "
        f"{results['seconds']}"
    )


def _birth(feature: dict[str, Any]) -> str:
    """A birth says something only of a feature that detects the concept."""
    return (
        str(feature["born"])
        if feature["detects"]["low"] > 0.5
        else f"({feature['born']}: detects nothing)"
    )


def _shown(stage: str, done: int, total: int, unit: str) -> None:
    if done % max(1, total // 20) == 0 or done == total:
        print(f"{stage}: {done}/{total} {unit}", flush=True)


if __name__ == "__main__":
    main()
