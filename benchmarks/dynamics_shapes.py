"""When a small diffusion network learned a colour and a size it was never shown together, and from
when on it could be made to show them.

    python benchmarks/dynamics_shapes.py --out data/dynamics/shapes
    # all runs; skips finished ones python benchmarks/dynamics_shapes.py --out data/dynamics/shapes
    --hide 0.5 0.9 --signals 0.4 --seeds 0 1 2 3 python benchmarks/dynamics_shapes.py --out
    data/dynamics/shapes --tables                          # from the runs that are there

The second line's runs have prompts that leave the colour out of a share of the training images
(underspecification).
"""

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from interp.core import bootstrap_mean
from interp.core.files import write_json
from interp.dynamics.lags import elicitation_lag
from interp.dynamics.learning_times import (
    LearningRule,
    LearningTime,
    signal_correlation,
    typical_time,
)
from interp.dynamics.turns import TurnRule, find_turn
from interp.testbeds.concepts.elicitation import ARMS, CONTROL_OF
from interp.testbeds.concepts.run import (
    MEASURES,
    ConceptRun,
    ConceptTrainingSettings,
    load_concept_run,
    run_name,
)
from interp.testbeds.concepts.training import train_concepts
from interp.testbeds.images.concept_shapes import ConceptSignals, reader_accuracy

