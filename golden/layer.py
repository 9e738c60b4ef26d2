"""Recurrent layer: the cell in a loop through its crossbar (docs/contract.md, 8)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from golden import adc, fast, gates
from golden.geometry import ArrayShape
from golden.injection import Injected, Injection
from golden.program import LayerProgram


@dataclass(frozen=True)
class LayerTrace:
    """Values that a layer computed: integers of any width, or floats that hold them.

    h: DAC codes, shape (batch, steps, units).
    codes: ADC codes, shape (batch, steps, gates, units); None without a trace.
    c: State before injected noise, shape (batch, steps, units); None without a trace or without c.
    """

    h: Tensor
    codes: Tensor | None = None
    c: Tensor | None = None

    def quantities(self) -> dict[str, Tensor]:
        """Values that exist, by name, in the order of their computation."""
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
    """Run all steps of a batch of sequences, from c = 0 and h = the DAC's code of 0.

    x: DAC codes of any dtype, shape (batch, steps, inputs).
    runs: Run numbers of the passes, shape (batch,), for the macro's noise.
    injection: Further noise, which no hardware has. It is drawn by `golden.normal`, all steps
        at once.
    trace: Keep ADC codes and c.
    readable: Use the readable path of this module. Default: the fast path (golden/fast.py) where it
        can run; it computes the same numbers.
    """
    batch, steps, _ = x.shape
    injected = None
    if injection is not None:
        injected = injection.draw(batch, steps, shape.description.cell, shape.units, x.device)
    # The fast path has no noise of each unit's own power, and does not train every number.
    other = injected is not None and injected.power != "layer"
    other = other or fast.learns_tables(program)
    if readable or other or not fast.usable(x, shape) or not fast.measurable(shape, injection):
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
    c, fed = torch.zeros_like(h), h
    trace: dict[str, list[Tensor]] = {"codes": [], "c": [], "h": []}
    for t in range(steps):
        codes = adc.codes(torch.cat([x[:, t], fed], dim=1), program, shape, runs, t)
        noise = None if injected is None else injected.at(t)
        index = gates.pre_activation(codes, program.bias, shape, noise)
        c, h, quiet_c = cell.step(index, c, program, shape, noise)
        fed = h if injected is None else injected.fed_back_codes(h, t, shape.description.dac)
        if cell.state_range is not None:
            trace["c"].append(quiet_c)
        trace["codes"].append(codes)
        trace["h"].append(h)
    return LayerTrace(**{name: torch.stack(v, dim=1) for name, v in trace.items() if v})
