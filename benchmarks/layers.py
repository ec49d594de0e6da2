"""Which layer's features, and which site's companions? The measurement behind the default sites.

For every MLP site: dictionaries fitted on the fit sentences, each concept's feature chosen there,
scored on held-out sentences. The default is chosen by the *fit* column; the held-out columns are
reported beside it. Then, for one MLP site, companions at several residual sites, steered at equal
KL.

    python benchmarks/layers.py                     # SmolLM2-135M-Instruct; about ten minutes on
    two cores
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np

import interp
from interp.corpus import labelled, load_concepts
from interp.decompose import fit_sae, fit_snmf
from interp.detection import LabelledActivations, detect, summarise
from interp.features import companions
from interp.models import load_encoder, load_model
from interp.steering import Protocol, Target, evaluate_steering, fit_offline_judge

RESULTS = Path(__file__).parent / "results" / "layers.json"


def main() -> None:
    arguments = _arguments()
    model = load_model(arguments.model)
    concepts = load_concepts()
    fit, held_out = labelled(concepts, "fit"), labelled(concepts, "held_out")
    mlps, residuals = (
        [f"L{layer}.mlp" for layer in arguments.layers],
        [f"L{layer}.resid_post" for layer in arguments.companions],
    )
    known = interp.record(model, fit.texts, [*mlps, *residuals])
    unseen = interp.record(model, held_out.texts, mlps)
    results: dict[str, list[dict]] = {"detection": [], "steering": []}
    fitted = {}
    print(
        f"{'site':9} {'method':6} {'fit AUROC':>9} {'held-out AUROC':>32} {'>= .9':>6} "
        f"{'others':>7} {'seconds':>8}"
    )
    for site in mlps:
        for method, fitter in {
            "snmf": fit_snmf,
            "sae": lambda acts, k, seed: fit_sae(acts, k, steps=600, seed=seed),
        }.items():
            start = time.perf_counter()
            dictionary = fitter(known[site], arguments.features, seed=arguments.seed)
            rows = detect(
                dictionary,
                LabelledActivations(known[site], fit.labels),
                LabelledActivations(unseen[site], held_out.labels),
                seed=arguments.seed,
            )
            good, mean = summarise(rows)
            chosen = float(np.mean([row.chosen_on for row in rows]))
            others = float(np.mean([row.auroc_others.value for row in rows]))
            seconds = time.perf_counter() - start
            print(
                (
                    f"{site:9} {method:6} {chosen:9.3f} {mean!s:>32} {good:6d} {others:7.3f} "
                    f"{seconds:8.1f}"
                ),
                flush=True,
            )
            fitted[site, method] = (dictionary, rows)
            entry = {
                "site": site,
                "method": method,
                "fit": chosen,
                "held_out": mean.to_dict(),
                "good": good,
                "others": others,
            }
            results["detection"].append(entry)
            _write(results)
    judge = fit_offline_judge(model, load_encoder(), concepts)
    site = arguments.steer_site or max(
        mlps,
        key=lambda name: sum(
            np.mean([row.chosen_on for row in fitted[name, m][1]]) for m in ("snmf", "sae")
        ),
    )
    targets = []
    for method in ("snmf", "sae"):
        dictionary, rows = fitted[site, method]
        best = sorted(rows, key=lambda row: -row.chosen_on)[: arguments.steered]
        for place in residuals:
            away = companions(dictionary, known[site], known[place])
            targets += [
                Target(
                    family=f"{method} at {place}",
                    method=method,
                    route="companion",
                    site=place,
                    direction=away[row.feature],
                    concept=row.concept,
                    feature_id=f"{method}-{row.feature}",
                )
                for row in best
            ]
    result = evaluate_steering(
        model,
        targets,
        judge=judge,
        protocol=Protocol(strengths=(0.5, 1.0), n_random=1),
        seed=arguments.seed,
    )
    for family in result.families:
        print(f"companions of {site}: {family.family:32} {family.report!s:>48}", flush=True)
        results["steering"].append(
            {
                "of": site,
                "family": family.family,
                "report": None if family.report is None else family.report.to_dict(),
            }
        )
    _write(results)


def _write(results: dict) -> None:
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="smollm2-135m-instruct")
    parser.add_argument("--layers", type=int, nargs="+", default=[3, 5, 7, 25])
    parser.add_argument("--companions", type=int, nargs="+", default=[10, 15, 20])
    parser.add_argument("--steer-site")
    parser.add_argument("--features", type=int, default=100)
    parser.add_argument("--steered", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    main()
