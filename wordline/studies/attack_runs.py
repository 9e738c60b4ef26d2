"""The runs of the study of defences: adversarial training, attacked images, and their answers.

Functions for `wordline.jobs`: of a `Here` and plain values, to plain values. Attacks are those of
the Adversarial Robustness Toolbox. Answers are given image by image, so that two networks can be
compared on the same images.
"""

from typing import Any

import numpy as np
import safetensors.torch
import torch
from torch import Tensor, nn

from golden import files
from golden.convnet import CLASSES, ConvNet
from golden.injection import Injection
from golden.measures import percent
from wordline.jobs import Here
from wordline.studies.image_runs import images, load, scores_of
from wordline.studies.runs import curve, injection

Fields = dict[str, Any]

PART = 500
"""Images that are attacked at once."""
RISING = 0.3
"""Part of an adversarial training over which the attack grows to its full bound."""


class Expected(nn.Module):
    """A network's mean scores over passes with noise: what an attacker of a noisy network sees who
    averages over the noise (expectation over transformation)."""

    def __init__(self, network: ConvNet, noise: Injection | None, passes: int) -> None:
        super().__init__()
        self.network, self.noise = network, noise
        self.passes = 1 if noise is None else passes

    def forward(self, x: Tensor) -> Tensor:
        """Mean scores (images, classes)."""
        many = x.repeat(self.passes, 1, 1, 1)
        scores: Tensor = self.network(many, self.noise, noisy_head=False)
        return scores.unflatten(0, (self.passes, len(x))).mean(0)


class Attack:
    """An attack on a module's own gradients.

    kind: "pgd" (Madry et al., ICLR 2018, with a random start) or "fgsm" (Goodfellow et al., ICLR
        2015).
    eps, step: Bound of a pixel's change and size of a step, of a pixel's whole range.
    """

    def __init__(
        self, module: nn.Module, *, kind: str, eps: float, step: float, steps: int, seed: int
    ) -> None:
        from art.attacks.evasion import FastGradientMethod, ProjectedGradientDescentPyTorch
        from art.estimators.classification import PyTorchClassifier  # 5 s to import

        np.random.seed(seed)  # ART's random starts
        classifier = PyTorchClassifier(
            module,
            nn.CrossEntropyLoss(),
            (1, 28, 28),
            CLASSES,
            clip_values=(0.0, 1.0),
            device_type="cpu",
        )
        self.eps, self.step = eps, step
        if kind == "fgsm":
            self.made: Any = FastGradientMethod(classifier, eps=eps, batch_size=PART)
        else:
            self.made = ProjectedGradientDescentPyTorch(
                classifier,
                eps=eps,
                eps_step=step,
                max_iter=steps,
                num_random_init=1,
                batch_size=PART,
                verbose=False,
            )

    def __call__(self, x: Tensor, labels: Tensor, share: float = 1.0) -> Tensor:
        """Images that differ by at most `share` of the bound."""
        self.made.set_params(eps=share * self.eps, eps_step=share * self.step)
        wanted = nn.functional.one_hot(labels, CLASSES).float().numpy()
        return torch.from_numpy(self.made.generate(x.numpy(), wanted))


