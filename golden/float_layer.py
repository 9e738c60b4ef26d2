"""Recurrent layer in float32 with injected noise: `torch.nn.LSTM`, `torch.nn.RNN` or another cell.

On a CPU with g++, for a cell with a kernel, each step is one product and one compiled pass
(golden/float_kernels.cpp), forward and backward. Otherwise the readable PyTorch path computes the
same. Both use floating point and agree up to rounding.
"""

from typing import Any

import torch
from torch import Tensor, nn

from golden import native
from golden.cells.cell import Cell
from golden.injection import Injected, Injection


def run(
    x: Tensor,
    weight: Tensor,
    recurrent: Tensor,
    bias: Tensor,
    cell: Cell,
    injection: Injection,
    *,
    readable: bool = False,
) -> Tensor:
    """h of all steps, shape (batch, steps, units), from h = c = 0.

    x: Inputs, shape (batch, steps, inputs).
    weight: Input weights, shape (gates * units, inputs), with gates in the cell's order.
    recurrent: Recurrent weights, shape (gates * units, units).
    bias: Biases, shape (gates * units,).
    readable: Use the PyTorch path even if the compiled one could run.
    """
    batch, steps, _ = x.shape
    units = recurrent.shape[1]
    injected = injection.draw(batch, steps, cell, units, x.device)
    x = injection.on_inputs(x)
    # From here on (steps, batch, ...), so that the numbers of a step are contiguous.
    z = x.transpose(0, 1) @ weight.T + bias
    compiled = cell.kernel is not None and injection.power == "layer" and x.device.type == "cpu"
    compiled = compiled and z.dtype == recurrent.dtype == torch.float32
    if readable or not compiled or native.library() is None:
        h, _ = _readable(z, recurrent, cell, injected)
    else:
        h = _Run.apply(z, recurrent, cell, injected)
    return h.transpose(0, 1)


def _readable(
    z: Tensor, recurrent: Tensor, cell: Cell, injected: Injected | None
) -> tuple[Tensor, Tensor]:
    """h of all steps, and the last c.

    z: Pre-activations from the inputs alone, shape (steps, batch, gates * units).
    """
    c = fed = z.new_zeros(z.shape[1], recurrent.shape[1])
    states = []
    for t in range(len(z)):
        a = (z[t] + fed @ recurrent.T).unflatten(1, (len(cell.gates), -1))
        noise = None if injected is None else injected.at(t)
        if noise is not None:
            a = noise.add(a, 0)
        c, h = cell.float_step(a, c, noise)
        states.append(h)
        fed = h if injected is None else injected.fed_back(h, t)
    return torch.stack(states), c


class Recurrent(nn.Module):
    """Layer of a cell that PyTorch does not have.

    It has the parameters and the call of `torch.nn.LSTM` with batch_first; its initial weights have
    the same distribution.
    """

    def __init__(self, cell: Cell, inputs: int, units: int) -> None:
        super().__init__()
        self.cell, self.input_size, self.hidden_size = cell, inputs, units
        rows, edge = len(cell.gates) * units, units**-0.5

        def weights(*size: int) -> nn.Parameter:
            return nn.Parameter(torch.empty(size).uniform_(-edge, edge))

        self.weight_ih_l0, self.weight_hh_l0 = weights(rows, inputs), weights(rows, units)
        self.bias_ih_l0, self.bias_hh_l0 = weights(rows), weights(rows)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """h (batch, steps, units) from h = c = 0, and the last c (batch, units)."""
        z = x.transpose(0, 1) @ self.weight_ih_l0.T + self.bias_ih_l0 + self.bias_hh_l0
        h, c = _readable(z, self.weight_hh_l0, self.cell, None)
        return h.transpose(0, 1), c


class _Run(torch.autograd.Function):
    """The compiled path, with gradients to z and to the recurrent weights."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, recurrent: Tensor, cell: Cell, injected: Injected) -> Tensor:
        steps, batch, columns = z.shape
        units = columns // len(cell.gates)
        tensors = {
            "normal": injected.normal,
            "z": z.detach().clone(memory_format=torch.contiguous_format),
            "h": z.new_empty(steps, batch, units),
            "state": z.new_zeros(steps + 1, batch, units),
            "scratch": z.new_empty(12 * columns),
        }
        if cell.kernel == "lstm":
            tensors |= {"a": z.new_empty(z.shape), "c": z.new_empty(steps, batch, units)}
        step = _kernel("float_step", tensors, cell, injected)
        to_z = recurrent.detach().T.contiguous()
        for t in range(steps):
            if t:
                tensors["z"][t].addmm_(tensors["state"][t], to_z)
            step(t)
        ctx.tensors, ctx.recurrent = tensors, recurrent.detach()
        ctx.cell, ctx.injected = cell, injected
        return (tensors["h"] if injected.feeds else tensors["state"][1:]).clone()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        with torch.autocast("cpu", enabled=False):
            return _Run._gradients(ctx, grads[0])

    @staticmethod
    def _gradients(ctx: Any, grad_h: Tensor) -> tuple[Tensor | None, ...]:
        tensors, ctx.tensors = ctx.tensors, None
        if tensors is None:
            raise RuntimeError(native.ONCE)
        steps = len(tensors["h"])
        tensors |= {
            "grad_h": grad_h.transpose(0, 1).contiguous(),
            "grad_recurrent": torch.zeros_like(tensors["h"][0]),
            "grad_c": torch.zeros_like(tensors["h"][0]),
        }
        step_back = _kernel("float_step_back", tensors, ctx.cell, ctx.injected)
        for t in reversed(range(steps)):
            step_back(t)
            if t:
                torch.mm(tensors["z"][t], ctx.recurrent, out=tensors["grad_recurrent"])
        grad_z = tensors["z"]
        grad = grad_z[1:].flatten(0, 1).T @ tensors["state"][1:-1].flatten(0, 1)
        return grad_z, grad, None, None


def _kernel(name: str, tensors: dict[str, Tensor], cell: Cell, injected: Injected) -> Any:
    """Compiled function of the step number, on tensors that the caller must keep alive."""
    steps, batch, units = tensors["h"].shape
    sizes = {"batch": batch, "steps": steps, "gates": len(cell.gates), "units": units}
    pointers = {key: t.data_ptr() for key, t in tensors.items()}
    layer = native.FloatLayer(
        **sizes,
        lstm=cell.kernel == "lstm",
        relu=cell.gate_functions == ("relu",),
        vectors=injected.normal.shape[2],
        inside=injected.inside,
        power_ratio=injected.power_ratio,
        **pointers,
    )
    function = getattr(native.library(), name)
    return lambda t: function(layer, t)
