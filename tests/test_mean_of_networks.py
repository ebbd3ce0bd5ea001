"""`tools/mean_of_networks.py`: weights between a run's and a bundle's, and what it refuses."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from semmix.bundle import Bundle
from semmix.nn.engine import network_from_bundle, weights_of
from semmix.training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint

SCRIPT = Path(__file__).resolve().parent.parent / "tools" / "mean_of_networks.py"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A checkpoint of the bundled network's sizes, its averaged weights all ones."""
    network = network_from_bundle(Bundle.default())
    ones = {name: torch.ones_like(value) for name, value in network.state_dict().items()}
    path = tmp_path / "run.safetensors"
    save_checkpoint(Checkpoint(network.config, 7, {}, ones, ones, {}), path)
    return path


def mean(run: Path, output: Path, *words: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, SCRIPT, run, "--bundle", Bundle.default().path, "-o", output, *words]
    return subprocess.run(line, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("share", [0.25, 1.0])
def test_weights_lie_between_the_two(run: Path, tmp_path: Path, share: float) -> None:
    done = mean(run, tmp_path / "mean.safetensors", "--share", str(share))
    assert done.returncode == 0, done.stderr
    found = load_checkpoint(tmp_path / "mean.safetensors")
    assert found.step == 7
    weights = (Bundle.default().path / "network.safetensors").read_bytes()
    assert found.origin["mean_with"] == {
        "name": "edge",
        "weights_sha256": hashlib.sha256(weights).hexdigest(),
        "share": share,
    }
    for name, value in weights_of(Bundle.default()).items():
        expected = (1.0 - share) + share * value.double()
        torch.testing.assert_close(found.average[name].double(), expected, atol=1e-6, rtol=1e-6)


def test_other_sizes_a_taken_name_and_no_share_are_refused(run: Path, tmp_path: Path) -> None:
    assert "is none" in mean(run, tmp_path / "x", "--share", "1.5").stderr
    assert "exists" in mean(run, run).stderr
    narrow = load_checkpoint(run)
    narrow = replace(narrow, average={n: v[..., :1] for n, v in narrow.average.items()})
    save_checkpoint(narrow, tmp_path / "narrow.safetensors")
    refused = mean(tmp_path / "narrow.safetensors", tmp_path / "x")
    assert refused.returncode != 0
    assert not (tmp_path / "x").exists()
