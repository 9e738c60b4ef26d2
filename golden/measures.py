"""Measures of scores: losses, accuracies, errors.

`score` has shape (labels, classes) and is real. `labels` are classes (labels,), or the real targets
(labels, targets) of a regressor. There is one label per sequence, or one per step, with the steps
of all sequences one after the other (`Sequences.labelled`).
"""

import math

from torch import Tensor, nn


def loss(score: Tensor, labels: Tensor) -> Tensor:
    """Mean cross-entropy, or mean squared error if labels are real."""
    if labels.is_floating_point():
        return nn.functional.mse_loss(score, labels.to(score.dtype))
    return nn.functional.cross_entropy(score, labels)


def measures(
    score: Tensor, labels: Tensor, label: Tensor | None = None, *, every_step: bool = False
) -> dict[str, float]:
    """Measures of scores by name.

    Classes give `accuracy` (percent), and also `bits` per label if each step has one. A regressor
    gives `rmse`.

    label: Predicted classes. Default: the classes of the highest scores.
    every_step: Whether each step has a label.
    """
    if labels.is_floating_point():
        return {"rmse": rmse(score, labels)}
    found = {"accuracy": percent(score.argmax(-1) if label is None else label, labels)}
    return found | ({"bits": bits(score, labels)} if every_step else {})


def rmse(score: Tensor, labels: Tensor) -> float:
    """Root mean squared error over all targets, in their unit."""
    return (score.double() - labels.double()).square().mean().sqrt().item()


def bits(score: Tensor, labels: Tensor) -> float:
    """Bits per label: mean of -log2 of the softmax probability of the right class."""
    return loss(score, labels).item() / math.log(2)


def percent(label: Tensor, truth: Tensor) -> float:
    """Percentage of predicted classes that are right."""
    return 100.0 * (label == truth).double().mean().item()
