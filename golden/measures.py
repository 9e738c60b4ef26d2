"""What the scores of a network are worth: losses, accuracies, errors.

score: (labels, classes), real. labels: (labels,) classes, or (labels, targets), real, of a
regressor; of sequences, or of all their steps, one after the other (`Sequences.labelled`).
"""

import math

from torch import Tensor, nn


def loss(score: Tensor, labels: Tensor) -> Tensor:
    """Mean cross-entropy, or mean square where labels are real."""
    if labels.is_floating_point():
        return nn.functional.mse_loss(score, labels.to(score.dtype))
    return nn.functional.cross_entropy(score, labels)


def measures(
    score: Tensor, labels: Tensor, label: Tensor | None = None, *, every_step: bool = False
) -> dict[str, float]:
    """What scores are worth, by name: `accuracy` in percent and, where each step has a label, the
    `bits` that one costs; of a regressor its `rmse`.

    label: the classes, where they are not those of the highest scores.
    """
    if labels.is_floating_point():
        return {"rmse": rmse(score, labels)}
    found = {"accuracy": percent(score.argmax(-1) if label is None else label, labels)}
    return found | ({"bits": bits(score, labels)} if every_step else {})


def rmse(score: Tensor, labels: Tensor) -> float:
    """Root mean square of what real labels are missed by, of all targets, in their unit."""
    return (score.double() - labels.double()).square().mean().sqrt().item()


def bits(score: Tensor, labels: Tensor) -> float:
    """How many bits a label costs: the mean of -log2 of the softmax's share for what is right."""
    return loss(score, labels).item() / math.log(2)


def percent(label: Tensor, truth: Tensor) -> float:
    """How much of `label` is right."""
    return 100.0 * (label == truth).double().mean().item()
