"""Non-idealities of a real array: programming errors, drift, stuck devices, noise and ADC errors.

Device models have physical units. The host applies them before loading: `apply` changes conductance
codes, so that the RTL stores those of the real devices. It also sets the registers from which the
macro draws its noise (`golden.noise`). Here a conductance is a fraction of full scale, the largest
conductance code.
"""

import dataclasses
import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar

import torch
from pydantic import Field, Strict
from torch import Tensor

from golden import noise
from golden.description import Description
from golden.errors import WordlineError
from golden.fixed import quantise
from golden.geometry import ArrayShape
from golden.parameters import ADC_NOISE_BITS, GAIN_ERROR_BITS, OFFSET_BITS
from golden.program import ArrayProgram, Program, ideal_macro
from golden.ranges import Range, signed_range
from golden.source import registry
from golden.validation import Int, build, frozen, plain, preset_or_toml

A = TypeVar("A", bound=ArrayProgram)

Real = Annotated[float, Strict()]
Fraction = Annotated[Real, Field(ge=0, le=1)]
Probability = Annotated[Real, Field(ge=0, le=0.5)]


@dataclass(frozen=True)
class DeviceModel:
    """Programming error of a device: a measured polynomial.

    g_max_us: Full scale (uS).
    coefficients: Coefficients of the standard deviation (uS) in powers of the target, which is a
        fraction of full scale; the constant first.
    source: Where the coefficients are from.
    """

    g_max_us: float
    coefficients: tuple[float, ...]
    source: str

    def deviation(self, g: Tensor) -> Tensor:
        """Standard deviation for targets g, at least 0; both are fractions of full scale."""
        total = torch.zeros_like(g)
        for coefficient in reversed(self.coefficients):
            total = total * g + coefficient
        return total.clamp(min=0) / self.g_max_us


DEVICES = {
    "pcm": DeviceModel(
        g_max_us=25.0,
        coefficients=(0.26348, 1.9650, -1.1731),
        source="Nandakumar et al., ICECS 2019, and Joshi et al., Nature Communications 11, 2473 "
        "(2020); coefficients as in aihwkit's PCMLikeNoiseModel",
    ),
    "reram": DeviceModel(
        g_max_us=40.0,
        coefficients=(0.348, 16.030, -43.853, 45.393, -16.815),
        source="Wan et al., Nature 608, 504 (2022), 1 s after programming; aihwkit's fit to the "
        "published figures, ReRamWan2022NoiseModel",
    ),
}
"""Device models by their name in `Effects.programming`."""


def deviation(noise: str | float, g: Tensor) -> Tensor:
    """Standard deviation of programming for targets g, both as fractions of full scale.

    noise: Name in DEVICES, or one deviation for all targets.
    """
    if isinstance(noise, str):
        return DEVICES[noise].deviation(g)
    return torch.full_like(g, noise)


DRIFT_START = 20.0
"""t0 (s): time of the first reading, from which drift counts (Nandakumar et al., as in aihwkit)."""


_STEPS = {"adc_sigma": 2**-8, "offset_sigma": 2**-8, "gain_sigma": 2**-10}
"""LSB of the registers of these effects."""


