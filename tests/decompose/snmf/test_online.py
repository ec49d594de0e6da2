"""Semi-NMF of a stream: planted features are found, drift is followed, and nothing grows with the
rows.
"""

import numpy as np
import planted
import pytest
import torch

from interp.core import Activations, Contexts, InputError, Provenance
from interp.decompose import fit_snmf, match_directions
from interp.decompose.snmf.online import SnmfStream

WIDTH, SUPPORT = 128, 7


def batches(truth: torch.Tensor, count: int, seed: int, rows: int = 1000) -> list[torch.Tensor]:
    parts = (
        planted.coefficients(rows, len(truth), seed + 10 * number) @ truth
        for number in range(count)
    )
    return [planted.noisy(part, 0.1, seed + 10 * number + 5) for number, part in enumerate(parts)]


def numbers_kept(stream: SnmfStream) -> int:
    return sum(
        value.numel() for value in vars(stream).values() if isinstance(value, torch.Tensor)
    ) + sum(part.numel() for part in stream._gathered)


def test_planted_features_are_recovered_and_nothing_grows():
    truth = planted.directions(12, WIDTH, SUPPORT, 0)
    stream = SnmfStream(12, sparsity=0.05)
    sizes = []
    for batch in batches(truth, 14, 100):
        stream.update(batch)
        sizes.append(numbers_kept(stream))
    snmf = stream.finish()
    assert match_directions(snmf.directions, truth).mean_cosine >= 0.98
    assert len(set(sizes[5:])) == 1
    assert sizes[-1] < 12 * (12 + 2 * WIDTH) + WIDTH + 1
    assert int((snmf.directions != 0).sum(dim=1).max()) <= SUPPORT
    torch.testing.assert_close(snmf.directions.norm(dim=1), torch.ones(12))
    held_out = batches(truth, 1, 900)[0]
    error = (held_out - snmf.decode(snmf.encode(held_out))).square().sum() / held_out.square().sum()
    assert float(error) < 0.012, "the noise alone is 0.01"
    assert float(snmf.trace[-1]) == pytest.approx(float(error), rel=0.2)
    assert snmf.converged
    assert (snmf.provenance.parameters["rows"], snmf.n_iterations) == (14_000, 9)


def test_a_stream_explains_new_rows_as_well_as_a_fit_of_all_its_rows():
    truth = planted.directions(24, WIDTH, SUPPORT, 1)
    parts = batches(truth, 9, 300)
    stream = SnmfStream(24, sparsity=0.05)
    for part in parts:
        stream.update(part)
    held_out = batches(truth, 1, 900)[0]

    def error(snmf) -> float:
        return float((held_out - snmf.decode(snmf.encode(held_out))).square().sum())

    whole = error(fit_snmf(torch.cat(parts), 24, sparsity=0.05))
    assert error(stream.finish()) < 1.02 * whole
    few = [part[:20] for part in parts]
    short = SnmfStream(24, sparsity=0.05)
    for part in few:
        short.update(part)
    assert error(short.finish()) > 1.02 * whole, "control: too few rows"


def test_features_that_change_are_followed_within_the_window_and_not_without():
    before, after = (planted.directions(8, WIDTH, SUPPORT, seed) for seed in (2, 3))

    def after_change(window: int) -> float:
        stream = SnmfStream(8, sparsity=0.05, window=window)
        for batch in [*batches(before, 6, 500), *batches(after, 12, 700)]:
            stream.update(batch)
        return match_directions(stream.finish().directions, after).mean_cosine

    assert after_change(1500) > 0.8
    assert after_change(10**9) < after_change(1500)


def test_a_stream_that_ends_early_is_the_fit_of_its_rows():
    truth = planted.directions(6, WIDTH, SUPPORT, 4)
    parts = batches(truth, 2, 50, rows=300)
    stream = SnmfStream(6, sparsity=0.05, seed=3)
    assert [stream.update(part) for part in parts] == [None, None]
    whole = fit_snmf(torch.cat(parts), 6, sparsity=0.05, seed=3, max_iterations=100)
    assert torch.equal(stream.finish().directions, whole.directions)


def test_the_same_stream_gives_the_same_and_a_batch_may_be_reused():
    truth = planted.directions(6, WIDTH, SUPPORT, 5)

    def run(spoil: bool) -> torch.Tensor:
        stream = SnmfStream(6, sparsity=0.05)
        for batch in batches(truth, 7, 60):
            stream.update(batch)
            if spoil:
                batch.zero_()
        return stream.finish().directions

    assert torch.equal(run(False), run(True))


def test_a_massive_row_does_not_take_a_feature():
    truth = planted.directions(6, WIDTH, SUPPORT, 6)
    stream = SnmfStream(6, sparsity=0.05)
    for batch in batches(truth, 8, 80):
        batch[3] = 1000 * torch.ones(WIDTH) * (stream.rows > 5000)
        stream.update(batch)
    assert match_directions(stream.finish().directions, truth).mean_cosine >= 0.98


def test_provenance_and_refusals():
    def recorded(values: torch.Tensor, site: str) -> Activations:
        n = np.arange(len(values))
        return Activations(
            values,
            Contexts(item=n, position=n * 0, step=n * 0, items=("text",) * len(n)),
            site,
            Provenance("record", model="tiny", site=site),
        )

    rows = planted.mixture(0, n_rows=80, width=24, n_features=4, support=6)[0]
    stream = SnmfStream(4, sparsity=0.25)
    with pytest.raises(InputError, match="seen no rows"):
        stream.finish()
    stream.update(recorded(rows, "L1.mlp"))
    for other, message in (
        (recorded(rows, "L2.mlp"), "a batch of L2.mlp, 24 wide, in a stream of L1.mlp"),
        (rows, "bare rows"),
    ):
        with pytest.raises(InputError, match=message):
            stream.update(other)
    with pytest.raises(InputError, match="23 wide"):
        stream.update(recorded(rows[:, 1:], "L1.mlp"))
    broken = rows.clone()
    broken[7, 1] = torch.inf
    with pytest.raises(InputError, match="row 7"):
        stream.update(recorded(broken, "L1.mlp"))
    provenance = stream.finish().provenance
    assert (provenance.site, provenance.model, provenance.parameters["rows"]) == (
        "L1.mlp",
        "tiny",
        80,
    )
    for arguments in ({"window": 0}, {"sparsity": 0.0}):
        with pytest.raises(InputError):
            SnmfStream(4, **arguments)
    with pytest.raises(InputError, match="n_features is 0"):
        SnmfStream(0)
