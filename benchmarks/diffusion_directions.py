"""Directions in the bottleneck of a small generator, judged by factors that are known: what each
method moves, and what else it changes.

Everything is chosen on some seeds (directions: 100, strengths: 101) and reported on others (103;
the regions of Jacobian vectors on 302).

    python benchmarks/diffusion_directions.py --model data/models/shapes_study               # about
    ten minutes on one slow core python benchmarks/diffusion_directions.py --model
    data/models/shapes_study --parts supervised
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from interp.core import Score, bootstrap_mean
from interp.decompose.sae.fit import fit_sae
from interp.decompose.snmf.fit import fit_snmf
from interp.diffusion.bottleneck.carriers import carrier_shares
from interp.diffusion.bottleneck.interchange import interchange
from interp.diffusion.bottleneck.readable import readable, readable_writable
from interp.diffusion.directions.components import ica_directions, pca_directions
from interp.diffusion.directions.from_dictionary import dictionary_directions, image_rows
from interp.diffusion.directions.jacobian import Linearised, away_from, singular_vectors
from interp.diffusion.directions.mean_difference import mean_difference_directions
from interp.diffusion.directions.noiseclr import contrastive_directions
from interp.diffusion.directions.projection import overlap
from interp.diffusion.directions.regression import regression_directions
from interp.diffusion.directions.step_directions import StepDirections, random_like
from interp.diffusion.edits.boundary import (
    cross_boundaries,
    fit_boundary,
    mixing_step,
    record_passing,
)
from interp.diffusion.edits.curved import CurvedEdit, fit_curves
from interp.diffusion.edits.dpm_encoder import decode_code, encode, translate
from interp.diffusion.edits.inversion import decode, invert
from interp.diffusion.edits.straight import Edit
from interp.diffusion.images.factors import factor_table
from interp.diffusion.records.activations import StepActivations, record_steps
from interp.diffusion.sampling.ddim import sample
from interp.diffusion.sampling.levels import cancellations, noise_levels
from interp.diffusion.scores.decoupling import decoupled_strengths
from interp.diffusion.scores.effects import (
    EditScore,
    Judge,
    Trial,
    fresh_trial,
    judge_of,
    odd_changes,
    random_edit,
    score_edit,
)
from interp.diffusion.scores.label_efficiency import label_efficiency
from interp.diffusion.scores.matching_strength import strength_for
from interp.diffusion.scores.projection_effect import projection_effect
from interp.diffusion.scores.separation import separation_at
from interp.diffusion.scores.translation import translation_score
from interp.models import UNetModel
from interp.testbeds.generators.network import load_generator
from interp.testbeds.images.shapes import ShapeRanges, read_shapes, shape_images

PLAIN = Path(__file__).parent.parent / "data" / "models" / "shapes_plain"
RESULTS = Path(__file__).parent / "results" / "diffusion_directions.json"
PARTS = (
    "rules",
    "supervised",
    "few",
    "unsupervised",
    "jacobian",
    "inversion",
    "boundary",
    "translation",
    "readable_written",
    "carriers",
    "speed",
)
STEPS = 20


class Setting:
    """A network, its judge, recorded samples, and images to choose and to report on."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.model: UNetModel = load_generator(arguments.model)
        self.classes: Path | None = arguments.classes
        self.translated: int = arguments.translated
        self.data = shape_images(2000, seed=99).images
        self.judge: Judge = judge_of(read_shapes, self.data)
        self.acts: StepActivations = record_steps(
            self.model, arguments.samples, seed=100, batch_size=128
        )
        known = factor_table(read_shapes, self.acts.images)
        self.labels = {name: known[name] for name in self.judge.factors}
        self.choose: Trial = fresh_trial(self.model, self.judge, arguments.choose, seed=101)
        self.report: Trial = fresh_trial(self.model, self.judge, arguments.report, seed=103)

    def supervised(self, per_side: int = 60) -> StepDirections:
        return mean_difference_directions(self.acts, self.labels, per_side)

    def scored(
        self,
        direction: StepDirections,
        factor: str,
        window: range | None = None,
        *,
        sign: int = 1,
        controls: int = 2,
    ) -> EditScore:
        """The direction at the strength that moves its factor by half a sd on the choosing images,
        judged on the reporting ones.
        """
        found = strength_for(self.choose, direction, factor, 0.5, sign=sign, window=window)
        edit = Edit(direction, (sign * found.strength,), "asymmetric", window)
        others = [random_edit(edit, seed=i) for i in range(controls)]
        return score_edit(self.report, edit, others, factor, sign=sign, reached=found.reached)


