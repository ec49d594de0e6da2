"""How fast is steering? Many features and strengths in shared batches against one at a time;
strengths and lifts with the prefix reused.

Times are wall-clock; processor time is printed beside them, for it says the same when other
programs share the machine.

    python benchmarks/steering.py                   # SmolLM2-135M-Instruct; about two minutes on
    two idle cores
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

import interp
from interp.corpus import load_concepts
from interp.models import load_model
from interp.models.adapters.decoding import Sampling
from interp.models.adapters.transformer import TransformerModel
from interp.steering import Protocol, Target, calibrate
from interp.steering.generation import Cell, continuations
from interp.steering.lift import likelihood_lift

RESULTS = Path(__file__).parent / "results" / "steering.json"
CONCEPTS = ("cooking", "football")


def main() -> None:
    arguments = _arguments()
    model = load_model(arguments.model)
    units = torch.nn.functional.normalize(_directions(model, arguments), dim=1)
    results: dict[str, Any] = {
        "model": model.name,
        "site": arguments.site,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }
    for name, measure in {
        "calibrate": _calibration,
        "lift": _lift,
        "generate": _generation,
    }.items():
        results[name] = measure(model, units, arguments)
        print(name, json.dumps(results[name], indent=1), flush=True)
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


def _directions(model: TransformerModel, arguments: argparse.Namespace) -> torch.Tensor:
    generator = torch.Generator().manual_seed(arguments.seed)
    return torch.randn(arguments.features, model.sites.width(arguments.site), generator=generator)


def _timed(call: Callable[[], Any]) -> tuple[Any, dict[str, float]]:
    wall, processor = time.perf_counter(), time.process_time()
    value = call()
    return value, {
        "seconds": round(time.perf_counter() - wall, 2),
        "processor_seconds": round(time.process_time() - processor, 2),
    }


def _ratio(slow: dict[str, float], fast: dict[str, float]) -> dict[str, float]:
    return {f"ratio_{key}": round(slow[key] / fast[key], 2) for key in slow}


def _calibration(
    model: TransformerModel, units: torch.Tensor, arguments: argparse.Namespace
) -> dict[str, Any]:
    def find() -> Any:
        return calibrate(
            model, Protocol().selection_prompts, arguments.site, units, arguments.strengths
        )

    find()
    reused, fast = _timed(find)
    # An open session of hooks, even without any, makes the whole network run every time.
    with model.hooked({}):
        whole, slow = _timed(find)
    apart = float((reused.alpha / whole.alpha - 1).abs().max())
    return {
        "directions": len(units),
        "reused": fast,
        "whole": slow,
        **_ratio(slow, fast),
        "largest_relative_difference_of_strengths": apart,
    }


def _lift(
    model: TransformerModel, units: torch.Tensor, arguments: argparse.Namespace
) -> dict[str, Any]:
    concepts = load_concepts().only(CONCEPTS)
    sentences = {concept.name: concept.held_out for concept in concepts.concepts}
    targets = [
        Target(
            family="random",
            method="random",
            route="random",
            site=arguments.site,
            direction=unit,
            concept=CONCEPTS[number % 2],
            feature_id="",
        )
        for number, unit in enumerate(units[:2])
    ]

    def measure() -> Any:
        return likelihood_lift(
            model,
            targets,
            sentences,
            concepts.neutral.held_out,
            n_random=arguments.n_random,
            n_sentences=4,
            n_neutral=4,
            n_tokens=16,
        )

    reused, fast = _timed(measure)
    with model.hooked({}):
        whole, slow = _timed(measure)
    apart = max(
        abs(a.score.value - b.score.value)
        for a, b in zip(reused.lifts, whole.lifts, strict=True)
        if a.score and b.score
    )
    vectors = len(targets) + arguments.n_random
    work = {
        "vectors": vectors,
        "texts": len(reused.texts),
        "texts_per_second": round(vectors * len(reused.texts) / fast["seconds"], 1),
    }
    return {
        **work,
        "reused": fast,
        "whole": slow,
        **_ratio(slow, fast),
        "largest_difference_of_lifts": apart,
    }


def _generation(
    model: TransformerModel, units: torch.Tensor, arguments: argparse.Namespace
) -> dict[str, Any]:
    protocol = Protocol()
    prompts = (*protocol.selection_prompts, *protocol.report_prompts)
    found = calibrate(model, protocol.selection_prompts, arguments.site, units, arguments.strengths)
    sampling = Sampling(max_new_tokens=arguments.tokens)
    cells = [
        Cell(
            target=number,
            site=arguments.site,
            vector=alpha * units[number],
            kl=kl,
            sign=1,
            alpha=float(alpha),
            measured_kl=kl,
            reached=True,
        )
        for number, row in enumerate(found.alpha)
        for kl, alpha in zip(found.targets, row, strict=True)
    ]

    def together() -> list[list[str]]:
        return [
            [text.text for text in own]
            for own in continuations(model, cells, prompts, 1, sampling, 0)
        ]

    def one_at_a_time() -> list[list[str]]:
        texts = []
        for cell in cells:
            with interp.steer(model, units[cell.target], alpha=cell.alpha, site=cell.site):
                batch = model.prepare(
                    list(prompts), batch_size=len(prompts), padding="left"
                ).batches[0]
                given = model.sample(batch, sampling, batch.items.tolist())
            texts.append(
                [text for _, text in sorted(zip(batch.items.tolist(), given, strict=True))]
            )
        return texts

    def one_text_at_a_time() -> list[list[str]]:
        texts = []
        for cell in cells[: arguments.alone]:
            with interp.steer(model, units[cell.target], alpha=cell.alpha, site=cell.site):
                batches = [model.prepare([prompt], padding="left").batches[0] for prompt in prompts]
                texts.append(
                    [
                        model.sample(batch, sampling, [number])[0]
                        for number, batch in enumerate(batches)
                    ]
                )
        return texts

    many, fast = _timed(together)
    single, slow = _timed(one_at_a_time)
    alone, slowest = _timed(one_text_at_a_time)
    slowest = {key: seconds * len(cells) / len(alone) for key, seconds in slowest.items()}
    pairs = [
        (a, b)
        for own, other in zip(many, single, strict=True)
        for a, b in zip(own, other, strict=True)
    ]
    return {
        "cells": len(cells),
        "texts": len(pairs),
        "tokens": arguments.tokens,
        "texts_that_differ": sum(a != b for a, b in pairs),
        "cells_per_minute": {
            name: round(60 * len(cells) / spent["seconds"], 1)
            for name, spent in {
                "together": fast,
                "a cell at a time": slow,
                "a text at a time": slowest,
            }.items()
        },
        "together": fast,
        "a_cell_at_a_time": {**slow, **_ratio(slow, fast)},
        "a_text_at_a_time": {**slowest, **_ratio(slowest, fast)},
    }


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="smollm2-135m-instruct")
    parser.add_argument("--site", default="L15.resid_post")
    parser.add_argument("--features", type=int, default=4)
    parser.add_argument("--strengths", type=float, nargs="+", default=[0.25, 0.5, 1.0])
    parser.add_argument("--tokens", type=int, default=16)
    parser.add_argument("--n-random", type=int, default=6)
    parser.add_argument(
        "--alone",
        type=int,
        default=1,
        help="how many cells are generated text by text, to scale up from",
    )
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    main()
