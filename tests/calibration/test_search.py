"""The search over blocks, with costs that are known beforehand."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from semmix_calibration.graph import block_of_weight
from semmix_calibration.int8 import Product
from semmix_calibration.search import (
    Accuracy,
    TargetMissedError,
    accuracy,
    measurements,
    removal_order,
    search,
)

NOISE = {"quiet": 1e-5, "cheap": 1e-4, "dear": 1e-2, "wide": 2e-3}
MACS = {"quiet": 100, "cheap": 100, "dear": 100, "wide": 1_000}


def product(block: str) -> Product:
    return Product(f"{block}.product", "MatMul", block, f"{block}.w", 1, "x", MACS[block])


def measured(picked: Sequence[Product]) -> Accuracy:
    """Noises of blocks add up; a tone suffers ten times less."""
    noise_db = float(-10.0 * np.log10(sum(NOISE[p.block] for p in picked)))
    return Accuracy(("speech", "tone"), (noise_db, noise_db + 10.0))


def test_blocks_leave_in_the_order_of_noise_for_the_work() -> None:
    products = [product(b) for b in ("cheap", "dear", "wide", "quiet")]
    told: list[None] = []
    found = search(products, 2_000, measured, measured, 26.0, lambda: told.append(None))
    assert [p.kept for p in found.points] == [
        (),
        ("dear",),
        ("dear", "wide"),
        ("dear", "wide", "cheap"),
    ]
    # 2e-3 / 1000 for wide against 1e-4 / 100 for cheap: twice as dear.
    assert [p.share for p in found.points] == [1_300 / 2_000, 1_200 / 2_000, 0.1, 0.05]
    assert found.points[1].found.worst_db == pytest.approx(-10 * np.log10(2.11e-3))
    assert found.chosen == found.points[1]
    assert [c.block for c in found.costs] == ["quiet", "cheap", "wide", "dear"]
    assert len(told) == measurements(products) == 8


def test_a_target_that_nothing_meets_is_no_choice() -> None:
    found = search([product("dear")], 100, measured, measured, 60.0)
    assert found.chosen is None
    assert len(found.points) == 1
    missed = TargetMissedError(found)
    assert missed.frontier is found
    assert "reaches 60 dB on every sound, the best has 20.0 dB on speech" in str(missed)


def test_the_whole_is_judged_as_it_is_written() -> None:
    """What the rest of the network costs in FP16 counts against the target, not against a block."""

    def written(picked: Sequence[Product]) -> Accuracy:
        rest = 1e-3 + 10.0 ** (-measured(picked).worst_db / 10.0)
        return Accuracy(("speech",), (float(-10.0 * np.log10(rest)),))

    products = [product(b) for b in ("cheap", "dear", "wide", "quiet")]
    found = search(products, 2_000, measured, written, 26.0)
    assert [c.found.worst_db for c in found.costs] == pytest.approx(
        [-10 * np.log10(NOISE[b]) for b in ("quiet", "cheap", "wide", "dear")]
    )
    assert found.chosen == found.points[2], "the second point has 26.8 dB with the rest in float32"
    assert found.chosen.found.worst_db == pytest.approx(-10 * np.log10(1e-3 + 1.1e-4))


def test_the_block_that_the_worst_sound_minds_leaves_first() -> None:
    """On the mean of both sounds `broad` would be the dearer one."""
    noises = {"broad": np.array([3e-3, 3e-3]), "tonal": np.array([1e-5, 5e-3])}
    assert removal_order(noises, {"broad": 100, "tonal": 100}) == ["tonal", "broad"]
    # For so much work it may stay.
    assert removal_order(noises, {"broad": 100, "tonal": 1_000}) == ["broad", "tonal"]


def test_the_worst_sound_counts_however_faint_it_is() -> None:
    rng = np.random.default_rng(0)
    loud, quiet = rng.standard_normal((2, 1_000)).astype(np.float32)
    quiet *= np.float32(1e-3)
    error = np.float32(1e-3) * rng.standard_normal(1_000).astype(np.float32)
    kinds = ("speech", "faint", "speech")
    found = accuracy(kinds, [loud, quiet, loud], [loud + error, quiet + error, loud])
    assert found.worst_db == pytest.approx(0.0, abs=0.5)
    assert found.worst_kind == "faint"
    assert found.by_kind()["speech"] == pytest.approx(60.0, abs=0.5)
    assert accuracy(["speech"], [loud], [loud * np.nan]).worst_db == -np.inf


@pytest.mark.parametrize(
    ("weight", "block"),
    [
        ("network.encoder.1.time_in", "encoder.1"),
        ("network.head.weights.2", "head"),
        ("network.head.bias", "head"),
        ("network.metered_gain.enter.weight", "metered_gain"),
        ("network.transformer_blocks.0.norm1.weight", "transformer_blocks.0"),
        ("network.latent.layers.3.attention.to_q.weight", "latent.layers.3"),
        ("network.tdecoder.0.dconv.layers.1.3.weight", "tdecoder.0"),
    ],
)
def test_weights_tell_their_block(weight: str, block: str) -> None:
    assert block_of_weight(weight) == block
