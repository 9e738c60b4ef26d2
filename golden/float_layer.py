"""A recurrent layer in float32 with injected noise: what `torch.nn.LSTM` and `torch.nn.RNN`
compute, plus noise.

On a CPU with g++ a step is one product and one compiled pass (golden/float_kernels.cpp), forward
and backward; elsewhere the same in PyTorch, which is to be read. Both are float arithmetic: they
agree but for rounding.
"""

from typing import Any

import torch
from torch import Tensor

from golden import native
from golden.injection import Injected, Injection


def run(
    x: Tensor,
    weight: Tensor,
    recurrent: Tensor,
    bias: Tensor,
    gates: int,
    injection: Injection,
    *,
    readable: bool = False,
) -> Tensor:
    """h of all steps, (batch, steps, units), from h = c = 0.

    x: (batch, steps, inputs). weight: (gates * units, inputs), recurrent: (gates * units, units),
    bias: (gates * units,), gates in PyTorch's order: 4 are an LSTM, 1 is an RNN. readable: take
    PyTorch's path even where the compiled one could run.
    """
    batch, steps, _ = x.shape
    units = recurrent.shape[1]
    injected = injection.draw(batch, steps, gates, units, x.device)
    # (steps, batch, ...) from here on: a step's numbers lie together.
    z = x.transpose(0, 1) @ weight.T + bias
    if readable or x.device.type != "cpu" or native.library() is None:
        h = _readable(z, recurrent, gates, injected)
    else:
        h = _Run.apply(z, recurrent, gates, injected)
    return h.transpose(0, 1)


def _readable(z: Tensor, recurrent: Tensor, gates: int, injected: Injected) -> Tensor:
    """z: (steps, batch, gates * units), the inputs' part of the pre-activations."""
    h = z.new_zeros(z.shape[1], recurrent.shape[1])
    c = h[:, None]
    states = []
    for t in range(len(z)):
        noise = injected.at(t)
        a = noise.add((z[t] + h @ recurrent.T).unflatten(1, (gates, -1)), 0)
        if gates == 1:
            h = noise.add(a.tanh(), 1)[:, 0]
        else:
            a = torch.cat([a[:, :2].sigmoid(), a[:, 2:3].tanh(), a[:, 3:].sigmoid()], 1)
            i, f, g, o = noise.add(a, 4).split(1, 1)
            c = noise.add(f * c + i * g, 8)
            h = noise.add(o * c.tanh(), 9)[:, 0]
        states.append(h)
    return torch.stack(states)


class _Run(torch.autograd.Function):
    """The compiled path, with gradients to z and the recurrent weights."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, recurrent: Tensor, gates: int, injected: Injected) -> Tensor:
        steps, batch, columns = z.shape
        units = columns // gates
        tensors = {
            "normal": injected.normal,
            "z": z.detach().clone(memory_format=torch.contiguous_format),
            "h": z.new_empty(steps, batch, units),
            "state": z.new_zeros(steps + 1, batch, units),
            "scratch": z.new_empty(12 * columns),
        }
        if gates == 4:
            tensors |= {"a": z.new_empty(z.shape), "c": z.new_empty(steps, batch, units)}
        step = _kernel("float_step", tensors, injected)
        to_z = recurrent.detach().T.contiguous()
        for t in range(steps):
            if t:
                tensors["z"][t].addmm_(tensors["state"][t], to_z)
            step(t)
        ctx.tensors, ctx.recurrent, ctx.injected = tensors, recurrent.detach(), injected
        return tensors["state"][1:].clone()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        tensors, ctx.tensors = ctx.tensors, None
        if tensors is None:
            raise RuntimeError("a layer's gradients can be had once: they take the values' place")
        steps, batch, units = tensors["h"].shape
        tensors |= {
            "grad_h": grads[0].transpose(0, 1).contiguous(),
            "grad_recurrent": torch.zeros(batch, units),
            "grad_c": torch.zeros(batch, units),
        }
        step_back = _kernel("float_step_back", tensors, ctx.injected)
        for t in reversed(range(steps)):
            step_back(t)
            if t:
                torch.mm(tensors["z"][t], ctx.recurrent, out=tensors["grad_recurrent"])
        grad_z = tensors["z"]
        grad = grad_z[1:].flatten(0, 1).T @ tensors["state"][1:-1].flatten(0, 1)
        return grad_z, grad, None, None


def _kernel(name: str, tensors: dict[str, Tensor], injected: Injected) -> Any:
    """A compiled function, called with the step, on tensors that the caller keeps alive."""
    steps, batch, units = tensors["h"].shape
    gates = tensors["z"].shape[2] // units
    pointers = {key: t.data_ptr() for key, t in tensors.items()}
    layer = native.FloatLayer(
        **{"batch": batch, "steps": steps, "gates": gates, "units": units, "lstm": gates == 4},
        vectors=injected.normal.shape[2],
        power_ratio=injected.power_ratio,
        **pointers,
    )
    function = getattr(native.library(), name)
    return lambda t: function(layer, t)