ROOT = Path(__file__).parent.parent
RESULTS = Path(__file__).parent / "results" / "dynamics_shapes.json"
RULE, FIRST, TURNS = (
    LearningRule(threshold=0.8, hold=3, for_good=True),
    LearningRule(threshold=0.8, hold=3),
    TurnRule(),
)
SIGNALS, SEEDS = (0.1, 0.2, 0.4, 0.8), tuple(range(8))
FIXED = 2.0
"""The factor that is shown beside the best of the grid."""
WITH_CHECKPOINTS = ((0.1, 0, 0.0), (0.2, 0, 0.0))
"""Signal, seed and hidden share of the runs whose checkpoints are kept."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=ROOT / "data" / "dynamics" / "shapes")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--signals", type=float, nargs="+", default=SIGNALS)
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS)
    parser.add_argument("--hide", type=float, nargs="+", default=(0.0,))
    parser.add_argument("--channels", type=int, default=ConceptTrainingSettings.channels)
    parser.add_argument("--tables", action="store_true", help="train nothing")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if not arguments.tables:
        _train(arguments)
    runs = [
        run
        for path in sorted(arguments.out.glob("*.json"))
        if (run := load_concept_run(path)).finished
    ]
    results = {
        "rule": {
            "threshold": RULE.threshold,
            "hold": RULE.hold,
            "smoothing": RULE.smoothing,
            "for_good": RULE.for_good,
        },
        "turn_rule": {
            "smoothing": TURNS.smoothing,
            "window": TURNS.window,
            "least": TURNS.least,
            "level": TURNS.level,
        },
        "fixed_factor": FIXED,
        "readers": {
            f"{signal:g}": _readers(signal)
            for signal in sorted({run.settings.colour for run in runs})
        },
        **_tables([run for run in runs if run.settings.hide == 0]),
        "underspecified": _underspecified(runs),
        "seconds": round(sum(run.seconds for run in runs), 1),
    }
    write_json(arguments.results, results)
    _print(results)


def _train(arguments: argparse.Namespace) -> None:
    # Seed by seed, so that a sweep that is broken off has all signals.
    wanted = [
        (signal, seed, hide)
        for seed in arguments.seeds
        for hide in arguments.hide
        for signal in arguments.signals
    ]
    start = time.perf_counter()
    for number, (signal, seed, hide) in enumerate(wanted):
        settings = ConceptTrainingSettings(
            colour=signal,
            seed=seed,
            channels=arguments.channels,
            hidden="colour" if hide else "none",
            hide=hide,
        )
        kept = (
            arguments.out / run_name(settings) if (signal, seed, hide) in WITH_CHECKPOINTS else None
        )
        run = train_concepts(
            settings, arguments.out / f"{run_name(settings)}.json", checkpoints=kept
        )
        passed = time.perf_counter() - start
        print(
            (
                f"{number + 1}/{len(wanted)} {run.name}: joint {run.learned('joint', RULE)}, "
                f"{passed:.0f} s so far"
            ),
            flush=True,
        )


def _readers(signal: float) -> dict[str, Any]:
    return {
        name: score.to_dict() for name, score in reader_accuracy(ConceptSignals(signal)).items()
    }


def _tables(runs: Sequence[ConceptRun]) -> dict[str, Any]:
    by = {
        signal: [run for run in runs if run.settings.colour == signal]
        for signal in sorted({run.settings.colour for run in runs})
    }
    tables: dict[str, Any] = {
        "learned": {
            f"{s:g}": {name: _typical([_learned(run, name) for run in part]) for name in MEASURES}
            for s, part in by.items()
        },
        "first_held": {
            f"{s:g}": {
                name: _typical([run.learned(name, FIRST) for run in part]) for name in MEASURES
            }
            for s, part in by.items()
        },
        "final": {
            f"{s:g}": {name: _mean([run.naive[name][-1] for run in part]) for name in MEASURES}
            for s, part in by.items()
        },
        "turns": {f"{s:g}": _turns(part) for s, part in by.items()},
        "arms": {f"{s:g}": {arm: _arm(part, arm) for arm in ARMS} for s, part in by.items()},
        "runs": [_one(run) for run in runs],
    }
    if len(by) > 1:
        tables["signal_correlation"] = {name: _correlation(by, name) for name in MEASURES}
    return tables


def _correlation(by: dict[float, list[ConceptRun]], name: str) -> dict[str, Any]:
    times: dict[float, Sequence[LearningTime]] = {
        signal: [_learned(run, name) for run in part] for signal, part in by.items()
    }
    return signal_correlation(times).to_dict()


def _learned(run: ConceptRun, name: str) -> LearningTime:
    return run.learned(name, RULE)


def _onsets(
    runs: Sequence[ConceptRun], arm: str, factor: float | None = None
) -> list[LearningTime]:
    return [run.elicited(arm, RULE, factor) for run in runs]


def _typical(times: Sequence[LearningTime]) -> dict[str, Any]:
    found = typical_time(times)
    names = ("value", "low", "high", "reached", "n", "last")
    return {name: getattr(found, name) for name in names} | {
        "each": [time.step for time in times],
        "text": str(found),
    }


def _mean(values: Sequence[float]) -> dict[str, Any]:
    return bootstrap_mean(np.array(values), seed=0).to_dict()


def _turns(runs: Sequence[ConceptRun]) -> dict[str, Any]:
    """Each seed's turn; of its straight ways, which share has one of as many degrees and as large;
    and the turn of the seeds' mean.
    """
    # A run that learned all at once has stopped before its headings could be told.
    runs = [run for run in runs if len(run.steps) > 2 * TURNS.window]
    turns = [
        run.trajectories().turn("colour", "size", TURNS, seed=run.settings.seed) for run in runs
    ]
    # Runs stop at different checkpoints: a mean over all of them ends with the first.
    shared = min(len(run.steps) for run in runs)
    mean = np.mean([run.trajectories().coordinates[:shared] for run in runs], axis=0)
    whole = find_turn(runs[0].steps[:shared], mean, TURNS)
    return {
        "found": sum(turn.found for turn in turns),
        "n": len(turns),
        "by_chance": float(np.mean([turn.by_chance for turn in turns])),
        "each": [_turn(turn) for turn in turns],
        "mean_way": _turn(whole),
        "before": _mean([turn.before for turn in turns]),
        "after": _mean([turn.after for turn in turns]),
    }


def _turn(turn: Any) -> dict[str, Any]:
    return {
        name: getattr(turn, name)
        for name in ("step", "before", "after", "angle", "p", "by_chance", "found")
    }


def _arm(runs: Sequence[ConceptRun], arm: str) -> dict[str, Any]:
    """Onsets at the best factor of each checkpoint and at the fixed one, and how much later the
    same noise does it when only asked.
    """
    naive = _onsets(runs, "naive")
    ways: dict[str, float | None] = (
        {"best": None} if arm == "naive" else {"best": None, "fixed": FIXED}
    )
    found: dict[str, Any] = {"control": CONTROL_OF.get(arm)}
    for name, factor in ways.items():
        onsets = _onsets(runs, arm, factor)
        found[name] = {"onset": _typical(onsets)}
        if arm != "naive" and any(time.reached for time in [*naive, *onsets]):
            lag = elicitation_lag(naive, onsets)
            ends = {key: getattr(lag, key) for key in ("median", "low", "high")}
            found[name]["lag"] = {
                key: end if np.isfinite(end) else "beyond" if end > 0 else "never"
                for key, end in ends.items()
            }
            found[name]["lag"] |= {
                key: getattr(lag, key) for key in ("open", "failed", "unknown", "n")
            }
            found[name]["lag"] |= {"earlier": lag.earlier.to_dict(), "text": str(lag)}
    return found


def _one(run: ConceptRun) -> dict[str, Any]:
    learned = {name: _learned(run, name).step for name in MEASURES}
    best = {arm: run.elicited(arm, RULE).step for arm in run.arms}
    return {
        "signal": run.settings.colour,
        "seed": run.settings.seed,
        "learned": learned,
        "best": best,
        "seconds": run.seconds,
    }


def _underspecified(runs: Sequence[ConceptRun]) -> list[dict[str, Any]]:
    """The same seeds with the colour hidden from no prompts and from some."""
    masked = [run for run in runs if run.settings.hide > 0]
    rows = []
    for signal, hide in sorted(
        {(run.settings.colour, hide) for run in masked for hide in (0.0, run.settings.hide)}
    ):
        seeds = {run.settings.seed for run in masked if run.settings.colour == signal}
        part = [
            run
            for run in runs
            if (run.settings.colour, run.settings.hide) == (signal, hide)
            and run.settings.seed in seeds
        ]
        if part:
            times = {name: _typical([_learned(run, name) for run in part]) for name in MEASURES}
            arms = {
                arm: _typical(_onsets(part, arm))
                for arm in ("naive", "over_prompt", "linear", "random")
            }
            final = {name: _mean([run.naive[name][-1] for run in part]) for name in MEASURES}
            rows.append(
                {
                    "signal": signal,
                    "hide": hide,
                    "n": len(part),
                    "learned": times,
                    "arms": arms,
                    "final": final,
                }
            )
    return rows


def _print(results: dict[str, Any]) -> None:
    for kind, words in (
        ("learned", "learned for good"),
        ("first_held", "first held, lost again or not"),
    ):
        print(
            f"\n{words}: {RULE if kind == 'learned' else FIRST}; median step over seeds, 95 % "
            "bootstrap interval"
        )
        print("| signal | " + " | ".join(MEASURES) + " |\n" + "|---" * 5 + "|")
        for signal, row in results[kind].items():
            print(f"| {signal} | " + " | ".join(row[name]["text"] for name in MEASURES) + " |")
    for name, score in results.get("signal_correlation", {}).items():
        ends = (
            f"{score['value']:.2f} [{score['low']:.2f}, {score['high']:.2f}], n = "
            f"{score['n']}, control {score['control']:.2f}"
        )
        print(f"speed of {name} against the colour's signal, rank correlation: {ends}")
    print(
        (
            "\nturns in the plane of colour (0°) and size (90°)\n| signal | found | by chance | "
            "before "
            "| after | of the mean way |\n"
        )
        + "|---" * 6
        + "|"
    )
    for signal, row in results["turns"].items():
        whole = row["mean_way"]
        mean = (
            f"{whole['before']:.0f}° to {whole['after']:.0f}° at {whole['step']:g} (p = "
            f"{whole['p']:.3f})"
        )
        ends = f"{row['before']['value']:.0f}° | {row['after']['value']:.0f}°"
        print(
            f"| {signal} | {row['found']} of {row['n']} | {row['by_chance']:.3f} | {ends} | {mean} "
            "|"
        )
    for way in ("best", "fixed"):
        print(
            f"\nonset and lag, {way} factor\n| signal | arm | onset | asked later by "
            "|\n|---|---|---|---|"
        )
        for signal, row in results["arms"].items():
            for arm, found in row.items():
                if way in found:
                    print(
                        f"| {signal} | {arm} | {found[way]['onset']['text']} | "
                        f"{found[way].get('lag', {}).get('text', '–')} |"
                    )
    print(
        (
            "\ncolour hidden from a share of prompts\n| signal | share | colour | size | joint | "
            "seen | over-prompt | linear | random |\n"
        )
        + "|---" * 9
        + "|"
    )
    for row in results["underspecified"]:
        cells = [row["learned"][name]["text"] for name in MEASURES] + [
            row["arms"][arm]["text"] for arm in ("over_prompt", "linear", "random")
        ]
        print(f"| {row['signal']:g} | {row['hide']:g} | " + " | ".join(cells) + " |")
    print(f"\n{results['seconds']:.0f} seconds of training and measuring")


if __name__ == "__main__":
    main()
