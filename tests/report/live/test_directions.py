"""Directions by feature id from a report folder: the right row of the right file, and one line for
every gap.
"""

import json
from pathlib import Path

import live_folder
import pytest
import torch
from safetensors.torch import save_file

from interp.core import InputError, UnavailableError
from interp.report.live.directions import Directions
from interp.studies.features.companions import COMPANIONS, load_companions, save_companions


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return live_folder.write(tmp_path / "report", live_folder.speaker())


def test_companions_come_back_as_they_were(tmp_path: Path) -> None:
    given = {
        "snmf": torch.randn(3, 4, generator=torch.Generator().manual_seed(0)),
        "sae": torch.zeros(2, 4),
    }
    save_companions(tmp_path / "new" / COMPANIONS, given, "L1.resid_post")
    found, site = load_companions(tmp_path / "new" / COMPANIONS)
    assert site == "L1.resid_post"
    assert found.keys() == given.keys()
    assert all(torch.equal(found[name], given[name]) for name in given)
    assert [path.name for path in (tmp_path / "new").iterdir()] == [COMPANIONS]


def test_companions_that_cannot_be_used_are_not_written(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no companions to write"):
        save_companions(tmp_path / COMPANIONS, {}, "L1.resid_post")
    with pytest.raises(InputError, match="sae hold values that are not finite"):
        save_companions(
            tmp_path / COMPANIONS, {"sae": torch.tensor([[torch.nan]])}, "L1.resid_post"
        )
    assert list(tmp_path.iterdir()) == []


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    save_file({"snmf": torch.ones(1, 2)}, tmp_path / "plain.safetensors")
    with pytest.raises(InputError, match="of format None"):
        load_companions(tmp_path / "plain.safetensors")
    (tmp_path / "torn.safetensors").write_bytes(b"torn")
    for name in ("torn", "absent"):
        with pytest.raises(UnavailableError, match="make the report again"):
            load_companions(tmp_path / f"{name}.safetensors")


def test_a_feature_has_its_own_row_at_its_own_site(folder: Path) -> None:
    found = Directions.read(folder)
    for method in ("snmf", "sae"):
        for index in (0, 3, 8):
            site, direction = found.of(f"{method}-{index}", "native")
            assert site == live_folder.SITE
            assert torch.allclose(direction, found.dictionaries[method].directions[index])
    site, direction = found.of("snmf-4", "companion")
    assert site == live_folder.ELSEWHERE
    assert torch.equal(direction, torch.eye(live_folder.WIDTH)[2])
    assert found.routes == {"snmf": ["native", "companion"], "sae": ["native"]}


def test_a_report_without_companions_steers_natively(tmp_path: Path) -> None:
    found = Directions.read(
        live_folder.write(tmp_path / "report", live_folder.speaker(), companions=False)
    )
    assert found.routes == {"snmf": ["native"], "sae": ["native"]}
    assert found.of("snmf-0", "native")[0] == live_folder.SITE
    with pytest.raises(InputError, match="companions are of no method"):
        found.of("snmf-0", "companion")


def test_unknown_ids_and_gaps_are_named(folder: Path) -> None:
    found = Directions.read(folder)
    with pytest.raises(InputError, match="unknown feature 'snfm-0'; nearest: snmf-0"):
        found.of("snfm-0", "native")
    with pytest.raises(InputError, match=r"snmf-5 \(native\) has no length"):
        found.of("snmf-5", "native")
    save_companions(folder / COMPANIONS, {"snmf": torch.ones(2, 4)}, live_folder.ELSEWHERE)
    with pytest.raises(InputError, match="2 companions of snmf, its dictionary 9 features"):
        Directions.read(folder)
    (folder / "dictionaries" / "sae").rename(folder / "dictionaries" / "elsewhere")
    with pytest.raises(InputError, match="no dictionary 'sae', only elsewhere, snmf"):
        Directions.read(folder)


def test_a_method_name_never_becomes_a_path(folder: Path) -> None:
    data = json.loads((folder / "features.json").read_text())
    data["features"][0]["method"] = "../dictionaries/snmf"
    (folder / "features.json").write_text(json.dumps(data))
    with pytest.raises(InputError, match=r"no dictionary '\.\./dictionaries/snmf'"):
        Directions.read(folder)


def test_a_report_of_another_schema_is_refused(folder: Path) -> None:
    data = json.loads((folder / "features.json").read_text())
    data["schema"] = 99
    (folder / "features.json").write_text(json.dumps(data))
    with pytest.raises(InputError, match="schema 99"):
        Directions.read(folder)
