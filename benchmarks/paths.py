"""Causal paths on the real model: four tasks, what each method's graph keeps, what it predicts, and
what it costs.

- tasks: accuracy; CPR and CMD of EAP, EAP-IG and random graphs; predicted against measured for the
strongest and random edges; halves.
- cost: EAP against one forward and one backward pass; exact edges against one forward pass an edge,
side by side.

    python benchmarks/paths.py                      # about half an hour on two cores
    python benchmarks/paths.py --parts cost
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from interp.causal import Examples, ResidualWiring, path_effects
from interp.causal.wiring.metrics import LogitDifference
from interp.corpus import resolve, task
from interp.models import TransformerModel, load_model
from interp.studies.paths import PathsProtocol, trace_task

RESULTS = Path(__file__).parent / "results" / "paths.json"
TASKS = ("indirect-object", "greater-than", "agreement", "induction")


def main() -> None:
    arguments = _arguments()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    model = load_model(arguments.model)
    assert isinstance(model, TransformerModel)
    results: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    results |= {"model": model.name, "threads": torch.get_num_threads()}
    if "cost" in arguments.parts:
        results["cost"] = _cost(model, arguments.runs)
        _write(results)
    if "tasks" in arguments.parts:
        results.setdefault("tasks", {})
        columns = (
            f"{'task':16} {'accuracy':>22} {'method':20} {'CMD':>24} {'random':>7} "
            f"{'CPR':>24} {'random':>7}"
        )
        print(f"{columns} {'Spearman':>22} {'halves':>7} {'s':>5}")
        for name in arguments.tasks:
            results["tasks"][name] = _task(model, name, arguments)
            _write(results)


def _task(model: TransformerModel, name: str, arguments: argparse.Namespace) -> dict[str, Any]:
    protocol = PathsProtocol(
        methods=("eap-ig-inputs", "eap"),
        examples=arguments.examples,
        judged=arguments.judged,
        seed=arguments.seed,
    )
    start = time.perf_counter()
    found = trace_task(
        model, task(name, arguments.examples + arguments.judged + 8, arguments.seed), protocol
    )
    seconds = time.perf_counter() - start
    assert found.checked is not None
    assert found.stability is not None
    for curve in (found.faithfulness, *found.others):
        first = curve is found.faithfulness
        print(
            f"{name if first else '':16} {_shown(found.accuracy) if first else '':>22} "
            f"{curve.method:20} {_shown(curve.cmd):>24} "
            f"{curve.random_cmd.value:7.3f} {_shown(curve.cpr):>24} {curve.random_cpr.value:7.3f} "
            f"{_shown(found.checked.spearman) if first else '':>22} "
            f"{f'{found.stability.halves.value:.2f}' if first else '':>7} "
            f"{f'{seconds:.0f}' if first else '':>5}",
            flush=True,
        )
    values = found.to_dict()
    return {**values, "seconds": seconds}


def _cost(model: TransformerModel, runs: int) -> dict[str, Any]:
    """EAP on 32 prompts against a plain forward and backward pass; 40 exact edges against 40 plain
    forward passes.
    """
    found = resolve(task("indirect-object", 40, 0), model.tokenizer, misfits="drop")
    prompts, others = list(found.task.prompts[:32]), list(found.task.counterfactuals[:32])
    metric = LogitDifference(found.right[:32], found.wrong[:32])
    wiring = ResidualWiring(model)
    batch = model.prepare(prompts).batches[0]
    rows = torch.from_numpy(batch.items)
    chosen = wiring.edges[np.random.default_rng(0).choice(len(wiring.edges), 40, replace=False)]
    edges = wiring.named(chosen)

    def both_passes() -> None:
        leaf: list[torch.Tensor] = []

        def start(value: torch.Tensor, call: Any) -> torch.Tensor:
            leaf.append(value.detach().requires_grad_())
            return leaf[0]

        logits = model.run(batch, {"embed": start})
        assert logits is not None
        end = batch.inputs["attention_mask"].sum(dim=1) - 1
        torch.autograd.grad(metric(logits[torch.arange(len(end)), end], rows).sum(), leaf)

    def forward() -> None:
        with torch.no_grad():
            model.run(batch)

    def eap() -> None:
        path_effects(ResidualWiring(model), prompts, others, metric=metric, method="eap")

    def exact() -> None:
        part = next(iter(examples))
        wiring.one_by_one(part.batch, part.changes, wiring.numbers(edges), metric, part.rows)

    examples = Examples(wiring, prompts, others)
    next(iter(examples))
    both = _medians(
        {
            "forward and backward": both_passes,
            "forward": forward,
            "EAP": eap,
            "40 exact edges": exact,
        },
        runs,
    )
    ratio, speedup = (
        both["EAP"] / both["forward and backward"],
        40 * both["forward"] / both["40 exact edges"],
    )
    print(
        f"EAP {both['EAP']:.2f} s, forward and backward {both['forward and backward']:.2f} s: "
        f"{ratio:.2f} × (bar 4)"
    )
    print(
        f"40 exact edges {both['40 exact edges']:.1f} s, 40 forwards {40 * both['forward']:.1f} s: "
        f"{speedup:.1f} × faster (bar 5)"
    )
    return {
        "seconds": both,
        "eap_over_passes": ratio,
        "exact_faster_by": speedup,
        "prompts": len(prompts),
        "tokens": batch.inputs["input_ids"].numel(),
    }


def _medians(what: dict[str, Callable[[], None]], runs: int) -> dict[str, float]:
    """Each in turn, `runs` times over, so that what else the machine does falls on all alike."""
    seconds: dict[str, list[float]] = {name: [] for name in what}
    for _ in range(runs):
        for name, call in what.items():
            start = time.perf_counter()
            call()
            seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


def _shown(score: Any) -> str:
    return "" if score is None else f"{score.value:.3f} [{score.low:.3f}, {score.high:.3f}]"


def _write(results: dict[str, Any]) -> None:
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parts", nargs="+", choices=("cost", "tasks"), default=["cost", "tasks"])
    parser.add_argument("--model", default="smollm2-135m-instruct")
    parser.add_argument("--tasks", nargs="+", default=list(TASKS))
    parser.add_argument("--examples", type=int, default=24)
    parser.add_argument("--judged", type=int, default=12)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    main()
