"""Every whole job on a network of seconds, as plain json without what a clock or a folder said.

`PYTHONPATH=.:tests/helpers python tests/helpers/golden_runs.py FOLDER` writes them; two folders
written on one machine are equal byte by byte unless a number has moved.
"""

import json
import math
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import small
import tiny
import torch

from interp.core.files import write_json
from interp.models import wrap
from interp.models.adapters.decoding import Sampling
from interp.steering import Protocol

UNSTABLE = ("seconds", "cost", "versions", "source", "arrays")
"""What depends on the clock, the installation or the folder; `arrays` are packed numbers, whose
last bit is the processor's.
"""
SAMPLING = Sampling(max_new_tokens=4)
PROTOCOL = Protocol(
    strengths=(0.05, 0.2),
    selection_prompts=("I think that",),
    report_prompts=("It seems that", "We saw"),
    n_random=1,
    sampling=SAMPLING,
)


def features(folder: Path) -> Any:
    """The json of the report."""
    from interp.commands.report import main_job
    from interp.studies.features.protocol import Settings

    settings = Settings(
        model=str(small.language_folder(folder / "model")),
        site="L1.mlp",
        companion_site="L2.resid_post",
        features=8,
        sparsity=0.2,
        concept_names=("cooking", "football"),
        steered_concepts=1,
        protocol=PROTOCOL,
        stability=1,
        seed=3,
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "interp.studies.features.run.load_encoder", lambda **options: small.KnowsTheWords()
        )
        patch.setattr("interp.studies.features.run.load_concepts", small.concepts)
        main_job(settings, folder / "out")
    return read(folder / "out" / "features.json")


def comparison(folder: Path) -> Any:
    """The json of the comparison of methods."""
    from interp.studies.comparison import Comparison, LiftProtocol, compare

    settings = Comparison(
        model=str(small.language_folder(folder / "model")),
        sites=("L1.mlp",),
        places=("L2.resid_post",),
        sizes=(8,),
        sparsity=0.2,
        sae_steps=40,
        concepts=2,
        concept_names=("cooking", "football"),
        protocol=PROTOCOL,
        lift=LiftProtocol(kl=0.05, n_random=5, concept_sentences=3, other_sentences=4, tokens=8),
        seed=3,
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "interp.studies.comparison.run.load_encoder", lambda **options: small.KnowsTheWords()
        )
        patch.setattr("interp.studies.comparison.run.load_concepts", small.concepts)
        compare(settings, folder / "out")
    return read(folder / "out" / "comparison.json")


def paths(folder: Path) -> Any:
    """The json of the page of paths, and the graph beside it."""
    from interp.corpus import read_task
    from interp.report import write_paths
    from interp.studies.paths import PathsProtocol, trace_task

    rows = [
        {
            "prompt": f"w{10 + n} w{40 + n} w7 w{70 + n}",
            "counterfactual": f"w{10 + n} w{90 + n} w7 w{70 + n}",
            "right": " w5",
            "wrong": [" w6", " w8"],
        }
        for n in range(10)
    ]
    (folder / "mine.jsonl").write_text(
        "\n".join(json.dumps(row) for row in rows) + "\n", encoding="utf-8"
    )
    protocol = PathsProtocol(
        methods=("eap", "eap-ig-inputs", "exact"),
        examples=6,
        judged=4,
        top=5,
        random=5,
        orders=1,
        splits=3,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = trace_task(
            wrap(tiny.language("gpt2"), tiny.word_tokenizer()),
            read_task(folder / "mine.jsonl"),
            protocol,
        )
    write_paths(found, folder / "out")
    return {name: read(folder / "out" / f"{name}.json") for name in ("paths", "graph")}


def path_effects(folder: Path) -> Any:
    """Scores of every edge by each kind of method: measured, estimated, searched."""
    import interp
    from interp.causal.graph.export import to_json
    from interp.causal.wiring.metrics import LogitDifference

    model = wrap(tiny.language("llama"), tiny.word_tokenizer())
    clean, corrupted = (
        [f"w{10 + n} w{40 + n + shift} w7 w{70 + n}" for n in range(4)] for shift in (0, 50)
    )
    right, wrong = (torch.full((4, 1), answer) for answer in (5, 6))
    found = {}
    methods: tuple[Any, ...] = ("exact", "eap", "eap-ig-inputs", "eap-qk", "eap-graddrop", "acdc")
    for method in methods:
        graph = interp.path_effects(
            model, clean, corrupted, metric=LogitDifference(right, wrong), method=method
        )
        kept = None if graph.kept is None else graph.kept.tolist()
        values = {
            "per_example": graph.per_example.tolist(),
            "clean": graph.clean.tolist(),
            "replaced": graph.replaced.tolist(),
            "kept": kept,
        }
        found[method] = read(to_json(graph, folder / f"{method}.json")) | values
    return found


def directions(folder: Path) -> Any:
    """The json of the page of a generator's directions."""
    from small_generator import brightness, pictures, untrained

    from interp.report.pages.directions import write_directions
    from interp.studies.directions.protocol import DirectionsProtocol
    from interp.studies.directions.run import study_directions

    protocol = DirectionsProtocol(
        methods=("regression", "mean difference", "pca", "random"),
        steps=3,
        samples=24,
        gate=24,
        pairs=10,
        windows=1,
        choose=8,
        report=10,
        matrix=8,
        curve=8,
        shown=2,
        wanted=0.02,
        iterations=2,
    )
    write_directions(
        study_directions(untrained(), brightness, pictures(40), protocol), folder / "out"
    )
    return read(folder / "out" / "directions.json")


def learning(folder: Path) -> Any:
    """The json of the page of learning dynamics, of planted runs."""
    from learning_runs import RULE, language, weak_and_strong

    from interp.report import write_dynamics
    from interp.studies.learning import study_learning

    found = study_learning(weak_and_strong(), language=language(), rule=RULE)
    write_dynamics(found, folder / "out")
    return read(folder / "out" / "dynamics.json")


JOBS: dict[str, Callable[[Path], Any]] = {
    job.__name__: job for job in (features, comparison, paths, path_effects, directions, learning)
}


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def stable(value: Any) -> Any:
    """The same values without what depends on the clock, the folder or the installation; what json
    cannot say becomes None.
    """
    if isinstance(value, dict):
        return {key: stable(item) for key, item in value.items() if key not in UNSTABLE}
    if isinstance(value, list):
        return [stable(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def golden(name: str) -> Any:
    """One job's json, made on one thread in a folder of its own, whose path is in no value."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with TemporaryDirectory() as folder:
            found = json.dumps(stable(JOBS[name](Path(folder))))
            return json.loads(found.replace(folder, "FOLDER"))
    finally:
        torch.set_num_threads(threads)


if __name__ == "__main__":
    target = Path(sys.argv[1])
    for name in sys.argv[2:] or JOBS:
        write_json(target / f"{name}.json", golden(name))
