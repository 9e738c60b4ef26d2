"""The vanilla RNN cell in integers: from pre-activations to h (docs/contract.md, 6 and 7)."""

from torch import Tensor

from golden.dac import feed_back
from golden.fixed import look_up
from golden.geometry import ArrayShape
from golden.injection import StepNoise
from golden.program import RnnProgram


def step(
    index: Tensor, program: RnnProgram, shape: ArrayShape, noise: StepNoise | None = None
) -> Tensor:
    """One step of every unit.

    index: (batch, 1, units) pre-activations. noise: injected into what the table gave. Returns h as
    a DAC code, (batch, units).
    """
    h = look_up(program.gate_tables, index, shape.index_range)
    if noise is not None:
        h = noise.add_rounded(h, 1)
    return feed_back(h[:, 0], shape.description)