def rules(setting: Setting) -> dict[str, Any]:
    """Is the measured ratio of symmetric to asymmetric effects the predicted one, step by step?"""
    levels = noise_levels(setting.model, STEPS)
    predicted = cancellations(levels)
    direction = setting.supervised()["x"]
    rows = []
    for step in (4, 6, 8, 10, 12, 14, 16, 18):
        window = range(step, step + 1)
        moved = {}
        for rule in ("asymmetric", "symmetric"):
            up, down = (
                setting.choose.made(Edit(direction, (sign * 0.002,), rule, window))
                for sign in (1, -1)
            )
            moved[rule] = (up - down).double().flatten()
        ratio = float(moved["symmetric"] @ moved["asymmetric"] / moved["asymmetric"].square().sum())
        rows.append(
            {
                "step": step,
                "predicted": float(predicted[step]),
                "measured": ratio,
                "error": ratio / float(predicted[step]) - 1,
            }
        )
        print(
            (
                f"step {step:2} predicted {predicted[step]:.4f} measured {ratio:.4f} "
                f"({rows[-1]['error']:+.2%})"
            ),
            flush=True,
        )
    print(
        f"mean over steps: {predicted.mean():.4f} (eta 0), "
        f"{cancellations(levels, eta=1.0).mean():.4f} (eta 1)"
    )
    return {
        "rows": rows,
        "mean_eta_0": float(predicted.mean()),
        "mean_eta_1": float(cancellations(levels, eta=1.0).mean()),
    }


def supervised(setting: Setting) -> dict[str, Any]:
    """Mean differences and regression, up and down, each direction and sign at its own matched
    strength.
    """
    result: dict[str, Any] = {}
    late = range(STEPS - 3, STEPS)
    curves = fit_curves(setting.acts, setting.labels)
    print(
        (
            "the site as a cubic of the factors, held-out share explained by step: "
            f"{curves.explained.numpy().round(2)}"
        ),
        flush=True,
    )
    for factor in setting.judge.factors:
        for sign in (1, -1):
            start = time.perf_counter()
            found = decoupled_strengths(
                setting.choose,
                lambda s: CurvedEdit(curves=curves, strengths=s, window=late),
                len(curves.factors),
                factor,
                0.5 * sign,
            )
            edit = CurvedEdit(curves=curves, strengths=found.strengths, window=late)
            others = [random_edit(edit, seed=i) for i in range(2)]
            score = score_edit(
                setting.report, edit, others, factor, sign=sign, reached=found.missed < 0.05
            )
            result[f"curved, decoupled, last 3 steps {factor} {sign:+d}"] = _plain(score) | {
                "strengths": found.strengths
            }
            print(f"curved, decoupled {score} ({time.perf_counter() - start:.0f} s)", flush=True)
    for directions in (regression_directions(setting.acts, setting.labels), setting.supervised()):
        for factor in setting.judge.factors:
            for sign in (1, -1):
                score = setting.scored(directions[factor], factor, sign=sign)
                result[f"{directions.method} {factor} {sign:+d}"] = _plain(score)
                print(f"{directions.method:16} {score}", flush=True)
    return result


def few(setting: Setting) -> dict[str, Any]:
    """Mean differences from few labelled examples a side against a hundred, all of one length; and
    what projection takes away.
    """
    many = setting.supervised(100)
    result: dict[str, Any] = {}
    for factor in setting.judge.factors:
        strength = strength_for(setting.choose, many[factor], factor, 0.5).strength
        length = float(many[factor].norms) * strength
        found = label_efficiency(
            setting.report,
            setting.acts,
            setting.labels,
            factor,
            length,
            counts=(5, 10, 20, 40, 100),
            draws=3,
            seed=1,
        )
        result[factor] = {
            "labels": {
                str(row.per_side): {"effect": row.effect.to_dict(), "ratio": row.ratio.to_dict()}
                for row in found.rows
            }
        }
        print(found, flush=True)
        for other in [name for name in setting.judge.factors if name != factor]:
            score = projection_effect(
                setting.report, many[factor], many[other], factor, other, strength
            )
            result[factor][f"without {other}"] = {k: _json(v) for k, v in vars(score).items()}
            print(
                (
                    f"   {factor} less {other}: target kept {score.target_kept}, leak left "
                    f"{score.leak_left}, drift left {score.drift_left}"
                ),
                flush=True,
            )
    return result


