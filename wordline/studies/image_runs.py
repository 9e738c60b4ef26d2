"""The runs of the study of images: training, and accuracy under noise.

Functions for `wordline.jobs`: of a `Here` and plain values, to plain values. Accuracies are of
held-out test sets, in percent.
"""

import copy
import dataclasses
import math
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
from golden.validation import replaced
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


@dataclasses.dataclass
class _Trained:
    """A network in training: all that a later part of the training goes on from.

    average: Network whose weights are the mean of the last ones, exponentially weighted.
    """

    network: ConvNet
    average: ConvNet
    optimiser: torch.optim.Adam

    def save(self, here: Here) -> None:
        """Keep the averaged weights under their names, and the rest of the training beside them."""
        tensors = dict(self.average.state_dict())
        tensors |= {f"now:{name}": value for name, value in self.network.state_dict().items()}
        for n, state in self.optimiser.state_dict()["state"].items():
            tensors |= {f"adam:{n}:{name}": value for name, value in state.items()}
        with files.atomic(here.file()) as beside:
            kept = {name: value.cpu().contiguous() for name, value in tensors.items()}
            safetensors.torch.save_file(kept, beside)


def _begun(
    here: Here, start: str | None, width: int, learning_rate: float, *, goes_on: bool
) -> _Trained:
    """A network in training: new, from another's weights, or where a part of the training ended."""
    network = ConvNet(width) if start is None else trained(here, start, width)
    average = copy.deepcopy(network)
    tensors = {} if start is None else safetensors.torch.load_file(here.file(start))
    if goes_on:
        own = {k.removeprefix("now:"): v for k, v in tensors.items() if k.startswith("now:")}
        network.load_state_dict(own)
    network.to(here.device)
    average.to(here.device)
    optimiser = torch.optim.Adam(network.parameters(), learning_rate)
    if goes_on:
        state: dict[int, Fields] = {}
        for name, value in tensors.items():
            if name.startswith("adam:"):
                _, n, what = name.split(":")
                state.setdefault(int(n), {})[what] = value
        groups = optimiser.state_dict()["param_groups"]
        optimiser.load_state_dict({"state": state, "param_groups": groups})
    return _Trained(network, average, optimiser)


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
    teachers: list[str] | None = None,
) -> Fields:
    """Train a network, or a part of its training, from `start` if there is one; with noise if there
    is a ratio, which falls as `golden.training.float.ramp` says, but never is above `least_db`.

    The head has no noise in training, and scores are fitted by their squared error to 1 for the
    class and -1/9 for any other. Noise in proportion to the scores is then as small as it can be
    beside their difference; cross entropy makes scores of unlikely classes, and with them that
    noise, ever larger, and with noise on the head its gradients are mostly noise.

    fit: epochs, batch, learning_rate; and, all optional: `passes` whose mean scores the loss is of;
        `shift`, the most pixels that an image is moved by; `mirror`, whether left and right are
        exchanged in half of the images; `least_db`; `average`, the weight of the past in the
        averaged network, a batch; `done`, epochs of earlier parts of this training; `of`, those of
        all parts; and `bfloat16`, whether layers compute in it, which is faster where the processor
        has it.
    teachers: Networks without noise whose mean scores are fitted too, with as much weight.
    """
    x, labels = images(here, dataset)["train"]
    done, of = fit.get("done", 0), fit.get("of", fit["epochs"])
    torch.manual_seed(seed + 1000 * done)
    made = _begun(here, start, width, fit["learning_rate"], goes_on=done > 0)
    taught = [trained(here, key, width).to(here.device) for key in teachers or []]
    steps = -(-len(x) // fit["batch"])
    begun, whole = done * steps, of * steps
    wanted, keep = injection(snr_db, placement), fit.get("average", 0.0)
    for step in range(begun, begun + fit["epochs"] * steps):
        if (step - begun) % steps == 0:
            chosen = iter(torch.randperm(len(x)).split(fit["batch"]))
        part = next(chosen)
        batch, truth = _moved(x[part], fit.get("shift", 0)).to(here.device), labels[part]
        if fit.get("mirror"):
            half = torch.rand(len(batch), 1, 1, 1, device=batch.device) < 0.5
            batch = torch.where(half, batch.flip(3), batch)
        noise = wanted and ramp(wanted, step / whole)
        if noise is not None and noise.snr_db > fit.get("least_db", noise.snr_db):
            noise = replaced(noise, snr_db=fit["least_db"])
        passes = 1 if noise is None else fit.get("passes", 1)
        with torch.autocast(here.device, torch.bfloat16, enabled=fit.get("bfloat16", False)):
            scores = made.network(batch.repeat(passes, 1, 1, 1), noise, noisy_head=False)
        scores = scores.float().unflatten(0, (passes, len(batch))).mean(0)
        loss = nn.functional.mse_loss(scores, wanted_scores(truth).to(here.device))
        if taught:
            with torch.no_grad():
                theirs = torch.stack([teacher(batch) for teacher in taught]).mean(0)
            loss = (loss + nn.functional.mse_loss(scores, theirs)) / 2
        for group in made.optimiser.param_groups:
            group["lr"] = fit["learning_rate"] * (1 + math.cos(math.pi * step / whole)) / 2
        made.optimiser.zero_grad()
        loss.backward()
        made.optimiser.step()
        with torch.no_grad():
            for mean, now in zip(made.average.parameters(), made.network.parameters(), strict=True):
                mean.lerp_(now, 1 - keep)
    made.save(here)
    made.average.cpu()
    test, truth = images(here, dataset)["test"]
    return {"clean": percent(scores_of(made.average, test, None).argmax(1), truth)}


def _moved(x: Tensor, shift: int) -> Tensor:
    """Images moved by up to `shift` pixels either way, along both axes, each by itself."""
    if not shift:
        return x
    padded = nn.functional.pad(x, (shift, shift, shift, shift))
    down, right = torch.randint(0, 2 * shift + 1, (2, len(x), 1))
    side = torch.arange(x.shape[2])
    rows, columns = (down + side)[:, None, :, None], (right + side)[:, None, None, :]
    each = torch.arange(len(x))[:, None, None, None]
    return padded[each, 0, rows, columns]


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
    network = trained(here, model, width)
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


def trained(here: Here, key: str, width: int) -> ConvNet:
    """A network that `train` made: its averaged weights."""
    network = ConvNet(width)
    tensors = safetensors.torch.load_file(here.file(key))
    network.load_state_dict({k: v for k, v in tensors.items() if ":" not in k})
    return network
