"""Sparse autoencoders against a plain PyTorch loop of the same architecture: seconds per step side
by side, and what each explains.

- plain: an `nn.Module`, top-k, Adam at its default rate, autograd, decoder rows brought to unit
norm after every step; raw rows.
- plain, scaled: the same on rows scaled as ours are, at our learning rate (without warm-up, decay,
tied start or auxiliary loss).
- topk, batch_topk, jumprelu, gated: `fit_sae`.

Steps are timed in turns, so that drift of the machine falls on all alike; ratios are taken within a
turn. Explained variance is measured on held-out sentences after equal steps, from the same number
of batches.

    python benchmarks/sae.py                        # SmolLM2-135M-Instruct, L15.mlp; about ten
    minutes on one core
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

import interp
from interp.core import Provenance
from interp.corpus import labelled, load_concepts
from interp.decompose import reconstruction
from interp.decompose.sae.fit import Sae, fit_sae
from interp.decompose.sae.training import RULES, Batches, Trainer, top_k

RESULTS = Path(__file__).parent / "results" / "sae.json"
BATCH = 512
WARM_UP = 30


class Plain(nn.Module):
    """A top-k autoencoder as a tutorial writes it."""

    def __init__(self, width: int, n_features: int, k: int, rate: float) -> None:
        super().__init__()
        self.k = k
        self.encoder = nn.Linear(width, n_features)
        self.decoder = nn.Parameter(nn.functional.normalize(torch.randn(n_features, width), dim=1))
        self.offset = nn.Parameter(torch.zeros(width))
        self.optimiser = torch.optim.Adam(self.parameters(), lr=rate)

    def forward(self, rows: Tensor) -> Tensor:
        return top_k(self.encoder(rows - self.offset), self.k) @ self.decoder + self.offset

    def step(self, rows: Tensor) -> None:
        loss = (self(rows) - rows).square().mean()
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        with torch.no_grad():
            self.decoder /= self.decoder.norm(dim=1, keepdim=True)

    @torch.no_grad()
    def dictionary(self, scale: float) -> Sae:
        """The same autoencoder as a dictionary of raw rows."""
        ones = torch.ones(len(self.decoder))
        encoder, bias, offset = (
            self.encoder.weight.T.contiguous(),
            self.encoder.bias / scale,
            self.offset / scale,
        )
        return Sae(
            directions=self.decoder.detach(),
            offset=offset,
            provenance=Provenance("sae"),
            encoder=encoder.detach(),
            encoder_bias=bias,
            threshold=0 * ones,
            gain=ones,
            variant="topk",
            k=self.k,
            trace=torch.zeros(0),
        )


def main() -> None:
    arguments = _arguments()
    acts, held_out = _activations(arguments)
    setting = {
        "rows": len(acts),
        "width": acts.values.shape[1],
        "steps": arguments.steps,
        "batch": BATCH,
    }
    results: dict = {"site": acts.site, "setting": setting, "seconds": [], "explained": []}
    print(f"{acts.site}: {setting}, {torch.get_num_threads()} threads")
    for n_features, k in (
        (arguments.features, arguments.k),
        (10 * arguments.features, 4 * arguments.k),
    ):
        print(
            f"\n{'step, ' + str(n_features) + ' features, k ' + str(k):32} {'ms':>8} "
            f"{'ratio to plain':>15}"
        )
        for row in _timed(
            _steppers(acts.values, n_features, k),
            arguments.turns * arguments.features // n_features + 5,
        ):
            print(f"{row['what']:32} {1e3 * row['seconds']:8.2f} {row['ratio']:15.2f}")
            results["seconds"].append({"features": n_features, "k": k, **row})
    print(
        f"\n{'after ' + str(arguments.steps) + ' steps':32} {'seed':>4} {'L0':>6} {'dead':>5} "
        f"{'explained variance, held out':>36}"
    )
    for seed in range(arguments.seeds):
        for name, fit in _fits(acts, arguments, seed).items():
            measured = reconstruction(fit(), held_out)
            explained = measured.explained_variance
            print(
                (
                    f"{name:32} {seed:4d} {measured.l0:6.2f} {measured.dead_fraction:5.2f} "
                    f"{explained!s:>36}"
                ),
                flush=True,
            )
            row = {
                "what": name,
                "seed": seed,
                "l0": measured.l0,
                "dead": measured.dead_fraction,
                "explained": explained.to_dict(),
            }
            results["explained"].append(row)
            RESULTS.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


def _steppers(values: Tensor, n_features: int, k: int) -> dict[str, Callable[[], object]]:
    """One training step of each, the reading of its batch included, after enough steps to be as
    sparse as it will be.
    """
    rate = 1e-3
    plain = Plain(values.shape[1], n_features, k, rate)

    def plain_step() -> None:
        plain.step(values[torch.randint(len(values), (BATCH,))].float())

    def ours(variant: str) -> Callable[[], object]:
        generator = torch.Generator().manual_seed(0)
        start, batches = (
            torch.randn(n_features, values.shape[1], generator=generator),
            Batches(values, BATCH, generator),
        )
        rule = RULES[variant](k, n_features, values.device)
        trainer = Trainer(rule, start, batches.mean * batches.scale, 100_000)
        rule.start(trainer.latents(batches.first() - trainer.offset), 200)
        return lambda: trainer.step(batches.draw(), rate)

    return {"plain": plain_step, **{variant: ours(variant) for variant in RULES}}


def _timed(steppers: dict[str, Callable[[], object]], turns: int) -> list[dict]:
    for step in steppers.values():
        for _ in range(WARM_UP):
            step()
    seconds: dict[str, list[float]] = {name: [] for name in steppers}
    for _ in range(turns):
        for name, step in steppers.items():
            start = time.perf_counter()
            step()
            seconds[name].append(time.perf_counter() - start)
    return [
        {
            "what": name,
            "seconds": statistics.median(own),
            "ratio": statistics.median(
                mine / base for mine, base in zip(own, seconds["plain"], strict=True)
            ),
        }
        for name, own in seconds.items()
    ]


def _fits(
    acts: interp.Activations, arguments: argparse.Namespace, seed: int
) -> dict[str, Callable[[], Sae]]:
    n_features, k, steps = arguments.features, arguments.k, arguments.steps

    def plain(scaled: bool) -> Sae:
        torch.manual_seed(seed)
        batches = Batches(acts.values, BATCH, torch.Generator().manual_seed(seed))
        batches.scale = batches.scale if scaled else 1.0
        module = Plain(acts.values.shape[1], n_features, k, 2e-3 if scaled else 1e-3)
        for _ in range(steps):
            module.step(batches.draw())
        return module.dictionary(batches.scale)

    def ours(variant: str) -> Callable[[], Sae]:
        return lambda: fit_sae(
            acts, n_features, variant=variant, k=k, steps=steps, batch_size=BATCH, seed=seed
        )

    return {
        "plain": lambda: plain(False),
        "plain, scaled": lambda: plain(True),
        **{variant: ours(variant) for variant in RULES},
    }


def _activations(arguments: argparse.Namespace) -> tuple[interp.Activations, interp.Activations]:
    if arguments.acts:
        return interp.load_activations(arguments.acts), interp.load_activations(
            arguments.held_out_acts
        )
    model, concepts = interp.load_model(arguments.model), load_concepts()
    fit, held_out = (
        interp.record(model, labelled(concepts, split).texts, arguments.site)
        for split in ("fit", "held_out")
    )
    return fit, held_out


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="smollm2-135m-instruct")
    parser.add_argument("--site", default="L15.mlp")
    parser.add_argument(
        "--acts",
        help="a folder of saved activations to fit, instead of recording the shipped sentences",
    )
    parser.add_argument(
        "--held-out-acts", help="a folder of saved activations to measure on; needed with --acts"
    )
    parser.add_argument("--features", type=int, default=100)
    parser.add_argument("--k", type=int, default=8)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--turns", type=int, default=40)
    return parser.parse_args()


if __name__ == "__main__":
    main()