@frozen
class Effects:
    """Non-idealities of one chip, the `[effects]` of a recipe. All are off by default.

    seed:              Seed of all draws, including the keys of the noise: one seed, one chip.
    programming:       Programming error of the devices. "pcm" and "reram": published models
                       (`DEVICES`). "constant": the same deviation for each target.
    programming_sigma: Standard deviation of "constant", as a fraction of full scale.
    drift_seconds:     Time from programming to use in seconds. No drift up to 20 s, the first
                       reading.
    drift_nu:          Mean drift exponent nu in G(t) = G(t0) (t/t0)^-nu. The default is PCM's above
                       a third of full scale (Nandakumar et al., ICECS 2019).
    drift_nu_sigma:    Standard deviation of nu over devices; default as above. Devices that are
                       nearly off drift faster.
    stuck_on:          Probability that a device is stuck at full scale.
    stuck_off:         Probability that a device is stuck at 0.
    read_sigma:        Read noise of a device, standard deviation as a fraction of full scale.
    adc_sigma:         Noise of a conversion, standard deviation in LSB.
    offset_sigma:      Standard deviation of the ADCs' offsets over lanes, in LSB.
    gain_sigma:        Standard deviation of the ADCs' relative gain errors over lanes.
    """

    seed: Annotated[Int, Field(ge=0, le=2**31)] = 0
    programming: Literal["none", "constant", "pcm", "reram"] = "none"
    programming_sigma: Fraction = 0.0
    drift_seconds: Annotated[Real, Field(ge=0, le=1e10)] = 0.0
    drift_nu: Fraction = 0.049
    drift_nu_sigma: Fraction = 0.008
    stuck_on: Probability = 0.0
    stuck_off: Probability = 0.0
    read_sigma: Fraction = 0.0
    adc_sigma: Annotated[Real, Field(ge=0, le=2 ** (ADC_NOISE_BITS - 8) - 1)] = 0.0
    offset_sigma: Annotated[Real, Field(ge=0, le=2 ** (OFFSET_BITS - 9))] = 0.0
    gain_sigma: Annotated[Real, Field(ge=0, le=2 ** (GAIN_ERROR_BITS - 11))] = 0.0

    def __post_init__(self) -> None:
        if self.programming == "constant" and not self.programming_sigma:
            raise ValueError(
                "effects.programming_sigma = 0 leaves effects.programming = 'constant' without an "
                "amplitude; set programming_sigma above 0, or programming to 'none'"
            )
        if self.programming != "constant" and self.programming_sigma:
            raise ValueError(
                f"effects.programming_sigma = {self.programming_sigma} has no effect with "
                f"effects.programming = {self.programming!r}; set programming to 'constant', or "
                f"programming_sigma to 0"
            )

        for name, step in _STEPS.items():
            value = getattr(self, name)
            if 0 < value < step / 2:
                raise ValueError(
                    f"effects.{name} = {value} is nothing to the hardware, whose step is {step:g}; "
                    f"set it to 0, or to {step:g} or more"
                )
        if self.drift_seconds and not (self.drift_nu or self.drift_nu_sigma):
            raise ValueError(
                f"effects.drift_seconds = {self.drift_seconds} has no effect with "
                f"effects.drift_nu = 0; set drift_nu above 0, or drift_seconds to 0"
            )

    @property
    def on(self) -> tuple[str, ...]:
        """Names of the effects that are on."""
        switches = {
            "programming": self.programming != "none",
            "drift": self.drift_seconds > DRIFT_START,
            "stuck_on": self.stuck_on > 0,
            "stuck_off": self.stuck_off > 0,
            "read": self.read_sigma > 0,
            "adc": self.adc_sigma > 0,
            "offset": self.offset_sigma > 0,
            "gain": self.gain_sigma > 0,
        }
        return tuple(name for name, is_on in switches.items() if is_on)


DAY = 86_400.0

PRESETS = registry(
    "effects",
    {
        "none": Effects(),
        "pcm": Effects(programming="pcm", drift_seconds=DAY, read_sigma=0.016),
        "reram": Effects(programming="reram", read_sigma=0.01),
        "all": Effects(
            programming="pcm",
            drift_seconds=DAY,
            stuck_on=0.001,
            stuck_off=0.002,
            read_sigma=0.01,
            adc_sigma=0.3,
            offset_sigma=0.2,
            gain_sigma=0.02,
        ),
    },
)
"""Presets of effects.

none: An ideal chip.
pcm: One day after programming. Its read noise is the 1/f noise accumulated by then (Nandakumar et
    al., ICECS 2019: G * Qs * sqrt(ln((t + tr) / 2 tr)), Qs = 0.0088 / g^0.65, tr = 250 ns): the
    root mean square over pairs of a device at 0 and one anywhere up to full scale, both drifted.
reram: Read noise of 1 %, as aihwkit recommends for Wan et al.
all: Every effect.
"""


def load(name: str) -> Effects:
    """Load a preset, or a TOML file with the fields or with an [effects] table.

    Raises WordlineError if `name` is neither, or if the file has a mistake.
    """
    found = preset_or_toml(name, PRESETS, "Unknown effects")
    return found if isinstance(found, Effects) else read(found.get("effects", found), name)


def read(fields: dict[str, Any], source: str) -> Effects:
    """Build `Effects` from plain dicts.

    source: Origin of the fields, for messages.

    Raises WordlineError if a field is invalid.
    """
    return build(Effects, fields, source, "effects")


