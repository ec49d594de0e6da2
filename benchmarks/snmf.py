"""The semi-NMF solver against the published multiplicative algorithm, side by side: same data,
start, seed and constraint.

- speed: seconds (wall and CPU) until the loss that the multiplicative algorithm has at its last
iteration, preparation included, for
  both ways to the directions; the final losses; one iteration against its two matrix products of
  the same shapes.
- recovery: planted sparse factors with correlated coefficients and noise, K known and half as many
again, with scikit-learn beside it.

    python benchmarks/snmf.py                            # about twenty minutes on one core
    python benchmarks/snmf.py --acts FOLDER [FOLDER …]   # recorded activations instead of recording
    the shipped corpus
"""

import argparse
import json
import math
import statistics
import time
import warnings
from pathlib import Path

import torch

import interp
from interp.core import ConvergenceWarning
from interp.corpus import labelled, load_concepts
from interp.decompose import Snmf, fit_snmf, match_directions
from interp.models import load_model

RESULTS = Path(__file__).parent / "results" / "snmf.json"
CHUNK = 4096


def main() -> None:
    arguments = _arguments()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    results |= {
        "threads": torch.get_num_threads(),
        "features": arguments.features,
        "seed": arguments.seed,
    }
    if "speed" in arguments.parts:
        results["speed"] = results.get("speed", {})
        print(
            (
                f"{'set':12} {'directions by':14} {'rows':>5} {'d':>5} {'mult. s':>8} "
                f"{'ours s':>7} "
                f"{'ratio':>6} {'CPU':>6} "
            ),
            end="",
        )
        print(f"{'mult. loss':>10} {'ours':>8} {'/products':>9}")
        for name, acts in _sets(arguments).items():
            results["speed"][name] = _speed(name, acts, arguments)
            _write(results)
    if "recovery" in arguments.parts:
        results["recovery"] = _recovery(arguments.recovery_seeds)
        _write(results)


def _sets(arguments: argparse.Namespace) -> dict[str, torch.Tensor]:
    sets = {}
    for noise in arguments.noise:
        sets[f"planted {noise:g}"] = _planted(20_000, 2048, 100, 21, noise, arguments.seed)[0]
    if arguments.acts:
        # One site may lie in several folders (fit and held-out sentences).
        loaded = [interp.load_activations(folder) for folder in arguments.acts]
        return sets | {
            str(site): torch.cat([acts.values.float() for acts in loaded if acts.site == site])
            for site in dict.fromkeys(acts.site for acts in loaded)
        }
    if arguments.sites:
        model, concepts = load_model(arguments.model), load_concepts()
        texts = [*labelled(concepts, "fit").texts, *labelled(concepts, "held_out").texts]
        recorded = interp.record(model, texts, arguments.sites)
        sets |= {site: recorded[site].values for site in arguments.sites}
    return sets


