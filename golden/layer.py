"""A recurrent layer: the cell in a loop through its crossbar (docs/contract.md, 8)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from golden import adc, fast, gates
from golden.geometry import ArrayShape
from golden.injection import Injected, Injection
from golden.program import LayerProgram


@dataclass(frozen=True)
class LayerTrace:
    """What a layer computed: h (batch, steps, units) as DAC codes and, where a trace was asked for,
    codes (batch, steps, gates, units), and c, if the cell has it, as h, before its injected noise.
    Integers of any width that holds them, or floats of them."""

    h: Tensor
    codes: Tensor | None = None
    c: Tensor | None = None

    def quantities(self) -> dict[str, Tensor]:
        """What there is, by name, in the order in which it is computed."""
        named = {"codes": self.codes, "c": self.c, "h": self.h}
        return {name: values for name, values in named.items() if values is not None}


def run(
    program: LayerProgram,
    x: Tensor,
    shape: ArrayShape,
    runs: Tensor,
    injection: Injection | None = None,
    *,
    trace: bool = True,
    readable: bool = False,
) -> LayerTrace:
    """All steps of a batch of sequences, from c = 0 and h = the DAC's code of 0.

    x: (batch, steps, inputs) DAC codes, of any dtype. runs: (batch,)
    numbers of the passes, which the macro's noise depends on. injection: noise beyond that, which
    no hardware has; drawn from PyTorch's generator, all steps at once.
    trace: keep ADC codes and c. readable: take this module's own path even where the fast one
    (golden/fast.py), which computes the same numbers, could run.
    """
    batch, steps, _ = x.shape
    injected = None
    if injection is not None:
        injected = injection.draw(batch, steps, shape.description.cell, shape.units, x.device)
    if readable or not fast.usable(x, shape) or not fast.measurable(shape, injection):
        return _readable(program, x, shape, runs, injected)
    ran = fast.run(program, x, shape, runs, injected, trace=trace)
    return LayerTrace(ran.h, ran.codes, ran.c)


def _readable(
    program: LayerProgram,
    x: Tensor,
    shape: ArrayShape,
    runs: Tensor,
    injected: Injected | None,
) -> LayerTrace:
    cell, (batch, steps, _) = shape.description.cell, x.shape
    x = x.to(program.bias.dtype)
    h = torch.full_like(x[:, 0, :1], shape.description.dac.zero).expand(batch, shape.units)
    c = torch.zeros_like(h)
    trace: dict[str, list[Tensor]] = {"codes": [], "c": [], "h": []}
    for t in range(steps):
        codes = adc.codes(torch.cat([x[:, t], h], dim=1), program, shape, runs, t)
        noise = None if injected is None else injected.at(t)
        index = gates.pre_activation(codes, program.bias, shape, noise)
        c, h, quiet_c = cell.step(index, c, program, shape, noise)
        if cell.state_range is not None:
            trace["c"].append(quiet_c)
        trace["codes"].append(codes)
        trace["h"].append(h)
    return LayerTrace(**{name: torch.stack(v, dim=1) for name, v in trace.items() if v})