def train(
    here: Here,
    *,
    dataset: str,
    width: int,
    fit: Fields,
    seed: int,
    attack: Fields | None,
    snr_db: float | None = None,
    placement: str = "pre-activations",
) -> Fields:
    """Train a network from its first weights, on attacked images if there is an attack, with noise
    if there is a ratio, in the attack's gradients too. The head has no noise in training.

    The bound of the attack grows over the first RISING of the batches. A learning rate that rises
    and falls (one cycle).

    fit: epochs, batch, learning_rate. attack: as `Attack` takes it.
    """
    x, labels = images(here, dataset)["train"]
    torch.manual_seed(seed)
    network, noise = ConvNet(width), injection(snr_db, placement)
    optimiser = torch.optim.Adam(network.parameters(), fit["learning_rate"])
    steps = fit["epochs"] * -(-len(x) // fit["batch"])
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, fit["learning_rate"], total_steps=max(steps, 2), pct_start=RISING
    )
    made = attack and Attack(Expected(network, noise, 1), seed=seed, **attack)
    done = 0
    for _ in range(fit["epochs"]):
        for chosen in torch.randperm(len(x)).split(fit["batch"]):
            batch, truth = x[chosen], labels[chosen]
            if made:
                batch = made(batch, truth, min(1.0, (done + 1) / (RISING * steps)))
            scores = network(batch, noise, noisy_head=False)
            loss = nn.functional.cross_entropy(scores, truth)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            done += 1
    with files.atomic(here.file()) as beside:
        tensors = {name: t.contiguous() for name, t in network.state_dict().items()}
        safetensors.torch.save_file(tensors, beside)
    test, truth = images(here, dataset)["test"]
    return {"clean": percent(scores_of(network, test, None).argmax(1), truth)}


def attacked(
    here: Here, *, dataset: str, width: int, source: str, attack: Fields, seed: int, part: str
) -> Fields:
    """Attack the images of a part ("held", "test") through a network, whose gradients are all that
    the attacker has, and keep them; returns what the network itself gets right."""
    network = load(here, source, width)
    x, labels = images(here, dataset)[part]
    torch.manual_seed(seed)
    bad = _attacked(network, None, 1, x, labels, attack, seed)
    with files.atomic(here.file()) as beside:
        safetensors.torch.save_file({"x": bad}, beside)
    return {"source": percent(scores_of(network, bad, None).argmax(1), labels)}


def answers(
    here: Here,
    *,
    dataset: str,
    width: int,
    model: str,
    attacked: str,
    part: str,
    placement: str,
    points: list[tuple[float | None, int]],
    seed: int,
) -> list[Fields]:
    """`curve` of a network on images that `attacked` kept, and which images it has right by the sum
    of its votes, at each of `points`: a ratio in dB, or None, and the number of passes."""
    network = load(here, model, width)
    x = safetensors.torch.load_file(here.file(attacked))["x"]
    _, labels = images(here, dataset)[part]
    torch.manual_seed(seed)
    return [
        _answered(network, x, labels, injection(snr_db, placement), passes) | {"snr_db": snr_db}
        for snr_db, passes in points
    ]


def white_box(
    here: Here,
    *,
    dataset: str,
    width: int,
    model: str,
    placement: str,
    attack: Fields,
    snr_db: float | None,
    expectation: int,
    passes: int,
    count: int,
    seed: int,
) -> Fields:
    """The same on the first `count` test images, attacked through the network itself: with noise,
    the attacker averages its gradients over `expectation` passes, without the head's noise, which
    changes no gradient's mean."""
    network, noise = load(here, model, width), injection(snr_db, placement)
    x, labels = (values[:count] for values in images(here, dataset)["test"])
    torch.manual_seed(seed)
    bad = _attacked(network, noise, expectation, x, labels, attack, seed)
    return _answered(network, bad, labels, noise, passes) | {"snr_db": snr_db}


def _attacked(
    network: ConvNet,
    noise: Injection | None,
    expectation: int,
    x: Tensor,
    labels: Tensor,
    attack: Fields,
    seed: int,
) -> Tensor:
    made = Attack(Expected(network, noise, expectation), seed=seed, **attack)
    parts = zip(x.split(PART), labels.split(PART), strict=True)
    return torch.cat([made(*pair) for pair in parts])


def _answered(
    network: ConvNet, x: Tensor, labels: Tensor, noise: Injection | None, passes: int
) -> Fields:
    scores = torch.stack([scores_of(network, x, noise) for _ in range(passes)], 1)
    right = scores.sum(1).argmax(-1) == labels
    return curve(scores, labels) | {"right": "".join(map(str, right.long().tolist()))}