def apply(program: Program, effects: Effects, *, seed: int | None = None) -> Program:
    """Apply effects to a program: the result is what a chip with these effects holds and runs.

    Conductance codes change only if programming errors, drift or stuck devices are on. Macro
    parameters are set from `effects` alone; earlier ones are replaced. Gradients pass to the codes
    of float64 programs: 1 through programming error, (t/t0)^-nu through drift, 0 where a device is
    stuck or its code saturates.

    seed: Replaces `effects.seed`. Training uses it for another chip with each batch.

    Raises WordlineError if the read noise of an array exceeds its register or rounds to 0.
    """
    seed = effects.seed if seed is None else seed
    parts = {
        name: _Part(name, shape, effects, seed, number).apply(array)
        for number, (name, array, shape) in enumerate(_arrays(program))
    }
    head = parts.pop("head", None)
    layers = tuple(parts.values())
    return dataclasses.replace(program, layers=layers, head=head)  # type: ignore[arg-type]


def describe(
    before: Program, after: Program, effects: Effects, *, seed: int | None = None
) -> dict[str, Any]:
    """Report the change by `apply`: the effects as given, and their amplitudes in each array.

    The arrays, by name, have: the macro's amplitudes in units of charge, in LSB and as fractions;
    the number of stuck devices; the root mean square change of the conductances, as a fraction of
    full scale.
    """
    seed = effects.seed if seed is None else seed
    most = before.description.device.conductance_max
    arrays = {}
    pairs = zip(_arrays(before), _arrays(after), strict=True)
    for number, ((name, old, shape), (_, new, _)) in enumerate(pairs):
        on, off = _Part(name, shape, effects, seed, number).stuck()
        change = (_codes(new) - _codes(old)).double() / most
        arrays[name] = {
            "read_noise_charge": (new.read_noise.double() / 16).tolist(),
            "adc_noise_lsb": new.adc_noise.item() / 256,
            "offset_lsb": (new.offset.double() / 256).tolist(),
            "gain_error": (new.gain_error.double() / 1024).tolist(),
            "stuck_on": int(on.sum()),
            "stuck_off": int(off.sum()),
            "conductance_rms_change": change.square().mean().sqrt().item(),
        }
    return {
        "on": list(effects.on),
        "given": plain(effects) | {"seed": seed},
        "arrays": arrays,
    }


def stuck(description: Description, effects: Effects) -> dict[str, tuple[Tensor, Tensor]]:
    """Masks of the devices stuck at full scale and at 0 by array, (2, gates, units, rows) each."""
    return {
        name: _Part(name, shape, effects, effects.seed, number).stuck()
        for number, (name, shape) in enumerate(description.arrays.items())
    }


def _arrays(program: Program) -> Iterator[tuple[str, ArrayProgram, ArrayShape]]:
    """Name, program and shape of every array, in the order of their numbers."""
    shapes = program.description.arrays
    for name, array in program.arrays.items():
        yield name, array, shapes[name]


def _codes(array: ArrayProgram) -> Tensor:
    """Conductance codes of all devices of an array, shape (2, gates, units, rows)."""
    return torch.stack([array.positive, array.negative])


