"""Training settings."""

from typing import Annotated

from pydantic import Field, Strict

from golden.injection import Injection, Placement
from golden.validation import Int, frozen


@frozen
class Training:
    """How to train: `float_epochs` of the float network, then `epochs` of the quantised one.

    dataset:       Name of a data set; for an imported network, the path of an .npz file of its
                   sequences, relative to the TOML file.
    seed:          Seed of the initial weights, the order of batches and the noise in training.
    float_epochs:  Epochs of the float network.
    epochs:        Epochs of the quantised network.
    batch:         Sequences per batch.
    learning_rate: Adam's step size at the start; a cosine schedule takes it to 0.
    noise:         Noise in training of the quantised network. "none"; a number: signal-to-noise
                   ratio in dB, -20 to 60, at `placement`; "hardware": the recipe's own effects.
    placement:     Where noise of a given ratio is injected. "pre-activations"; "product": also the
                   inputs of each product (x and h), and scores; "every": pre-activations, gate
                   outputs, c, h before rounding, and scores (`golden.injection`).
    passes:        With noise: passes of a sequence whose mean scores the loss is of, as votes by
                   sum have them in inference. Training takes as many times as long.
    """

    dataset: str = "vowels"
    seed: Annotated[Int, Field(ge=0, le=2**31)] = 0
    float_epochs: Annotated[Int, Field(ge=1, le=10_000)] = 60
    epochs: Annotated[Int, Field(ge=1, le=10_000)] = 60
    batch: Annotated[Int, Field(ge=1, le=65_536)] = 30
    learning_rate: Annotated[float, Strict(), Field(gt=0, le=1)] = 0.005
    noise: Annotated[float, Strict()] | str = "none"
    placement: Placement = "pre-activations"
    passes: Annotated[Int, Field(ge=1, le=64)] = 1

    def __post_init__(self) -> None:
        known = self.noise in ("none", "hardware")
        if not (known or (isinstance(self.noise, float) and -20 <= self.noise <= 60)):
            raise ValueError(
                f"noise = {self.noise!r} is neither a signal-to-noise ratio in dB, -20 to 60, nor "
                f"'hardware' or 'none'; write one of them"
            )
        if self.placement != "pre-activations" and not isinstance(self.noise, float):
            raise ValueError(
                f"placement = {self.placement!r} has no effect with noise = {self.noise!r}; give "
                f"noise as a ratio in dB, or leave placement out"
            )
        if self.passes > 1 and self.noise == "none":
            raise ValueError(
                f"passes = {self.passes} has no effect with noise = 'none': all passes are equal; "
                f"give noise, or leave passes out"
            )

    @property
    def injection(self) -> Injection | None:
        """Noise with a given signal-to-noise ratio; None if `noise` is not a ratio."""
        if isinstance(self.noise, str):
            return None
        return Injection(snr_db=self.noise, placement=self.placement)
