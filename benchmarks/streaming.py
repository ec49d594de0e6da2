"""Fitting activations that stay on disk: peak memory and time, and the same result as in memory.

Rows are a planted mixture (sparse directions, sparse non-negative coefficients, 10 % noise),
written in parts. Every step runs in a process of its own, whose peak resident memory is the
operating system's (`ru_maxrss`); what Python, torch and the package take without any data is shown
beside it.

    python benchmarks/streaming.py                      # 1,000,000 rows × 1536, 6 GB on disk
    (removed afterwards); about half an hour python benchmarks/streaming.py --rows 100000        # a
    tenth of it
"""

import argparse
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import torch

from interp.capture.store import (
    appending_activations,
    load_activations,
    open_activations,
    save_activations,
)
from interp.core import Activations, Contexts, ConvergenceWarning, Provenance
from interp.core.rows import ROW_MEMORY
from interp.decompose import (
    fit_difference_in_means,
    fit_pca,
    fit_snmf,
    match_directions,
    reconstruction,
)

RESULTS = Path(__file__).parent / "results" / "streaming.json"
TOKENS = 100
PART = 8000
SUBSET = 20_000
SMALL_MEMORY = 4 * 2**20
STEPS = ("write", "import", "fit", "same", "pca")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--width", type=int, default=1536)
    parser.add_argument("--features", type=int, default=100)
    parser.add_argument("--iterations", type=int, default=3)
    parser.add_argument(
        "--folder", type=Path, help="where the data goes; a new folder under it is made and removed"
    )
    parser.add_argument("--step", choices=STEPS, help="one step, in this process")
    arguments = parser.parse_args()
    if arguments.step:
        print(json.dumps(_step(arguments)))
        return
    folder = Path(tempfile.mkdtemp(prefix="streaming-", dir=arguments.folder))
    try:
        results = {step: _in_a_process(step, folder, arguments) for step in STEPS}
    finally:
        shutil.rmtree(folder)
    size = arguments.rows * arguments.width * 4 / 1e9
    setting = {
        "rows": arguments.rows,
        "width": arguments.width,
        "features": arguments.features,
        "iterations": arguments.iterations,
    }
    threads = results["fit"]["threads"]
    print(
        f"{arguments.rows:,} rows × {arguments.width} float32 ({size:.2f} GB), "
        f"{arguments.features} features, {threads} threads"
    )
    print(f"{'step':10} {'seconds':>9} {'peak GB':>8}")
    for step, row in results.items():
        rest = "  ".join(
            f"{name} {value:.3g}"
            for name, value in row.items()
            if name not in ("seconds", "peak_gb", "threads")
        )
        print(f"{step:10} {row['seconds']:9.1f} {row['peak_gb']:8.3f}  {rest}")
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(
        json.dumps(
            {**setting, "gigabytes": size, "memory_argument": ROW_MEMORY, "steps": results},
            indent=1,
        )
        + "\n"
    )


def _in_a_process(step: str, folder: Path, arguments: argparse.Namespace) -> dict[str, float]:
    options = [
        f"--{name}={getattr(arguments, name)}"
        for name in ("rows", "width", "features", "iterations")
    ]
    command = [sys.executable, __file__, f"--step={step}", f"--folder={folder}", *options]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    result: dict[str, float] = json.loads(done.stdout)
    print(step, result, file=sys.stderr, flush=True)
    return result


def _step(arguments: argparse.Namespace) -> dict[str, float]:
    warnings.simplefilter("ignore", ConvergenceWarning)
    start = time.perf_counter()
    steps = {"write": _write, "import": lambda _: {}, "fit": _fit, "pca": _pca, "same": _same}
    measured = steps[arguments.step](arguments)
    # Linux counts kilobytes.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    return {
        "seconds": time.perf_counter() - start,
        "peak_gb": peak,
        "threads": torch.get_num_threads(),
        **measured,
    }