@dataclass(frozen=True)
class _Part:
    """Effects of one array of a chip, with their draws.

    Each purpose has its own generator, so one effect does not change the draws of another. Draws
    are made on the CPU, so a chip is the same on any device.
    """

    name: str
    shape: ArrayShape
    effects: Effects
    seed: int
    number: int

    def apply(self, array: A) -> A:
        """The array's program with changed codes and with macro parameters."""
        positive, negative = self.conductances(_codes(array))
        macro = {n: value.to(getattr(array, n)) for n, value in self.macro().items()}
        return dataclasses.replace(array, positive=positive, negative=negative, **macro)

    def conductances(self, codes: Tensor) -> Tensor:
        """Codes that the devices hold.

        codes: Target codes, integers or float64, shape (2, gates, units, rows).
        """
        effects, most = self.effects, self.shape.description.device.conductance_max
        if not {"programming", "drift", "stuck_on", "stuck_off"} & set(effects.on):
            return codes
        g = codes.double() / most
        if "programming" in effects.on:
            normal = self.normal("programming", *codes.shape).to(g.device)
            g = g + self.programming_deviation(g.detach()) * normal
        if "drift" in effects.on:
            normal = self.normal("drift", *codes.shape).to(g.device)
            nu = (effects.drift_nu + effects.drift_nu_sigma * normal).clamp(min=0)
            g = g * (effects.drift_seconds / DRIFT_START) ** -nu
        on, off = self.stuck()
        g = torch.where(off.to(g.device), 0.0, torch.where(on.to(g.device), 1.0, g))
        return quantise(g * most, Range(0, most)).to(codes.dtype)

    def programming_deviation(self, g: Tensor) -> Tensor:
        """Standard deviation of programming for targets g."""
        effects = self.effects
        constant = effects.programming == "constant"
        return deviation(effects.programming_sigma if constant else effects.programming, g)

    def stuck(self) -> tuple[Tensor, Tensor]:
        """Masks of the devices stuck at full scale and at 0; no device is in both."""
        shape = self.shape
        size = (2, shape.gates, shape.units, shape.rows)
        if not {"stuck_on", "stuck_off"} & set(self.effects.on):
            return torch.zeros(size, dtype=torch.bool), torch.zeros(size, dtype=torch.bool)
        uniform = torch.rand(size, generator=self.generator("stuck"), dtype=torch.float64)
        return uniform < self.effects.stuck_on, uniform >= 1 - self.effects.stuck_off

    def macro(self) -> dict[str, Tensor]:
        """Parameters of the macro, int64; keys stay 0 if no noise needs them."""
        effects, fields = self.effects, ideal_macro(self.shape)
        size = fields["offset"].shape
        if {"read", "adc"} & set(effects.on):
            crossbars = range(self.shape.macros)
            keys = torch.tensor([noise.key(self.seed, self.number, n) for n in crossbars])
            fields["key"] = keys.view_as(fields["key"])
        amplitudes = [self.read_noise(len(tile)) for tile in self.shape.row_tiles]
        fields["read_noise"] = torch.tensor(amplitudes)
        fields["adc_noise"] = torch.tensor(_round(256 * effects.adc_sigma))
        offset = 256 * effects.offset_sigma * self.normal("offset", *size)
        fields["offset"] = quantise(offset, signed_range(OFFSET_BITS)).long()
        gain_error = 1024 * effects.gain_sigma * self.normal("gain", *size)
        fields["gain_error"] = quantise(gain_error, signed_range(GAIN_ERROR_BITS)).long()
        return fields

    def read_noise(self, rows: int) -> int:
        """Standard deviation of a column's charge (1/16 unit of charge), from that of one device.

        Each device of the column's `rows` pairs adds its own noise times the drive of its row,
        whatever its conductance. The DAC codes are not known here, so all are assumed equally
        likely. Their mean square is max (max + 1) / 3, or 1 for a 1-bit DAC. For a bit-serial DAC,
        a given bit is set in max + 1 of 2 max + 1 codes.

        Raises WordlineError if the result exceeds the register or rounds to 0.
        """
        description, sigma = self.shape.description, self.effects.read_sigma
        high = description.dac.range.high
        mean_square = 1.0 if description.dac.bits == 1 else high * (high + 1) / 3
        if description.dac.planes > 1:
            mean_square = (high + 1) / (2 * high + 1)
        devices = math.sqrt(2 * rows * mean_square)
        amplitude = _round(16 * sigma * description.device.conductance_max * devices)
        if sigma and not amplitude:
            raise WordlineError(
                f"effects.read_sigma = {sigma} makes a read noise of less than 1/16 of a unit of "
                f"charge in {self.name}; set it to 0, or higher."
            )
        most = 2**self.shape.read_noise_bits - 1
        if amplitude > most:
            # Rounded down to three digits.
            fits = math.floor(1000 * sigma * most / amplitude) / 1000
            raise WordlineError(
                f"effects.read_sigma = {sigma} makes a read noise of {amplitude}/16 units of "
                f"charge in {self.name}, whose register holds at most {most}; lower it to {fits}."
            )
        return amplitude

    def normal(self, purpose: str, *size: int) -> Tensor:
        """Standard normal numbers of a purpose, float64."""
        return torch.randn(size, generator=self.generator(purpose), dtype=torch.float64)

    def generator(self, purpose: str) -> torch.Generator:
        """Generator seeded by (seed, array, purpose)."""
        digest = hashlib.sha256(f"{self.seed}:{self.number}:{purpose}".encode()).digest()
        return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little"))


def _round(x: float) -> int:
    """Round to the nearest integer, halves up."""
    return math.floor(x + 0.5)
