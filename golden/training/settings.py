"""How a network is trained."""

from typing import Annotated

from pydantic import Field, Strict

from golden.injection import Injection, Placement
from golden.validation import Int, frozen


@frozen
class Training:
    """How to train: `float_epochs` of the float network, then `epochs` of the quantised one.

    dataset: the name of a data set or, for an imported network, the path of an .npz file of its
    sequences, which a TOML file gives relative to its own folder.
    noise: what the quantised network is trained with: "none"; a number, the signal-to-noise ratio
    in dB of noise at `placement` (`golden.injection`); or "hardware", the recipe's own effects.
    """

    dataset: str = "vowels"
    seed: Annotated[Int, Field(ge=0, le=2**31)] = 0
    float_epochs: Annotated[Int, Field(ge=1, le=10_000)] = 60
    epochs: Annotated[Int, Field(ge=1, le=10_000)] = 60
    batch: Annotated[Int, Field(ge=1, le=65_536)] = 30
    learning_rate: Annotated[float, Strict(), Field(gt=0, le=1)] = 0.005
    noise: Annotated[float, Strict()] | str = "none"
    placement: Placement = "pre-activations"

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

    @property
    def injection(self) -> Injection | None:
        """The noise of a signal-to-noise ratio, if there is one."""
        if isinstance(self.noise, str):
            return None
        return Injection(snr_db=self.noise, placement=self.placement)
