from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
import torch
from support_training import lively_network

from semmix.training.muon import Muon, orthogonalised, split_parameters


def random_matrix(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape).astype(np.float32))


@pytest.mark.parametrize("shape", [(24, 24), (16, 40), (40, 16), (160, 17)])
def test_orthogonal_steps_are_about_the_polar_factor(shape: tuple[int, int]) -> None:
    """Against scipy's polar decomposition: same directions, singular values near one."""
    matrix = random_matrix(*shape)
    step = orthogonalised(matrix).double().numpy()
    values = np.linalg.svd(step, compute_uv=False)
    # Square matrices have singular values near zero, which five rounds do not lift all the way.
    assert values.max() < 1.25
    assert np.median(values) > 0.65
    nearest, _ = scipy.linalg.polar(matrix.double().numpy())
    cosine = np.sum(step * nearest) / np.linalg.norm(step) / np.linalg.norm(nearest)
    assert cosine > 0.97


def test_every_matrix_of_a_stack_stands_for_itself() -> None:
    stack = random_matrix(5, 32, 20) * torch.logspace(-4, 4, 5).reshape(5, 1, 1)
    together = orthogonalised(stack)
    for one, alone in zip(together, stack, strict=True):
        torch.testing.assert_close(one, orthogonalised(alone))


def test_no_gradient_is_no_step() -> None:
    assert torch.equal(orthogonalised(torch.zeros(16, 20)), torch.zeros(16, 20))


@pytest.mark.parametrize("shape", [(32, 32), (16, 64), (3, 64, 16)])
def test_a_step_is_as_large_as_those_of_adamw_and_scale_free(shape: tuple[int, ...]) -> None:
    """About 0.2 of the rate in root mean square, whatever the gradient's size."""
    rms = []
    for size in (1e-6, 1.0, 1e3):
        weight = torch.nn.Parameter(torch.zeros(shape))
        weight.grad = size * random_matrix(*shape)
        Muon([weight], lr=0.01).step()
        rms.append(float(weight.detach().square().mean().sqrt()))
    # An orthogonal matrix of r <= c has entries of 1 / sqrt(c).
    np.testing.assert_allclose(rms, 0.2 * 0.01, rtol=0.25)
    np.testing.assert_allclose(rms, rms[1], rtol=1e-3)


def test_momentum_remembers_and_decay_shrinks() -> None:
    weight = torch.nn.Parameter(torch.ones(16, 16))
    optimizer = Muon([weight], lr=0.1, momentum=0.5, weight_decay=0.5)
    weight.grad = random_matrix(16, 16)
    optimizer.step()
    step = 0.95 * torch.ones(16, 16) - weight.detach()
    expected = 0.1 * 0.2 * 16**0.5 * orthogonalised(random_matrix(16, 16))
    torch.testing.assert_close(step, expected, atol=1e-5, rtol=1e-4)
    first = weight.detach().clone()
    weight.grad = torch.zeros(16, 16)
    optimizer.step()
    assert float((weight.detach() - 0.95 * first).norm()) > 0.01
    torch.testing.assert_close(
        optimizer.state[weight]["velocity"], 0.25 * random_matrix(16, 16), atol=1e-6, rtol=1e-5
    )


def test_every_parameter_has_one_optimiser_and_bins_keep_their_scales() -> None:
    network = lively_network("edge")
    names = {id(p): name for name, p in network.named_parameters()}
    matrices, others = split_parameters(network)
    found = [names[id(p)] for p in (*matrices, *others)]
    assert sorted(found) == sorted(names.values())
    chosen = {names[id(p)] for p in matrices}
    assert {"to_latent.weight", "encoder.0.time_in"} <= chosen
    assert not any(name.startswith(("split.", "head.")) or "bias" in name for name in chosen)