def readable_written(setting: Setting) -> dict[str, Any]:
    """What can be read off h and off the noised image, beside what a direction in h writes; the
    plain network beside this one.
    """
    result: dict[str, Any] = {}
    for name, model in {"this": setting.model, "plain": load_generator(PLAIN)}.items():
        passing = record_passing(model, 400, seed=100)
        known = factor_table(read_shapes, passing.images)
        labels = {factor: known[factor] for factor in setting.judge.factors}
        reading = readable(passing, labels, steps=(2, 6, 10, 14, 18))
        acts = (
            setting.acts if name == "this" else record_steps(model, 400, seed=100, batch_size=128)
        )
        directions = regression_directions(acts, labels_of(setting, acts))
        choose, report = (
            fresh_trial(model, setting.judge, count, seed=seed)
            for count, seed in ((32, 101), (96, 103))
        )
        effects = {}
        lengths = {}
        for factor in labels:
            edit = Edit(
                directions[factor],
                (strength_for(choose, directions[factor], factor, 0.5).strength,),
            )
            effects[factor] = score_edit(report, edit, [random_edit(edit, seed=0)], factor).change
            # In how many sd of what samples hold along all directions together: beyond about 1 no
            # image ever holds that.
            lengths[factor] = (
                edit.strengths[0]
                * float(directions[factor].norms)
                / float(acts.values.std(dim=0).norm())
            )
        slopes = interchange(model, read_shapes, pairs=128, seed=20).at(range(STEPS))
        table = readable_writable(reading, effects, slopes)
        print(
            f"{name}: {model.name}\n{table}\nlength of the edits, in sd of the samples: {lengths}",
            flush=True,
        )
        result[name] = {
            "effects": {f: e.to_dict() for f, e in effects.items()},
            "slopes": {f: e.to_dict() for f, e in slopes.items()},
            "lengths": lengths,
            "table": str(table),
        }
    return result


def labels_of(setting: Setting, acts: StepActivations) -> dict[str, torch.Tensor]:
    """The factors of recorded images."""
    known = factor_table(read_shapes, acts.images)
    return {factor: known[factor] for factor in setting.judge.factors}


def carriers(setting: Setting) -> dict[str, Any]:
    """What share of an edit's effect goes on through the bottleneck and through each skip, for x
    and colour.
    """
    directions = regression_directions(setting.acts, setting.labels)
    trial, result = fresh_trial(setting.model, setting.judge, 32, seed=103), {}
    for factor in ("x", "colour"):
        strength = strength_for(setting.choose, directions[factor], factor, 0.5).strength
        shares = carrier_shares(trial, Edit(directions[factor], (strength,)), factors=[factor])
        print(f"{factor}: whole {shares.whole[factor]}, direct {shares.direct[factor]}", flush=True)
        result[factor] = {
            "whole": shares.whole[factor].to_dict(),
            "direct": shares.direct[factor].to_dict(),
        }
        for row in shares.rows:
            result[factor][row.carrier] = {"lost": row.lost.to_dict(), "kept": row.kept.to_dict()}
            print(
                (
                    f"   {row.carrier:6} lost when held {row.lost}   kept with all others held "
                    f"{row.kept}"
                ),
                flush=True,
            )
    return result


def speed(setting: Setting) -> dict[str, Any]:
    """Recording beside plain sampling, 500 images in 10 steps, interleaved; medians of 5."""
    times: dict[str, list[float]] = {"plain": [], "recorded": []}
    for turn in range(6):
        for name, run in (
            ("plain", lambda: sample(setting.model, 500, seed=7, steps=10)),
            ("recorded", lambda: record_steps(setting.model, 500, seed=7, steps=10)),
        ):
            start = time.process_time()
            run()
            if turn:
                times[name].append(time.process_time() - start)
    medians = {name: float(np.median(values)) for name, values in times.items()}
    ratio = medians["recorded"] / medians["plain"]
    print(
        f"sampling {medians['plain']:.2f} s, with recording {medians['recorded']:.2f} s of "
        f"processor time: {ratio:.3f}"
    )
    return {**medians, "ratio": ratio}


