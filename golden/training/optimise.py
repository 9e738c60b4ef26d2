"""Parts shared by float and quantised training: the loss, and Adam over shuffled batches."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from golden.datasets import Sequences
from golden.measures import loss
from golden.training.settings import Training

POOL = 16
"""Number of batches whose sequences are sorted by length together."""

Progress = Callable[[str, int, int, float], None]
"""Called after each epoch with the stage, the epoch, the number of epochs, and the mean loss."""


def mean_of_passes(batch: Sequences, passes: int, scores: Callable[[Sequences], Tensor]) -> Tensor:
    """Mean scores of a batch over passes, in each of which its noise is drawn anew.

    scores: Scores of sequences; it gets those of all passes at once, pass after pass.
    """
    if passes == 1:
        return scores(batch)
    each = torch.arange(len(batch), device=batch.x.device).repeat(passes)
    return scores(batch.part(each)).unflatten(0, (passes, len(batch))).mean(0)


def batch_loss(score: Tensor, data: Sequences) -> Tensor:
    """Loss of scores on the labels of a batch."""
    return loss(data.labelled(score), data.labelled(data.labels))


def fit(
    module: nn.Module,
    loss_of: Callable[[Sequences, float], Tensor],
    data: Sequences,
    training: Training,
    epochs: int,
    stage: str,
    progress: Progress,
) -> None:
    """Train with Adam and a cosine schedule over shuffled batches; gradients are clipped to norm 1.

    loss_of: Loss of a batch, given the batch and the completed part of the training, 0 to 1.
    """
    optimiser = torch.optim.Adam(module.parameters(), training.learning_rate)
    steps = epochs * -(-len(data) // training.batch)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for epoch in range(epochs):
        total = 0.0
        for chosen in _batches(data.lengths, training.batch):
            error = loss_of(data.part(chosen), schedule.last_epoch / steps)
            optimiser.zero_grad()
            error.backward()
            nn.utils.clip_grad_norm_(module.parameters(), 1.0)
            optimiser.step()
            schedule.step()
            total += error.item() * len(chosen)
        progress(stage, epoch + 1, epochs, total / len(data))


def _batches(lengths: Tensor, size: int) -> list[Tensor]:
    """Shuffled batches of all sequences.

    In a large set a batch has sequences of similar length, for less padding.
    """
    order = torch.randperm(len(lengths)).to(lengths.device)
    batches = order.split(size)
    if len(batches) < 4 * POOL or lengths.min() == lengths.max():
        return list(batches)
    pools = order.split(POOL * size)
    sorted_ = [b for pool in pools for b in pool[lengths[pool].argsort(stable=True)].split(size)]
    return [sorted_[n] for n in torch.randperm(len(sorted_)).tolist()]
