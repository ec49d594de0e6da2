"""Names that moved to another room are still found where documents of 0.1 had them."""

import importlib

import pytest

MOVED = {
    "interp.causal.trace_task": "interp.studies.paths",
    "interp.causal.PathsProtocol": "interp.studies.paths",
    "interp.diffusion.study_directions": "interp.studies.directions",
    "interp.diffusion.load_generator": "interp.testbeds.generators",
    "interp.dynamics.train_concepts": "interp.testbeds.concepts",
    "interp.dynamics.train_tiny_language": "interp.testbeds.language",
}


@pytest.mark.parametrize("old", MOVED)
def test_a_moved_name_is_found_and_says_where_it_is(old: str) -> None:
    package, name = old.rsplit(".", 1)
    home = importlib.import_module(MOVED[old])
    with pytest.warns(DeprecationWarning, match=f"{old} is {MOVED[old]}.{name} since 0.2"):
        assert getattr(importlib.import_module(package), name) is getattr(home, name)


def test_what_was_never_there_is_no_attribute() -> None:
    for package in ("causal", "diffusion", "dynamics"):
        module = importlib.import_module(f"interp.{package}")
        with pytest.raises(AttributeError, match="has no attribute 'trace_tusk'"):
            module.trace_tusk  # noqa: B018
