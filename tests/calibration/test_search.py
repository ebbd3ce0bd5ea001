"""The search over blocks, with costs that are known beforehand."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from semmix_calibration.graph import block_of_weight
from semmix_calibration.int8 import Product
from semmix_calibration.search import masks_snr_db, measurements, search

NOISE = {"quiet": 1e-5, "cheap": 1e-4, "dear": 1e-2, "wide": 2e-3}
MACS = {"quiet": 100, "cheap": 100, "dear": 100, "wide": 1_000}


def product(block: str) -> Product:
    return Product(f"{block}.product", "MatMul", block, f"{block}.w", 1, "x", MACS[block])


def noise_db(picked: Sequence[Product]) -> float:
    """Noises of blocks add up."""
    return float(-10.0 * np.log10(sum(NOISE[p.block] for p in picked)))


def test_blocks_leave_in_the_order_of_noise_for_the_work() -> None:
    products = [product(b) for b in ("cheap", "dear", "wide", "quiet")]
    told: list[None] = []
    found = search(products, 2_000, noise_db, 26.0, lambda: told.append(None))
    assert [p.kept for p in found.points] == [
        (),
        ("dear",),
        ("dear", "wide"),
        ("dear", "wide", "cheap"),
    ]
    # 2e-3 / 1000 for wide against 1e-4 / 100 for cheap: twice as dear.
    assert [p.share for p in found.points] == [1_300 / 2_000, 1_200 / 2_000, 0.1, 0.05]
    assert found.points[1].snr_db == pytest.approx(-10 * np.log10(2.11e-3))
    assert found.chosen == found.points[1]
    assert [c.block for c in found.costs] == ["quiet", "cheap", "wide", "dear"]
    assert len(told) == measurements(products) == 8


def test_a_target_that_nothing_meets_is_no_choice() -> None:
    found = search([product("dear")], 100, noise_db, 60.0)
    assert found.chosen is None
    assert len(found.points) == 1


def test_masks_of_all_clips_count_together() -> None:
    rng = np.random.default_rng(0)
    loud, quiet = rng.standard_normal((2, 1_000)).astype(np.float32)
    quiet *= np.float32(1e-3)
    error = np.float32(1e-3) * rng.standard_normal(1_000).astype(np.float32)
    found = masks_snr_db([loud, quiet], [loud + error, quiet + error])
    assert found == pytest.approx(57.0, abs=0.3)
    assert masks_snr_db([loud], [loud * np.nan]) == -np.inf


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
