"""The losses against their formulas, written out in numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from apps.engine.nn.losses import barlow_twins, class_weights, nt_xent, weighted_cross_entropy


@pytest.mark.parametrize("n", [2, 7])
def test_nt_xent_is_equation_1_of_the_simclr_paper(n: int) -> None:
    rng = np.random.default_rng(n)
    first, second = rng.normal(size=(2, n, 5))
    views = np.concatenate([first, second])
    views /= np.linalg.norm(views, axis=1, keepdims=True)
    similarity = views @ views.T / 0.2
    losses = []
    for i in range(2 * n):
        others = [k for k in range(2 * n) if k != i]
        losses.append(-similarity[i, (i + n) % (2 * n)] + np.log(np.exp(similarity[i, others]).sum()))
    loss = nt_xent(torch.tensor(first), torch.tensor(second), temperature=0.2)
    assert loss.item() == pytest.approx(np.mean(losses), rel=1e-5)


@pytest.mark.parametrize("precision", [torch.bfloat16, torch.float16])
def test_a_loss_is_as_exact_in_a_step_of_half_precision(precision: torch.dtype) -> None:
    first, second = torch.randn(2, 64, 32, generator=torch.Generator().manual_seed(0))
    whole = nt_xent(first, second, temperature=0.001), barlow_twins(first, second, redundancy_weight=0.01)
    with torch.autocast("cpu", precision):
        half = nt_xent(first, second, temperature=0.001), barlow_twins(first, second, redundancy_weight=0.01)
    assert [loss.item() for loss in half] == [loss.item() for loss in whole]


def test_nt_xent_of_one_object_is_zero_and_of_equal_objects_is_finite() -> None:
    one = torch.randn(1, 4, requires_grad=True)
    loss = nt_xent(one, one * 2, temperature=0.1)
    loss.backward()
    assert loss.item() == 0
    assert one.grad is not None
    assert torch.isfinite(one.grad).all()
    same = torch.zeros(6, 4, requires_grad=True)
    loss = nt_xent(same, same, temperature=0.1)
    loss.backward()
    assert loss.item() == pytest.approx(np.log(11), rel=1e-5)
    assert same.grad is not None
    assert torch.isfinite(same.grad).all()


def test_barlow_twins_is_equations_1_and_2_of_its_paper_per_dimension() -> None:
    rng = np.random.default_rng(2)
    n, d = 40, 5
    first = rng.normal(size=(n, d)) * [1, 2, 3, 4, 5] + 7
    second = first + rng.normal(size=(n, d))
    correlation = np.empty((d, d))
    for i in range(d):
        for j in range(d):
            a, b = first[:, i] - first[:, i].mean(), second[:, j] - second[:, j].mean()
            correlation[i, j] = (a * b).sum() / np.sqrt((a**2).sum()) / np.sqrt((b**2).sum())
    invariance = sum((1 - correlation[i, i]) ** 2 for i in range(d))
    redundancy = sum(correlation[i, j] ** 2 for i in range(d) for j in range(d) if i != j)
    loss = barlow_twins(torch.tensor(first), torch.tensor(second), redundancy_weight=0.3)
    assert loss.item() == pytest.approx((invariance + 0.3 * redundancy) / d, rel=1e-4)


@pytest.mark.parametrize("n", [1, 6])
def test_barlow_twins_of_what_does_not_vary_is_finite_without_gradient(n: int) -> None:
    same = torch.ones(n, 4, requires_grad=True)
    loss = barlow_twins(same, same, redundancy_weight=0.1)
    loss.backward()
    assert loss.item() == 1.0
    assert same.grad is not None
    assert (same.grad == 0).all()


def test_cross_entropy_is_the_weighted_mean_over_labeled_rows() -> None:
    rng = np.random.default_rng(1)
    logits = rng.normal(size=(6, 3))
    targets = np.array([0, -1, 2, 2, -1, 1])
    weights = np.array([0.5, 2.0, 1.5])
    log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    labeled = targets >= 0
    w = weights[targets[labeled]]
    expected = -(w * log_p[labeled, targets[labeled]]).sum() / w.sum()
    loss = weighted_cross_entropy(
        torch.tensor(logits), torch.tensor(targets), torch.tensor(weights, dtype=torch.float32)
    )
    assert loss.item() == pytest.approx(expected, rel=1e-5)


def test_cross_entropy_without_a_labeled_row_is_zero_with_zero_gradient() -> None:
    logits = torch.randn(4, 2, requires_grad=True)
    loss = weighted_cross_entropy(logits, torch.full((4,), -1), torch.ones(2))
    loss.backward()
    assert loss.item() == 0
    assert logits.grad is not None
    assert (logits.grad == 0).all()


def test_class_weights_are_inverse_to_the_counts_with_mean_one_over_labels() -> None:
    class_values = np.array([0, 5, 5, 5, 9, 0], np.uint8)
    weights = class_weights(class_values, (5, 9))
    assert weights.tolist() == pytest.approx([4 / 6, 2.0])
    assert (3 * weights[0] + weights[1]) / 4 == pytest.approx(1.0)
