"""A report folder about a model whose answers are known: adding snmf-0 makes it say "sea"."""

import json
from pathlib import Path
from typing import Any

import synthetic
import torch
from hand_made import planted

from interp.core import Provenance
from interp.decompose import save_dictionary
from interp.decompose.sae.fit import Sae
from interp.decompose.snmf.fit import Snmf
from interp.models import TransformerModel
from interp.studies.features.companions import COMPANIONS, save_companions

WORDS = ("sea", "the", "ship", "a", "of", *(f"word{number}" for number in range(25)))
WIDTH, COUNT = 32, 9
SITE, ELSEWHERE = "L1.resid_post", "L0.resid_post"
PROMPTS = ["the ship of", "a ship"]


def speaker() -> TransformerModel:
    """Word k's unembedding is axis k, so adding axis 0 to the residual stream makes it say
    "sea".
    """
    embedding = torch.randn(len(WORDS), WIDTH, generator=torch.Generator().manual_seed(0))
    embedding[:, 0] = -1.0
    return planted(WORDS, embedding, 2.0 * torch.eye(len(WORDS), WIDTH))


def write(folder: Path, model: TransformerModel, *, companions: bool = True) -> Path:
    """Features 0 of both methods are "sea", snmf-5 never fired, the rest is random; companions are
    of semi-NMF only and point to "ship".
    """
    data = synthetic.report_data(COUNT)
    data["model"] = {
        "name": model.name,
        "weight_hash": model.weight_hash,
        "site": SITE,
        "companion_site": ELSEWHERE,
    }
    data["steering"]["prompts_selection"] = PROMPTS
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "features.json").write_text(json.dumps(data))
    directions = torch.nn.functional.normalize(
        torch.randn(COUNT, WIDTH, generator=torch.Generator().manual_seed(1)), dim=1
    )
    directions[0] = torch.eye(WIDTH)[0]
    directions[5] = 0.0
    shared: dict[str, Any] = {"directions": directions, "offset": torch.zeros(WIDTH)}
    origin = Provenance("by hand", site=SITE)
    snmf = Snmf(**shared, provenance=origin, trace=torch.ones(1), n_iterations=1, converged=True)
    encoder = {
        "encoder": directions.T.contiguous(),
        "encoder_bias": torch.zeros(COUNT),
        "threshold": torch.zeros(COUNT),
    }
    sae = Sae(
        **shared,
        **encoder,
        provenance=origin,
        gain=torch.ones(COUNT),
        variant="topk",
        k=2,
        trace=torch.ones(1),
    )
    for dictionary in (snmf, sae):
        save_dictionary(dictionary, folder / "dictionaries" / dictionary.method)
    if companions:
        save_companions(
            folder / COMPANIONS, {"snmf": torch.eye(WIDTH)[2].repeat(COUNT, 1)}, ELSEWHERE
        )
    return folder