def _planted(arguments: argparse.Namespace) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    kept = max(1, arguments.width // 100)
    places = (
        torch.rand(arguments.features, arguments.width, generator=generator)
        .topk(kept, dim=1)
        .indices
    )
    drawn = torch.randn(arguments.features, kept, generator=generator)
    return torch.zeros(arguments.features, arguments.width).scatter_(
        1, places, drawn / drawn.norm(dim=1, keepdim=True)
    )


def _write(arguments: argparse.Namespace) -> dict[str, float]:
    planted, generator = _planted(arguments), torch.Generator().manual_seed(1)
    with appending_activations(arguments.folder / "acts") as append:
        for start in range(0, arguments.rows, PART):
            append(_part(planted, start, min(PART, arguments.rows - start), generator))
    return {}


def _part(planted: torch.Tensor, start: int, count: int, generator: torch.Generator) -> Activations:
    active = torch.rand(count, len(planted), generator=generator) < 0.1
    coefficients = active * -torch.log(
        torch.rand(count, len(planted), generator=generator).clamp(min=1e-6)
    )
    rows = coefficients @ planted
    rows += 0.1 * rows.square().mean().sqrt() * torch.randn(rows.shape, generator=generator)
    numbers = np.arange(count)
    texts = -(-count // TOKENS)
    tokens = tuple(tuple(f" word{place}" for place in range(TOKENS)) for _ in range(texts))
    items = tuple(f"text {start // TOKENS + number}" for number in range(texts))
    contexts = Contexts(
        item=numbers // TOKENS,
        position=numbers % TOKENS,
        step=np.zeros(count, int),
        items=items,
        tokens=tokens,
    )
    return Activations(
        rows, contexts, "L15.mlp", Provenance("record", model="planted", site="L15.mlp")
    )


def _fit(arguments: argparse.Namespace) -> dict[str, float]:
    def progress(stage: str, done: int, total: int, unit: str) -> None:
        if done == total or stage == "semi-NMF":
            print(
                f"{time.strftime('%H:%M:%S')} {stage} {done}/{total}", file=sys.stderr, flush=True
            )

    acts = open_activations(arguments.folder / "acts")
    snmf = fit_snmf(
        acts, arguments.features, max_iterations=arguments.iterations, progress=progress
    )
    snmf.save(arguments.folder / "snmf")
    cosine = match_directions(snmf.directions, _planted(arguments)).mean_cosine
    return {"relative_error": float(snmf.trace[-1]), "matched_cosine": cosine}


def _pca(arguments: argparse.Namespace) -> dict[str, float]:
    """Reconstruction of all rows, whose coefficients are never in memory together."""
    acts = open_activations(arguments.folder / "acts")
    pca = fit_pca(acts, arguments.features)
    measured = reconstruction(pca, acts)
    return {"pca_explained_variance": measured.explained_variance.value}


def _same(arguments: argparse.Namespace) -> dict[str, float]:
    """Largest relative differences between fits of a subset in memory and on disk."""
    whole = open_activations(arguments.folder / "acts")
    rows = np.linspace(0, len(whole) - 1, min(SUBSET, len(whole))).astype(np.int64)
    folder = save_activations(whole.take(rows), arguments.folder / "subset")
    loaded, opened, small = (
        load_activations(folder),
        open_activations(folder),
        open_activations(folder, memory=SMALL_MEMORY),
    )
    differences = {}
    for name, disk in (("", opened), ("_small_chunks", small)):
        for method, fit in _FITS.items():
            one, two = fit(loaded, arguments.features), fit(disk, arguments.features)
            differences[f"{method}{name}"] = float(
                (one.directions - two.directions).abs().max() / one.directions.abs().max()
            )
            codes = one.encode(loaded)
            differences[f"{method}_encode{name}"] = float(
                (codes - one.encode(disk)).abs().max() / codes.abs().max()
            )
    return differences


_FITS = {
    "snmf": lambda acts, n: fit_snmf(acts, n, max_iterations=10),
    "pca": lambda acts, n: fit_pca(acts, n),
    "difference": lambda acts, n: fit_difference_in_means(
        acts, acts.take(np.arange(len(acts) // 2))
    ),
}


if __name__ == "__main__":
    main()
