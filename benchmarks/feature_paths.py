"""Features of a report traced to the logits: through which later heads and MLPs each acts, and how
much of its effect goes straight there.

The tokens that a feature promotes are found on some neutral sentences, by setting its coefficient
there; the paths are measured on others.

    interp report && python benchmarks/feature_paths.py        # some minutes on two cores
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import torch

import interp
from interp.causal import Examples, ResidualWiring
from interp.causal.features.feature_effect import SetCoefficient
from interp.causal.features.feature_paths import feature_paths
from interp.causal.wiring.metrics import LogitDifference
from interp.corpus import labelled, load_concepts
from interp.features import Feature
from interp.models import TransformerModel, load_model

RESULTS = Path(__file__).parent / "results" / "feature_paths.json"
PROMOTED, OTHERS = 10, 500


def main() -> None:
    arguments = _arguments()
    model = load_model("smollm2-135m-instruct")
    assert isinstance(model, TransformerModel)
    dictionary = interp.load_dictionary(arguments.report / "dictionaries" / "snmf")
    report = json.loads((arguments.report / "features.json").read_text(encoding="utf-8"))
    concepts = load_concepts()
    acts = interp.record(model, labelled(concepts, "fit").texts, str(dictionary.site))
    features = interp.describe(dictionary, acts, model)
    coefficients = dictionary.encode(acts)
    chosen = [
        entry for entry in report["features"] if entry["method"] == "snmf" and entry["steering"]
    ][: arguments.features]
    sentences = [
        text for text in labelled(concepts, "held_out").texts if 8 <= len(text.split()) <= 10
    ]
    find, judge = (
        sentences[: arguments.prompts],
        sentences[arguments.prompts : 2 * arguments.prompts],
    )
    results: dict[str, Any] = {
        "model": model.name,
        "site": str(dictionary.site),
        "prompts": judge,
        "features": [],
    }
    for entry in chosen:
        start = time.perf_counter()
        feature, column = features[entry["index"]], coefficients[:, entry["index"]]
        value = float(column[column > 0].quantile(0.95))
        tokens = _promoted(model, feature, value, find)
        metric = LogitDifference(
            tokens.expand(len(judge), -1), _random_tokens(model).expand(len(judge), -1)
        )
        paths = feature_paths(
            ResidualWiring(model), judge, feature, metric, value=value, method="exact", controls=1
        )
        names = [model.tokenizer.decode([token]) for token in tokens.tolist()]  # type: ignore[union-attr]
        print(f"{entry['id']} ({entry['detection']['concept']}): promotes {' | '.join(names)}")
        print(f"   {paths}; {time.perf_counter() - start:.0f} s", flush=True)
        results["features"].append(
            {
                "id": entry["id"],
                "label": entry["label"],
                "concept": entry["detection"]["concept"],
                "coefficient": value,
                "promoted": names,
                "total": paths.total.to_dict(),
                "direct": paths.direct.to_dict(),
                "through": [
                    {"part": name, **score.to_dict()} for name, score in paths.strongest(15)
                ],
                "edges": [
                    {
                        "edge": str(paths.graph.edge(int(number))),
                        "effect": float(paths.graph.effects[number]),
                    }
                    for number in paths.graph.strongest(15)
                ],
                "seconds": time.perf_counter() - start,
            }
        )
        RESULTS.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


@torch.no_grad()
def _promoted(
    model: TransformerModel, feature: Feature, value: float, texts: list[str]
) -> torch.Tensor:
    """The tokens whose logit at the last position rises most when the coefficient is set."""
    examples = Examples(ResidualWiring(model), texts, value="zero")
    rises = []
    for part in examples:
        ends = part.batch.inputs["attention_mask"].sum(dim=1) - 1
        rows = torch.arange(len(ends))
        changed = model.run(part.batch, {feature.site: SetCoefficient.of(feature, value)})
        clean = model.run(part.batch)
        assert changed is not None
        assert clean is not None
        rises.append(changed[rows, ends] - clean[rows, ends])
    return torch.cat(rises).mean(dim=0).topk(PROMOTED).indices


def _random_tokens(model: TransformerModel) -> torch.Tensor:
    """Tokens that the promoted ones are set against."""
    size = model.anatomy.sites.width("logits")
    return torch.randperm(size, generator=torch.Generator().manual_seed(0))[:OTHERS]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--report", type=Path, default=Path("report"))
    parser.add_argument("--features", type=int, default=3)
    parser.add_argument("--prompts", type=int, default=8)
    return parser.parse_args()


if __name__ == "__main__":
    main()