def unsupervised(setting: Setting) -> dict[str, Any]:
    """Every method's directions × factors table at equal effect on the factor it moves most, and
    what it spans.
    """
    acts, model = setting.acts, setting.model
    rows = image_rows(acts)
    makers: dict[str, Callable[[], StepDirections]] = {
        "supervised": setting.supervised,
        "pca": lambda: pca_directions(acts, 4),
        "pca per step": lambda: pca_directions(acts, 4, mode="per_step"),
        "ica": lambda: ica_directions(acts, 4),
        "snmf": lambda: dictionary_directions(
            acts, fit_snmf(rows, 8, sparsity=0.2, max_iterations=60, seed=0), count=4
        ),
        "sae": lambda: dictionary_directions(
            acts, fit_sae(rows, 16, k=4, steps=300, batch_size=128, seed=0), count=4
        ),
        "noiseclr": lambda: contrastive_directions(model, acts, 4, iterations=60, seed=0),
        "random": lambda: random_like(pca_directions(acts, 4), seed=7),
    }
    truth = regression_directions(acts, setting.labels)
    result: dict[str, Any] = {}
    for method, maker in makers.items():
        start = time.perf_counter()
        directions = maker()
        effects = {}
        for name in directions.names:
            direction = directions[name].scaled(1.0)
            effects[name] = odd_changes(
                setting.report, direction, _common_strength(setting, direction)
            )
        inside = overlap(truth, directions)
        purity = separation_at(effects, seed=0)
        table = {
            name: {
                factor: bootstrap_mean(values[:, i], seed=0)
                for i, factor in enumerate(setting.judge.factors)
            }
            for name, values in effects.items()
        }
        result[method] = {
            "separation": purity.to_dict(),
            "overlap": dict(zip(setting.judge.factors, inside.tolist(), strict=True)),
            "table": {
                name: {factor: score.to_dict() for factor, score in row.items()}
                for name, row in table.items()
            },
            "seconds": time.perf_counter() - start,
        }
        print(
            (
                f"{method:13} separation {purity}  overlap "
                f"{' '.join(f'{share:.2f}' for share in inside)}"
            ),
            flush=True,
        )
        for name, row in table.items():
            print(
                f"    {name:14} "
                + "  ".join(
                    f"{factor} {score.value:+.2f}±{(score.high - score.low) / 2:.2f}"
                    for factor, score in row.items()
                )
            )
    return result


