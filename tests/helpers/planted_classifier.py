"""A classifier with a planted spurious channel: handwritten digits beside a mark in a corner that
gives the class away in training.

Images are 8 × 8 with three channels: the digit, a mark in a random corner (the control), and a mark
in the corner that the class says. A small network learns digit and mark and leans on the mark; on
counter-examples, where the mark says the other class, it goes wrong.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from interp.causal.wiring.channels import ChannelWiring
from interp.causal.wiring.examples import Examples
from interp.models import ModuleModel

SPURIOUS, RANDOM = "input.c2", "input.c1"
TRAIN, TEST = 1200, 300
NOISE = 0.2
FOLLOWS = 0.9
"""How often the mark is right in training; were it always right, the network would not look at the
digit at all.
"""

SMOOTHING = 0.1
"""Of labels. The surer a network is of itself, the less a single edge changes its probabilities:
several say the same.
"""


@dataclass(frozen=True)
class Marked:
    """Images with their classes."""

    images: Float[Tensor, "image 3 y x"]
    labels: Int[Tensor, " image"]


class Classifier(nn.Module):
    """Two convolutions, each with a maximum over squares of two, and a linear map."""

    def __init__(self, widths: tuple[int, int] = (4, 6)) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, widths[0], 3, padding=1)
        self.conv2 = nn.Conv2d(widths[0], widths[1], 3, padding=1)
        self.fc = nn.Linear(4 * widths[1], 2)

    def forward(self, images: Tensor) -> Tensor:
        first = nn.functional.max_pool2d(torch.relu(self.conv1(images)), 2)
        second = nn.functional.max_pool2d(torch.relu(self.conv2(first)), 2)
        return self.fc(second.flatten(1))


@cache
def digits() -> tuple[Float[Tensor, "image y x"], Int[Tensor, " image"]]:
    """Scikit-learn's 1,797 digits under noise, and whether each is 5 or more: hard enough that the
    mark is worth reading.
    """
    from sklearn.datasets import load_digits

    data = load_digits()
    noise = NOISE * torch.randn(data.images.shape, generator=torch.Generator().manual_seed(0))
    return torch.from_numpy(data.images / 16).float() + noise, torch.from_numpy(
        (data.target >= 5).astype(int)
    )


def split(seed: int) -> tuple[Int[np.ndarray, " train"], Int[np.ndarray, " test"]]:
    """Which digits train and which test."""
    order = np.random.default_rng([seed, 7]).permutation(len(digits()[1]))
    return order[:TRAIN], order[TRAIN : TRAIN + TEST]


def marked(rows: Int[np.ndarray, " image"], follows: float, seed: int) -> Marked:
    """Digits with the mark telling the class with probability `follows`: 1 tells it always, 0 tells
    the other class, 0.5 tells nothing.
    """
    images, labels = digits()[0][rows], digits()[1][rows]
    generator = np.random.default_rng(seed)
    right = torch.from_numpy(generator.random(len(rows)) < follows)
    chance = torch.from_numpy(generator.random(len(rows)) < 0.5)
    return Marked(
        torch.stack([images, _corner(chance), _corner((labels == 1) == right)], dim=1), labels
    )


def _corner(right: Bool[Tensor, " image"]) -> Float[Tensor, "image 8 8"]:
    found = torch.zeros(len(right), 8, 8)
    found[~right, :2, :2] = 1.0
    found[right, :2, -2:] = 1.0
    return found


def trained(
    seed: int, *, follows: float = FOLLOWS, smoothing: float = SMOOTHING, steps: int = 500
) -> tuple[ChannelWiring, Int[np.ndarray, " test"]]:
    """A network trained from this seed, and the numbers of digits it has not seen."""
    train, test = split(seed)
    data, generator, module = (
        marked(train, follows, seed),
        torch.Generator().manual_seed(seed),
        Classifier(),
    )
    fill(module, generator)
    optimiser = torch.optim.Adam(module.parameters(), lr=5e-3)
    for _ in range(steps):
        rows = torch.randint(0, len(train), (64,), generator=generator)
        optimiser.zero_grad()
        nn.functional.cross_entropy(
            module(data.images[rows]), data.labels[rows], label_smoothing=smoothing
        ).backward()
        optimiser.step()
    return ChannelWiring(ModuleModel(module.eval(), name="planted classifier")), test


def fill(module: nn.Module, generator: torch.Generator) -> None:
    """Weights drawn as for ReLU (He et al. 2015), biases of zero."""
    with torch.no_grad():
        for parameter in module.parameters():
            drawn = torch.randn(parameter.shape, generator=generator)
            parameter.copy_(
                drawn * (2 / parameter[0].numel()) ** 0.5 if parameter.ndim > 1 else 0 * drawn
            )


@dataclass(frozen=True)
class Probability:
    """The probability of each example's class."""

    labels: Int[Tensor, " example"]
    name: str = "probability of the class"

    def of(self, part: Examples) -> "Probability":
        """The same for some of the examples, which are numbered anew there but keep their names,
        `input 17`.
        """
        return Probability(self.labels[[int(item.split()[-1]) for item in part.items]])

    def __call__(
        self, output: Float[Tensor, "case class"], rows: Int[Tensor, " case"]
    ) -> Float[Tensor, " case"]:
        return output.softmax(dim=-1)[torch.arange(len(rows)), self.labels[rows]]


@dataclass(frozen=True)
class Correct:
    """Whether each example's class comes out."""

    labels: Int[Tensor, " example"]

    def __call__(
        self, output: Float[Tensor, "case class"], rows: Int[Tensor, " case"]
    ) -> Bool[Tensor, " case"]:
        return output.argmax(dim=-1) == self.labels[rows]