def _planted(
    n_rows: int, width: int, n_features: int, support: int, noise: float, seed: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows and their sparse directions: features in groups of four that tend to be active together,
    exponential coefficients.
    """
    generator = torch.Generator().manual_seed(seed)
    places = torch.rand(n_features, width, generator=generator).topk(support, dim=1).indices
    entries = torch.nn.functional.normalize(torch.randn(n_features, support, generator=generator))
    directions = torch.zeros(n_features, width).scatter_(1, places, entries)
    together = (torch.rand(n_rows, -(-n_features // 4), generator=generator) < 0.2)[
        :, torch.arange(n_features) // 4
    ]
    alone = torch.rand(n_rows, n_features, generator=generator)
    active = (together & (alone < 0.6)) | (
        torch.rand(n_rows, n_features, generator=generator) < 0.05
    )
    clean = (
        active * torch.empty(n_rows, n_features).exponential_(generator=generator)
    ) @ directions
    drawn = torch.randn(clean.shape, generator=generator)
    return clean + noise * drawn * clean.norm() / drawn.norm(), directions


def _speed(name: str, acts: torch.Tensor, arguments: argparse.Namespace) -> dict:
    runs = [_timed(acts, arguments)]
    published = _timed(acts, arguments, published=True)
    runs += [_timed(acts, arguments) for _ in range(arguments.runs - 1)]
    product = _product_seconds(acts, arguments.features)
    row = {
        "rows": len(acts),
        "d": acts.shape[1],
        "goal": published["trace"][-1],
        "multiplicative": _thinned(published),
    }
    row |= {"products_seconds": product, "least_squares": _against(published, runs, product)}
    row["descent"] = _against(published, [_timed(acts, arguments, descent=True)], product)
    for step in ("least_squares", "descent"):
        middle = row[step]["median"]
        print(
            f"{name:12} {step:14} {len(acts):5d} {acts.shape[1]:5d} {published['wall'][-1]:8.1f} "
            f"{middle['wall']:7.2f} "
            f"{middle['ratio_wall']:6.1f} {middle['ratio_cpu']:6.1f} {row['goal']:10.5f} "
            f"{middle['final']:8.5f} "
            f"{middle['iteration_over_products']:9.2f}",
            flush=True,
        )
    return row


def _against(published: dict, runs: list[dict], product: float) -> dict:
    """Each run against the multiplicative one, and the medians."""
    goal, rows = published["trace"][-1], []
    reached = [
        next((i for i, loss in enumerate(run["trace"]) if loss <= goal), None) for run in runs
    ]
    for run, index in zip(runs, reached, strict=True):
        steps = [
            after - before for before, after in zip(run["cpu"][1:-1], run["cpu"][2:], strict=False)
        ]
        entry = {
            "final": run["trace"][-1],
            "iterations": len(run["wall"]),
            "total_wall": run["total_wall"],
            "reached_iteration": index,
        }
        if index is not None:
            # The last loss is the final refit's, which ends with the fit.
            entry |= {key: [*run[key], run[f"total_{key}"]][index] for key in ("wall", "cpu")}
            entry |= {
                "ratio_wall": published["wall"][-1] / entry["wall"],
                "ratio_cpu": published["cpu"][-1] / entry["cpu"],
            }
        entry["iteration_over_products"] = statistics.median(steps) / product
        rows.append(entry)
    keys = ("final", "wall", "cpu", "ratio_wall", "ratio_cpu", "iteration_over_products")
    middle = {key: statistics.median(entry.get(key, math.nan) for entry in rows) for key in keys}
    return {"runs": rows, "median": middle | {"final_lower_by": 1 - middle["final"] / goal}}


def _timed(
    acts: torch.Tensor,
    arguments: argparse.Namespace,
    *,
    published: bool = False,
    descent: bool = False,
) -> dict:
    """A fit with the wall and CPU seconds since its start at the end of every iteration over all
    rows.
    """
    wall, cpu = [], []
    start = (time.perf_counter(), time.process_time())

    def note(what: str, done: int, total: int, unit: str) -> None:
        if what == "semi-NMF":
            wall.append(time.perf_counter() - start[0])
            cpu.append(time.process_time() - start[1])

    published_options = {
        "solver": "multiplicative",
        "max_iterations": arguments.iterations,
        "patience": arguments.iterations,
        "tolerance": 0.0,
    }
    ours = {
        "max_iterations": arguments.ours,
        "direction_step": "descent" if descent else "least_squares",
    }
    snmf = _fit(
        acts, arguments.features, arguments.seed, note, published_options if published else ours
    )
    return {
        "wall": wall,
        "cpu": cpu,
        "trace": snmf.trace.tolist(),
        "total_wall": time.perf_counter() - start[0],
        "total_cpu": time.process_time() - start[1],
    }


def _fit(
    acts: torch.Tensor,
    n_features: int,
    seed: int,
    progress: interp.core.Progress,
    options: dict,
    sparsity: float = 0.01,
) -> Snmf:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return fit_snmf(
            acts, n_features, sparsity=sparsity, seed=seed, progress=progress, **options
        )


def _thinned(published: dict) -> dict:
    return {key: published[key][9::10] for key in ("wall", "cpu", "trace")} | {"every": 10}


def _product_seconds(acts: torch.Tensor, n_features: int) -> float:
    """CPU seconds of the two products of one pass, in chunks as the fit has them."""
    directions, coefficients = torch.randn(n_features, acts.shape[1]), torch.rand(n_features, CHUNK)
    cross = torch.zeros_like(directions)
    seconds = []
    for _ in range(5):
        start = time.process_time()
        for chunk in acts.split(CHUNK):
            torch.mm(directions, chunk.T)
            cross.addmm_(coefficients[:, : len(chunk)], chunk)
        seconds.append(time.process_time() - start)
    return statistics.median(seconds)


def _recovery(seeds: int) -> list[dict]:
    rows = []
    print(f"{'K':>4} {'method':16} {'mean matched cosine per seed':44} {'mean':>6} {'seconds':>8}")
    for asked in (40, 60):
        for method in ("snmf", "multiplicative", "scikit-learn"):
            start, cosines = time.perf_counter(), []
            for seed in range(seeds):
                acts, truth = _planted(8000, 512, 40, 26, 0.1, seed)
                cosines.append(
                    match_directions(_recovered(method, acts, asked, seed), truth).mean_cosine
                )
            seconds = (time.perf_counter() - start) / seeds
            rows.append(
                {
                    "asked": asked,
                    "method": method,
                    "cosines": cosines,
                    "mean": statistics.mean(cosines),
                    "seconds": seconds,
                }
            )
            print(
                (
                    f"{asked:4d} {method:16} {' '.join(f'{c:.3f}' for c in cosines):44} "
                    f"{rows[-1]['mean']:6.3f} {seconds:8.1f}"
                ),
                flush=True,
            )
    return rows


def _recovered(method: str, acts: torch.Tensor, asked: int, seed: int) -> torch.Tensor:
    if method == "scikit-learn":
        import sklearn.exceptions
        from sklearn.decomposition import MiniBatchDictionaryLearning

        # Its inner solver warns of a gap below float32's precision.
        warnings.simplefilter("ignore", sklearn.exceptions.ConvergenceWarning)
        learner = MiniBatchDictionaryLearning(
            asked,
            alpha=0.1,
            max_iter=10,
            batch_size=256,
            positive_code=True,
            fit_algorithm="cd",
            random_state=seed,
        )
        return torch.from_numpy(learner.fit(acts.numpy()).components_).float()
    options = (
        {"solver": "multiplicative", "max_iterations": 500} if method == "multiplicative" else {}
    )
    return _fit(acts, asked, seed, interp.core.silent, options, sparsity=0.05).directions


def _write(results: dict) -> None:
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--parts", nargs="+", choices=("speed", "recovery"), default=["speed", "recovery"]
    )
    parser.add_argument(
        "--acts", nargs="+", help="folders of recorded activations; those of one site are joined"
    )
    parser.add_argument("--model", default="smollm2-135m-instruct")
    parser.add_argument("--sites", nargs="*", default=["L15.mlp", "L5.mlp"])
    parser.add_argument(
        "--noise",
        type=float,
        nargs="*",
        default=[0.1, 0.5],
        help="norm of the planted sets' noise over the signal's",
    )
    parser.add_argument("--features", type=int, default=100)
    parser.add_argument(
        "--iterations", type=int, default=500, help="of the multiplicative algorithm"
    )
    parser.add_argument("--ours", type=int, default=500, help="our max_iterations")
    parser.add_argument(
        "--runs", type=int, default=3, help="of ours, before and after the multiplicative one"
    )
    parser.add_argument("--recovery-seeds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    main()
