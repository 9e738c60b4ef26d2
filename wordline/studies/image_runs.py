"""The runs of the study of images: training, and accuracy under noise.

Functions for `wordline.jobs`: of a `Here` and plain values, to plain values. Accuracies are of
held-out test sets, in percent.
"""

from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

from golden import datasets, files
from golden.convnet import CLASSES, ConvNet
from golden.errors import WordlineError
from golden.injection import Injection
from golden.measures import percent
from golden.training.float import ramp
from wordline.jobs import Here
from wordline.studies.runs import curve, injection

Fields = dict[str, Any]

HELD = 2000
"""Images at the end of the training set that nothing is trained on: choices are made there."""

SCORED = 100
"""Images that are classified at once: few, so that a layer stays in the cache."""

Labelled = tuple[Tensor, Tensor]
"""Images (images, 1, 28, 28), 0 to 1, and their labels."""


def images(here: Here, dataset: str) -> dict[str, Labelled]:
    """The parts of a set of rows, as images: train, held, test."""
    data = datasets.load(dataset, here.data_dir)
    x, labels = data.train.x[:, None], data.train.labels
    if len(x) <= HELD:
        raise WordlineError(
            f"{dataset} has {len(x):,} images to train, of which {HELD:,} are held out; give more."
        )
    return {
        "train": (x[:-HELD], labels[:-HELD]),
        "held": (x[-HELD:], labels[-HELD:]),
        "test": (data.test.x[:, None], data.test.labels),
    }


def train(
    here: Here,
    *,
    dataset: str,
    width: int,
    fit: Fields,
    seed: int,
    start: str | None = None,
    snr_db: float | None = None,
    placement: str = "pre-activations",
) -> Fields:
    """Train a network, from `start` if there is one; with noise if there is a ratio, which falls
    as `golden.training.float.ramp` says.

    The head has no noise in training, and scores are fitted by their squared error to 1 for the
    class and -1/9 for any other. Noise in proportion to the scores is then as small as it can be
    beside their difference; cross entropy makes scores of unlikely classes, and with them that
    noise, ever larger, and with noise on the head its gradients are mostly noise.

    fit: epochs, batch, learning_rate.
    """
    x, labels = images(here, dataset)["train"]
    torch.manual_seed(seed)
    network = ConvNet(width) if start is None else load(here, start, width)
    network.to(here.device)
    optimiser = torch.optim.Adam(network.parameters(), fit["learning_rate"])
    steps = fit["epochs"] * -(-len(x) // fit["batch"])
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    wanted = injection(snr_db, placement)
    for _ in range(fit["epochs"]):
        for chosen in torch.randperm(len(x)).split(fit["batch"]):
            batch, truth = x[chosen], labels[chosen]
            noise = wanted and ramp(wanted, schedule.last_epoch / steps)
            scores = network(batch.to(here.device), noise, noisy_head=False)
            loss = nn.functional.mse_loss(scores, wanted_scores(truth).to(here.device))
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    network.cpu()
    with files.atomic(here.file()) as beside:
        safetensors.torch.save_file(network.state_dict(), beside)
    test, truth = images(here, dataset)["test"]
    return {"clean": percent(scores_of(network, test, None).argmax(1), truth)}


def wanted_scores(labels: Tensor) -> Tensor:
    """The scores (images, classes) that training fits: 1 for the class, and a sum of 0."""
    right = nn.functional.one_hot(labels, CLASSES).float()
    return right - (1 - right) / (CLASSES - 1)


def evaluate(
    here: Here,
    *,
    dataset: str,
    width: int,
    model: str,
    placement: str,
    seed: int,
    points: list[tuple[float | None, int]],
) -> list[Fields]:
    """`curve` at each of `points`: a ratio in dB, or None, and the number of passes."""
    network = load(here, model, width)
    x, labels = images(here, dataset)["test"]
    torch.manual_seed(seed)
    found = []
    for snr_db, passes in points:
        noise = injection(snr_db, placement)
        scores = torch.stack([scores_of(network, x, noise) for _ in range(passes)], 1)
        found.append({"snr_db": snr_db, **curve(scores, labels)})
    return found


def scores_of(network: ConvNet, x: Tensor, noise: Injection | None) -> Tensor:
    """Class scores (images, classes)."""
    with torch.no_grad():
        return torch.cat([network(part, noise) for part in x.split(SCORED)])


def load(here: Here, key: str, width: int) -> ConvNet:
    """A network that a job trained."""
    network = ConvNet(width)
    network.load_state_dict(safetensors.torch.load_file(here.file(key)))
    return network