def jacobian(setting: Setting) -> dict[str, Any]:
    """Do directions of a region change the region? And is the count of evaluations what it is said
    to be?
    """
    levels = noise_levels(setting.model, STEPS)
    count = 24
    passing = record_passing(setting.model, count, seed=302)
    left = torch.zeros(passing.images.shape[2:])
    left[:, : left.shape[1] // 2] = 1
    ratios, protected, whole, evaluations = [], [], [], []
    for image in range(count):
        noised = passing.noised[image : image + 1, 10]
        found = singular_vectors(
            setting.model,
            noised,
            levels.timesteps[10],
            2,
            mask=left,
            most_iterations=15,
            tolerance=1e-3,
        )
        free = singular_vectors(
            setting.model, noised, levels.timesteps[10], 2, most_iterations=15, tolerance=1e-3
        )
        evaluations.append((found.evaluations, 2 * found.iterations + 2))
        plain = Linearised(setting.model, noised, levels.timesteps[10], "mid", None)
        rest = singular_vectors(
            setting.model,
            noised,
            levels.timesteps[10],
            6,
            mask=1 - left,
            most_iterations=15,
            tolerance=1e-3,
        )
        for vectors, into in (
            (found.directions, ratios),
            (away_from(found, rest), protected),
            (free.directions, whole),
        ):
            moved = plain.times(vectors[:1]).square()
            into.append(float((moved * left).sum() / (moved * (1 - left)).sum()) ** 0.5)
    score = bootstrap_mean(np.array(ratios), seed=0, control=float(np.mean(whole)))
    spared = bootstrap_mean(np.array(protected), seed=0, control=float(np.mean(whole)))
    print(f"root mean square change inside / outside the left half: {score}")
    print(f"with the rest's 6 vectors taken out: {spared}; evaluations, allowed: {evaluations[:3]}")
    return {
        "inside_outside": score.to_dict(),
        "protected": spared.to_dict(),
        "evaluations": evaluations,
    }


def inversion(setting: Setting) -> dict[str, Any]:
    """How exact are inversions and codes of real images?"""
    images = setting.data[:48]
    result: dict[str, Any] = {}
    for refinements in (0, 2, 5, 10):
        error = bootstrap_mean(
            invert(setting.model, images, refinements=refinements).error.numpy(), seed=0
        )
        result[f"ddim {refinements}"] = error.to_dict()
        print(
            (
                f"DDIM inversion, {refinements:2} refinements: mean squared error "
                f"{error.value:.2e} "
                f"[{error.low:.2e}, {error.high:.2e}]"
            ),
            flush=True,
        )
    code = encode(setting.model, images, seed=0)
    worst = float((decode_code(setting.model, code) - images).abs().max())
    without = float((decode_code(setting.model, code, with_rest=False) - images).square().mean())
    result["code"] = {
        "largest_error": worst,
        "mean_squared_without_rest": without,
        "noise_sd": code.noise_sd.tolist(),
    }
    print(
        f"code: largest error {worst:.1e}; without the rest, mean squared {without:.1e}; noise sd "
        f"{code.noise_sd.numpy().round(2)}"
    )
    return result


def boundary(setting: Setting) -> dict[str, Any]:
    """Linear boundaries at every few steps, and edits across them at the mixing step."""
    passing = record_passing(setting.model, 300, seed=100)
    labels = factor_table(read_shapes, passing.images)
    result: dict[str, Any] = {}
    for factor in setting.judge.factors:
        planes = {
            space: {
                step: fit_boundary(passing, labels[factor], step, space=space)
                for step in range(0, STEPS, 3)
            }
            for space in ("site", "image")
        }
        chosen = mixing_step({step: plane.accuracy.value for step, plane in planes["site"].items()})
        place = setting.judge.factors.index(factor)
        result[factor] = {
            space: {str(s): plane.accuracy.to_dict() for s, plane in found.items()}
            for space, found in planes.items()
        }
        accuracies = {
            space: " ".join(f"{plane.accuracy.value:.2f}" for plane in found.values())
            for space, found in planes.items()
        }
        print(
            (
                f"{factor:8} accuracy by step (every third) h: {accuracies['site']} | x_t: "
                f"{accuracies['image']}; mixing step {chosen}"
            ),
            flush=True,
        )
        sets = {"h": ("site",), "x_t": ("image",), "both": ("site", "image")}
        for name, spaces in sets.items():
            planes_here = [planes[space][chosen] for space in spaces]
            up, down = (
                setting.judge.table(
                    cross_boundaries(
                        setting.model, len(setting.report.base), planes_here, d, seed=103
                    )
                )
                for d in (2.0, -2.0)
            )
            moved = (up - down) / 2
            values = moved[~moved.isnan().any(dim=1)].numpy()
            change = bootstrap_mean(values[:, place], seed=0)
            leak = bootstrap_mean(np.abs(np.delete(values, place, axis=1)).mean(axis=1), seed=0)
            result[factor][name] = {
                "change": change.to_dict(),
                "leak": leak.to_dict(),
                "step": chosen,
            }
            print(f"    across by ±2 sd in {name:5}: change {change} leak {leak}", flush=True)
    return result


def translation(setting: Setting) -> dict[str, Any]:
    """Blue circles as red ones and red as blue, by a network that was trained on both as classes
    (`--classes`).
    """
    result: dict[str, Any] = _recoloured(setting)
    if setting.classes is None:
        return result
    model = load_generator(setting.classes)
    result["weights"] = model.weight_hash
    for target, low, high in ((1, 0.7, 1.1), (0, -0.1, 0.3)):
        ends = ((0.75, 1.0), (0.0, 0.25))[target]
        images = shape_images(
            128, ranges=ShapeRanges(colour=ends), seed=setting.translated + target
        ).images
        own, other = torch.full((128,), 1 - target), torch.full((128,), target)
        ways = {
            f"code from step {first}, eta {eta}": translate(
                model, images, labels=own, to=other, eta=eta, seed=7, first=first
            )
            for first in (0, 4, 6, 8, 10, 12)
            for eta in (0.1, 1.0)
        }
        found = invert(model, images, labels=own, refinements=5)
        ways["inversion"] = decode(model, found.noise, labels=other)
        for way, made in ways.items():
            score = translation_score(images, made, read_shapes, "colour", low, high)
            name = f"{'blue to red' if target else 'red to blue'}, {way}"
            result[name] = {
                "success": score.success.to_dict(),
                "kept": {n: s.to_dict() for n, s in score.kept.items()},
            }
            print(f"{name:32} {score}", flush=True)
    return result


def _recoloured(setting: Setting) -> dict[str, Any]:
    """Codes of real images, decoded while the colour in h is set to the target's, along curves."""
    curves = fit_curves(setting.acts, setting.labels)
    window, result = range(14, STEPS), {}
    for target, low, high in ((1, 0.7, 1.1), (0, -0.1, 0.3)):
        images = shape_images(
            128,
            ranges=ShapeRanges(colour=((0.75, 1.0), (0.0, 0.25))[target]),
            seed=setting.translated + target,
        ).images
        wanted = tuple(
            curves.units(name, (0.1, 0.9)[target]) if name == "colour" else float("nan")
            for name in curves.factors
        )
        code = encode(setting.model, images, seed=7, eta=0.1)
        edit = CurvedEdit(curves=curves, strengths=wanted, window=window, settle=True)
        for way, chosen in (("curve", edit), ("random directions as long", edit.randomised(1))):
            made = decode_code(setting.model, code, edit=chosen, with_rest=False)
            score = translation_score(images, made, read_shapes, "colour", low, high)
            name = (
                f"{'blue to red' if target else 'red to blue'}, code decoded with h moved along "
                f"{way}"
            )
            result[name] = {
                "success": score.success.to_dict(),
                "kept": {n: s.to_dict() for n, s in score.kept.items()},
            }
            print(f"{name:32} {score}", flush=True)
    return result


def _json(value: Any) -> Any:
    return value.to_dict() if isinstance(value, Score) else value


def _common_strength(setting: Setting, direction: StepDirections, wanted: float = 0.5) -> float:
    """The strength at which the factor that a direction moves most moves by `wanted`, either way,
    on the choosing images.
    """
    strength, tried = 2.0, []
    for _ in range(5):
        moved = np.abs(odd_changes(setting.choose, direction, strength).mean(axis=0)).max()
        tried.append((abs(moved - wanted), strength))
        if abs(moved - wanted) < 0.1:
            break
        strength *= float(np.clip(wanted / max(moved, 1e-3), 0.3, 3.0))
        strength = min(strength, 40.0)
    return min(tried)[1]


def _plain(score: EditScore) -> dict[str, Any]:
    def plain(value: Any) -> Any:
        return value.to_dict() if isinstance(value, Score) else value

    fields = {
        name: plain(getattr(score, name))
        for name in ("target", "strength", "change", "right_sign", "leak", "dropped", "reached")
    }
    return fields | {
        "leaks": {name: leak.to_dict() for name, leak in score.leaks.items()},
        "selectivity": score.selectivity,
    }


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="data/models/shapes_study")
    parser.add_argument(
        "--classes",
        type=Path,
        help="for translation: a network of shapes_classes (benchmarks/diffusion_models.py)",
    )
    parser.add_argument(
        "--translated",
        type=int,
        default=400,
        help="seed of the images to translate; the step was chosen on 500",
    )
    parser.add_argument("--parts", nargs="+", default=PARTS, choices=PARTS)
    parser.add_argument("--samples", type=int, default=512)
    parser.add_argument("--choose", type=int, default=48)
    parser.add_argument("--report", type=int, default=200)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=RESULTS)
    return parser.parse_args()


def main() -> None:
    arguments = _arguments()
    torch.set_num_threads(arguments.threads)
    setting = Setting(arguments)
    results: dict[str, Any] = (
        json.loads(arguments.out.read_text()) if arguments.out.exists() else {}
    )
    name, weights = setting.model.name, setting.model.weight_hash
    results |= {
        "model": name,
        "weights": weights,
        "samples": len(setting.acts),
        "report": len(setting.report.base),
    }
    for part in arguments.parts:
        start = time.perf_counter()
        print(f"\n== {part}")
        found = globals()[part](setting)
        results[part] = {**found, "seconds": round(time.perf_counter() - start, 1)}
        arguments.out.parent.mkdir(exist_ok=True)
        arguments.out.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
