"""What a real array does to a program: noise of programming, drift, stuck devices, errors of ADCs.

Device models are in physical units and are applied on the host, before loading: `apply` changes
conductance codes, so the RTL stores what the device would hold, and sets the registers from which
the macro draws its noise (`golden.noise`). A conductance here is a fraction of full scale, which
is the largest conductance code.
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
    """How far a programmed conductance is from its target, by a polynomial that was measured.

    g_max_us: full scale in uS. coefficients: of the deviation in uS, in powers of the target as a
    fraction of full scale, the constant first. source: where they are from.
    """

    g_max_us: float
    coefficients: tuple[float, ...]
    source: str

    def deviation(self, g: Tensor) -> Tensor:
        """Standard deviation around the targets g, never negative; both fractions of full scale."""
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
"""Programming noise by its name in `Effects.programming`."""


def deviation(noise: str | float, g: Tensor) -> Tensor:
    """Standard deviation of programming to the targets g, both fractions of full scale; noise: a
    name in DEVICES, or one deviation for all targets."""
    if isinstance(noise, str):
        return DEVICES[noise].deviation(g)
    return torch.full_like(g, noise)


DRIFT_START = 20.0
"""t0 in seconds: drift is counted from the first reading (Nandakumar et al., as in aihwkit)."""


_STEPS = {"adc_sigma": 2**-8, "offset_sigma": 2**-8, "gain_sigma": 2**-10}
"""One step of the registers of these effects."""


@frozen
class Effects:
    """Non-idealities of one chip, the `[effects]` of a recipe. All are off by default.

    seed:              Seed of all draws, including the keys of the noise: one seed, one chip.
    programming:       Programming error of the devices. "pcm" and "reram": published models
                       (`DEVICES`). "constant": the same deviation for each target.
    programming_sigma: Standard deviation of "constant", as a fraction of full scale.
    drift_seconds:     Time from programming to use in seconds. No drift up to DRIFT_START.
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
"""none: an ideal chip. pcm: a day after programming; its read noise is what 1/f noise adds up to
by then (Nandakumar et al., ICECS 2019: G * Qs * sqrt(ln((t + tr) / 2 tr)), Qs = 0.0088 / g^0.65,
tr = 250 ns), the root mean square over pairs of a device at 0 and one anywhere up to full scale,
both drifted. reram: read noise of 1 %, as aihwkit advises for Wan et al. all: everything at once.
"""


def load(name: str) -> Effects:
    """A preset's name, or the path of a TOML file: the fields, or [effects] among other tables.

    Raises WordlineError if it is neither, or if the file holds a mistake.
    """
    found = preset_or_toml(name, PRESETS, "There are no effects")
    return found if isinstance(found, Effects) else read(found.get("effects", found), name)


def read(fields: dict[str, Any], source: str) -> Effects:
    """Build from plain dicts; `source` names them in the WordlineError of a mistake."""
    return build(Effects, fields, source, "effects")


def apply(program: Program, effects: Effects, *, seed: int | None = None) -> Program:
    """The program as a chip with these effects holds and runs it.

    seed: instead of that of `effects`; in training, another chip for each batch. Codes change only
    where programming, drift or stuck devices are on; the macro's errors are those of `effects`
    alone, whatever they were. On float64 programs gradients pass to the codes: 1 through noise,
    (t/t0)^-nu through drift, 0 where a device is stuck or its code saturates.
    Raises WordlineError where the read noise does not fit the array's register.
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
    """What `apply` made of `before`, for reports: effects as given, and as each array has them.

    arrays: by name, amplitudes of the macro's registers in units of charge, LSB and as fractions;
    how many devices are stuck; the root mean square by which codes changed, of full scale.
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


def _arrays(program: Program) -> Iterator[tuple[str, ArrayProgram, ArrayShape]]:
    """Every array with its name and shape, in the order of their numbers."""
    shapes = program.description.arrays
    for name, array in program.arrays.items():
        yield name, array, shapes[name]


def _codes(array: ArrayProgram) -> Tensor:
    """(2, gates, units, rows): every device of an array."""
    return torch.stack([array.positive, array.negative])


@dataclass(frozen=True)
class _Part:
    """One array of a chip: what it is to have, and its own draws.

    Every purpose has a generator of its own, so no effect moves the draws of another; they are
    drawn on the CPU, so a chip is the same wherever it is computed.
    """

    name: str
    shape: ArrayShape
    effects: Effects
    seed: int
    number: int

    def apply(self, array: A) -> A:
        """The array with changed codes and with the macro's errors."""
        positive, negative = self.conductances(_codes(array))
        macro = {n: value.to(getattr(array, n)) for n, value in self.macro().items()}
        return dataclasses.replace(array, positive=positive, negative=negative, **macro)

    def conductances(self, codes: Tensor) -> Tensor:
        """The codes that devices hold; codes: (2, gates, units, rows), integers or float64."""
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
        """Deviation of programming to the targets g."""
        effects = self.effects
        constant = effects.programming == "constant"
        return deviation(effects.programming_sigma if constant else effects.programming, g)

    def stuck(self) -> tuple[Tensor, Tensor]:
        """Which devices are stuck at full scale and which at 0, never both."""
        shape = self.shape
        size = (2, shape.gates, shape.units, shape.rows)
        if not {"stuck_on", "stuck_off"} & set(self.effects.on):
            return torch.zeros(size, dtype=torch.bool), torch.zeros(size, dtype=torch.bool)
        uniform = torch.rand(size, generator=self.generator("stuck"), dtype=torch.float64)
        return uniform < self.effects.stuck_on, uniform >= 1 - self.effects.stuck_off

    def macro(self) -> dict[str, Tensor]:
        """The registers of the macro's errors, int64; the key stays 0 where nothing needs it."""
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
        """Deviation of a column's charge in 1/16, from that of one device.

        Every device of the column's `rows` pairs adds its own noise times the number on its row,
        whatever it conducts. The codes are not known here: assumed equally likely over the DAC's
        range, whose mean square is max (max + 1) / 3; the codes -1 and +1 of a 1-bit DAC have 1. Of
        a bit-serial DAC's codes max + 1 in 2 max + 1 have a given bit.
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
            # Three digits, rounded down.
            fits = math.floor(1000 * sigma * most / amplitude) / 1000
            raise WordlineError(
                f"effects.read_sigma = {sigma} makes a read noise of {amplitude}/16 units of "
                f"charge in {self.name}, whose register holds at most {most}; lower it to {fits}."
            )
        return amplitude

    def normal(self, purpose: str, *size: int) -> Tensor:
        """Normal numbers of a purpose, float64."""
        return torch.randn(size, generator=self.generator(purpose), dtype=torch.float64)

    def generator(self, purpose: str) -> torch.Generator:
        """A generator for (seed, array, purpose)."""
        digest = hashlib.sha256(f"{self.seed}:{self.number}:{purpose}".encode()).digest()
        return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little"))


def _round(x: float) -> int:
    """Half-up."""
    return math.floor(x + 0.5)
