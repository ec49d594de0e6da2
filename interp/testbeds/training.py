"""Training of small networks: seeded, saved as it goes, resumed without changing the weights."""

import math
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from interp.core import InputError, Progress, silent
from interp.core.files import read_json, read_tensors, replacing

CURVE = "curve.json"
_MOMENTS = ("step", "exp_avg", "exp_avg_sq")


@dataclass(kw_only=True)
class Trainer:
    """The state of a training run, and how it is saved and resumed.

    `objective(step)` gives a step's loss, and what to record of it in `losses`; its random numbers
    come from `generator` or from the step alone. `rate(step)` multiplies the optimiser's learning
    rate (`warm_cosine`), `clip` is the largest gradient norm, `decay` that of an exponential moving
    average of the weights; None leaves each out. `identity` holds what a run depends on, by name;
    `notes` are the caller's and saved with the state.

    Example:
        >>> trainer = Trainer(
        ...     module=network, optimiser=adam, objective=loss, state=Path("state.safetensors")
        ... )
        >>> trainer.resume("run")
        >>> for step in trainer.train(100, saved=(50, 100), title="train"):
        ...     print(step, trainer.losses[-1])
    """

    module: nn.Module
    optimiser: torch.optim.Optimizer
    objective: Callable[[int], tuple[Tensor, Tensor]]
    state: Path
    identity: Mapping[str, str] = field(default_factory=dict)
    generator: torch.Generator | None = None
    rate: Callable[[int], float] | None = None
    clip: float | None = None
    decay: float | None = None
    step: int = 0
    losses: list[Tensor] = field(default_factory=list)
    notes: str = ""

    def __post_init__(self) -> None:
        self.parameters = dict(self.module.named_parameters())
        self.average = (
            {}
            if self.decay is None
            else {name: value.detach().clone() for name, value in self.parameters.items()}
        )
        self._rates = [group["lr"] for group in self.optimiser.param_groups]
        self._start = time.perf_counter()

    @property
    def seconds(self) -> float:
        """The time so far, including the caller's at the steps yielded."""
        return time.perf_counter() - self._start

    def train(
        self, until: int, *, saved: Collection[int], title: str, progress: Progress = silent
    ) -> Iterator[int]:
        """Train until a step and yield every step done; at those of `saved` the state is written
        when the caller resumes the iterator.

        Raises:
            UnavailableError: the state cannot be written.
        """
        while self.step < until:
            self._advance()
            progress(title, self.step, until, "step")
            yield self.step
            if self.step in saved:
                self._save()

    def resume(self, finished: Sequence[str] = ()) -> None:
        """Continue from the saved state, if there is one.

        Args:
            finished: files beside the state whose existence marks a finished run.

        Raises:
            InputError: the state belongs to another run (the message says in what), or the folder
                holds a finished network.
            UnavailableError: the state cannot be read.
        """
        folder = self.state.parent
        if not self.state.is_file():
            if any((folder / name).exists() for name in finished):
                raise InputError(
                    f"{folder} already holds a network; give another folder, or delete it to train "
                    "again"
                )
            return
        saved, tensors = read_tensors(self.state, "delete it to train from the start")
        for name, value in self.identity.items():
            if saved.get(name) != value:
                raise InputError(
                    f"the run begun in {folder} has other {name}; give the same, or another folder"
                )
        self.step, self.notes = int(saved["step"]), saved["notes"]
        self._start -= float(saved["seconds"])
        self._restore(tensors)

    def finish(self) -> None:
        """Remove the saved state."""
        self.state.unlink(missing_ok=True)

    def _advance(self) -> None:
        if self.rate is not None:
            factor = self.rate(self.step)
            for group, rate in zip(self.optimiser.param_groups, self._rates, strict=True):
                group["lr"] = rate * factor
        self.optimiser.zero_grad()
        with torch.enable_grad():
            loss, recorded = self.objective(self.step)
            loss.backward()  # type: ignore[no-untyped-call]
        if self.clip is not None:
            nn.utils.clip_grad_norm_(self.parameters.values(), self.clip)
        self.optimiser.step()
        self.step += 1
        self.losses.append(recorded.detach())
        self._follow()

    @torch.no_grad()
    def _follow(self) -> None:
        """Update the moving average of the weights."""
        # A constant decay would keep the random start in the average for hundreds of steps.
        decay = min(self.decay or 0.0, (1 + self.step) / (10 + self.step))
        for name, value in self.average.items():
            value.lerp_(self.parameters[name], 1 - decay)

    def _save(self) -> None:
        from safetensors.torch import save_file

        tensors = {f"weight.{name}": value.detach() for name, value in self.parameters.items()}
        tensors |= {f"average.{name}": value for name, value in self.average.items()}
        for name, parameter in self.parameters.items():
            moments = self.optimiser.state[parameter]
            tensors |= {f"adam.{key}.{name}": moments[key] for key in _MOMENTS}
        tensors["losses"] = torch.stack(self.losses)
        if self.generator is not None:
            tensors["generator"] = self.generator.get_state()
        progress = {"step": str(self.step), "seconds": str(self.seconds), "notes": self.notes}
        with replacing(self.state) as path:
            save_file(tensors, path, metadata={**self.identity, **progress})

    @torch.no_grad()
    def _restore(self, tensors: Mapping[str, Tensor]) -> None:
        for name, parameter in self.parameters.items():
            parameter.copy_(tensors[f"weight.{name}"])
            self.optimiser.state[parameter] = {
                key: tensors[f"adam.{key}.{name}"].clone() for key in _MOMENTS
            }
        for name, value in self.average.items():
            value.copy_(tensors[f"average.{name}"])
        if self.generator is not None:
            self.generator.set_state(tensors["generator"])
        self.losses = list(tensors["losses"])


@torch.no_grad()
def start_uniform(module: nn.Module, generator: torch.Generator) -> None:
    """Torch's default initialisation, uniform within ±1/√(inputs), but from a given generator."""
    for part in module.modules():
        if isinstance(part, nn.Linear | nn.Conv2d):
            bound = part.weight[0].numel() ** -0.5
            for parameter in (part.weight, part.bias):
                if parameter is not None:
                    parameter.uniform_(-bound, bound, generator=generator)
        elif isinstance(part, nn.Embedding):
            part.weight.normal_(generator=generator)


def warm_cosine(step: int, steps: int, warm_up: int, final: float = 0.0) -> float:
    """A linear rise from 0 to 1 over `warm_up` steps, then half a cosine to `final`."""
    if step < warm_up:
        return (step + 1) / warm_up
    done = (step - warm_up) / max(1, steps - warm_up)
    return final + (1 - final) * 0.5 * (1 + math.cos(math.pi * done))


def every(steps: int, until: int) -> set[int]:
    """Every `steps`-th step and the last one."""
    return {*range(steps, until, steps), until}


def stretches(losses: Sequence[Tensor], length: int) -> dict[float, Tensor]:
    """Losses `[step, …]` in stretches of `length` steps, by the last step of each."""
    return {
        float(min(start + length, len(losses))): torch.stack(list(losses[start : start + length]))
        for start in range(0, len(losses), length)
    }


def training_curve(folder: str | Path) -> dict[str, list[float]]:
    """A trained network's mean losses over stretches of steps, with the last step of each."""
    curve: dict[str, list[float]] = read_json(Path(folder) / CURVE)
    return curve
