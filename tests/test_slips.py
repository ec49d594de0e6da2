"""What a first-time user does wrong gets one line that says what to do, as a user runs it: without
the tests' type checks.
"""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import numpy as np, torch, interp

layers = torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2)
net = interp.wrap(torch.nn.Sequential(*layers))
rows = torch.randn(40, 4, generator=torch.Generator().manual_seed(0))
acts = interp.record(net, rows, ["1", "2"])
snmf = interp.fit_snmf(acts["1"], 3, seed=0)
feature = interp.describe(snmf, acts["1"])[0]


def slip(name, call):
    try:
        call()
    except Exception as error:
        print(f"{name} | {type(error).__name__} | {error}")
    else:
        print(f"{name} | nothing |")


slip("fit-dict", lambda: interp.fit_snmf(acts, 3))
slip("fit-array", lambda: interp.fit_pca(np.zeros((3, 4)), 2))
slip("fit-list", lambda: interp.fit_sae([1.0, 2.0], 2))
slip("describe-dict", lambda: interp.describe(snmf, acts))
slip("encode-dict", lambda: snmf.encode(acts))
slip("companion-one", lambda: interp.companion(feature, acts["1"], "2"))
slip("site-number", lambda: interp.record(net, rows, 1))
slip("site-numbers", lambda: interp.record(net, rows, [1, 2]))
slip("show-dictionary", lambda: interp.show(snmf))
slip("name", lambda: interp.fit_nmf)
for value in (net, acts["1"], snmf, feature, interp.fit_pca(acts["1"], 2)):
    print("repr |", repr(value))
"""


@pytest.fixture(scope="module")
def said() -> list[list[str]]:
    run = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parent.parent,
    )
    return [[part.strip() for part in line.split("|")] for line in run.stdout.splitlines()]


@pytest.mark.parametrize(
    ("name", "kind", "words"),
    [
        ("fit-dict", "InputError", "give one of them, as acts['1']"),
        ("fit-array", "InputError", "torch.from_numpy"),
        ("fit-list", "InputError", "are a list; expected Activations or a tensor"),
        ("describe-dict", "InputError", "give one of them, as acts['1']"),
        ("encode-dict", "InputError", "give one of them, as acts['1']"),
        ("companion-one", "InputError", "expected both sites by name"),
        ("site-number", "InputError", "site is 1; expected a name"),
        ("site-numbers", "InputError", "site is 1; expected a name"),
        ("show-dictionary", "InputError", "interp.describe(dictionary, acts, model)"),
        ("name", "AttributeError", "nearest: fit_snmf"),
    ],
)
def test_a_slip_is_answered_with_what_to_do(
    said: list[list[str]], name: str, kind: str, words: str
) -> None:
    (found,) = [line for line in said if line[0] == name]
    assert found[1] == kind, found
    assert words in found[2], found


def test_results_are_one_short_line_in_a_console(said: list[list[str]]) -> None:
    shown = [line[1] for line in said if line[0] == "repr"]
    assert len(shown) == 5
    assert all(len(text) < 120 and "tensor(" not in text for text in shown), shown
    assert shown[2].startswith("Snmf(module:1: 3 features × 8")
