"""Recording against the bare network and against TransformerLens, side by side: same batches, one
site, medians of paired runs.

- bare: the HuggingFace network cut to the layers that the site needs, without an unembedding: the
least that any recording can cost.
- record: `interp.record` of the site, rows selected and contexts kept (tokenisation included).
- bridge: `TransformerBridge.run_with_cache` filtered to the site, as it comes and told to stop
after the layer.

    python benchmarks/recording.py                  # SmolLM2-135M-Instruct, L15.mlp; about four
    minutes on two cores
"""

import argparse
import copy
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch

import interp
from interp.corpus import labelled, load_concepts
from interp.models import load_model

RESULTS = Path(__file__).parent / "results" / "recording.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="smollm2-135m-instruct")
    parser.add_argument("--layer", type=int, default=15)
    parser.add_argument("--texts", type=int, default=160)
    parser.add_argument("--runs", type=int, default=5)
    arguments = parser.parse_args()
    model = load_model(arguments.model)
    texts = list(labelled(load_concepts(), "fit").texts[:: max(1, 1140 // arguments.texts)])[
        : arguments.texts
    ]
    rows = _compare(_contestants(model, texts, arguments.layer), arguments.runs)
    tokens = sum(
        int(batch.inputs["attention_mask"].sum()) for batch in model.prepare(texts).batches
    )
    setting = (
        f"{len(texts)} texts, {tokens} tokens, {torch.get_num_threads()} threads, median of "
        f"{arguments.runs}"
    )
    print(f"L{arguments.layer}.mlp of {model.name}: {setting}")
    print(f"{'what':28} {'seconds':>8} {'tokens/s':>9} {'ratio to bare':>14}")
    for row in rows:
        row["tokens_per_second"] = tokens / row["seconds"]
        print(
            f"{row['what']:28} {row['seconds']:8.2f} {row['tokens_per_second']:9.0f} "
            f"{row['ratio']:14.3f}"
        )
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(
        json.dumps(
            {
                "site": f"L{arguments.layer}.mlp",
                "tokens": tokens,
                "runs": arguments.runs,
                "rows": rows,
            },
            indent=1,
        )
        + "\n"
    )


def _contestants(
    model: interp.models.TransformerModel, texts: list[str], layer: int
) -> dict[str, Callable[[], object]]:
    batches = [batch.inputs for batch in model.prepare(texts).batches]
    body = copy.copy(model.module.model)
    body._modules = dict(body._modules)
    body.layers = model.module.model.layers[: layer + 1]
    bridge = model.bridge()
    hook = f"blocks.{layer}.mlp.hook_post"

    def bare() -> None:
        for inputs in batches:
            body(**inputs, use_cache=False)

    def cached(**stop: int) -> None:
        for inputs in batches:
            bridge.run_with_cache(
                inputs["input_ids"],
                names_filter=[hook],
                attention_mask=inputs["attention_mask"],
                **stop,
            )

    return {
        "bare": bare,
        "record": lambda: interp.record(model, texts, f"L{layer}.mlp"),
        "bridge": cached,
        "bridge, stop_at_layer": lambda: cached(stop_at_layer=layer + 1),
    }


@torch.no_grad()
def _compare(contestants: dict[str, Callable[[], object]], runs: int) -> list[dict]:
    """Each contestant once to warm up, then all in turn: drift of the machine falls on all alike,
    and ratios are taken within a turn.
    """
    for run in contestants.values():
        run()
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(runs):
        for name, run in contestants.items():
            start = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - start)
    return [
        {
            "what": name,
            "seconds": statistics.median(own),
            "ratio": statistics.median(
                mine / base for mine, base in zip(own, seconds["bare"], strict=True)
            ),
        }
        for name, own in seconds.items()
    ]


if __name__ == "__main__":
    main()
