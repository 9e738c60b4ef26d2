"""The fast path of a recurrent layer: golden/layer.py's numbers at the speed of a float LSTM's.

Products run in float32, which holds every integer up to 2^24, or in float64 where a charge may be
larger; all else is one compiled pass a step (golden/kernels.cpp). Gradients are those of the readable
path, written out; in float32 they differ from it by rounding alone. Tests hold both equal.
"""

import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from golden import adc, native, noise
from golden.description import ADC_NOISE_BITS, OFFSET_BITS, ArrayShape, LstmCell
from golden.program import LayerProgram, LstmProgram

EXACT = 2**24
"""float32 holds every integer up to this."""


@dataclass(frozen=True)
class Ran:
    """What a layer computed: codes (batch, steps, gates, units) int16; h (batch, steps, units) DAC
    codes, float; an LSTM's c (batch, steps, units) int32."""

    codes: Tensor
    h: Tensor
    c: Tensor | None


def usable(x: Tensor) -> bool:
    """Whether this path can run: on a CPU with kernels, on which float32 means float32."""
    return (
        x.device.type == "cpu"
        and torch.get_float32_matmul_precision() == "highest"
        and native.library() is not None
    )


def run(
    program: LayerProgram,
    x: Tensor,
    shape: ArrayShape,
    runs: Tensor,
    normal: Tensor | None = None,
    power_ratio: float = 0.0,
    precise: bool = False,
) -> Ran:
    """All steps of a batch of sequences; see `golden.layer.run`.

    normal: (steps, batch, gates, units) float32, for noise of `power_ratio` times the signal's
    power on every pre-activation. precise: compute in float64, gradients too.
    """
    gain = adc.lane_gain(program, shape)
    job = _Job(program, shape, runs, normal, power_ratio, _kinds(gain, program, shape, precise))
    differential = (program.positive - program.negative).flatten(0, 1)
    training = torch.is_grad_enabled() and (differential.requires_grad or x.requires_grad)
    arguments = (x, differential, gain, program.bias, program.gate_tables)
    if training:
        h, codes, c = _Run.apply(job, True, *arguments)
    else:
        h, codes, c = _forward(job, False, *arguments)[:3]
    return Ran(codes, h, c if isinstance(program, LstmProgram) else None)


def _kinds(gain: Tensor, program: LayerProgram, shape: ArrayShape, precise: bool) -> str:
    """The narrowest types that no value leaves: of products, and of what comes of them."""
    cell = shape.description.cell
    largest = noise.largest()
    read = largest * int(program.read_noise)
    charge = shape.charge_max + (read >> noise.READ_NOISE_SHIFT) + 1
    error = (largest << ADC_NOISE_BITS) + (noise.UNIT << OFFSET_BITS)
    error <<= max(0, shape.adc_shift - noise.LSB_SHIFT)
    converted = charge * int(gain.max()) + error + (1 << shape.adc_shift)
    state = 0
    if isinstance(cell, LstmCell):
        state = 2 ** (cell.gate_bits + cell.state_bits) + 2 ** (2 * cell.gate_bits + 1)
    if precise or charge >= EXACT:
        return "f64_i64"
    return "f32_i32" if max(2 * read, converted, state) < 2**31 else "f32_i64"


@dataclass(frozen=True)
class _Job:
    """What a run is about, apart from what has gradients. power_ratio: see `run`."""

    program: LayerProgram
    shape: ArrayShape
    runs: Tensor
    normal: Tensor | None
    power_ratio: float
    kinds: str

    @property
    def real(self) -> torch.dtype:
        """The type of products."""
        return torch.float32 if self.kinds.startswith("f32") else torch.float64

    def kernel(self, name: str, layer: native.Layer) -> Callable[[int], None]:
        """A compiled function on a layer, called with the step."""
        function = getattr(native.library(), f"{name}_{self.kinds}")
        address = ctypes.addressof(layer)
        return lambda t: function(address, t)

    def layer(self, batch: int, tensors: dict[str, Tensor]) -> native.Layer:
        """The kernels' view of the layer, its tensors by name.

        The caller keeps the tensors alive.
        """
        program, description = self.program, self.shape.description
        cell, index = description.cell, description.index_range
        key_0, key_1 = program.key.tolist()
        fields: dict[str, Any] = {
            "batch": batch,
            "gates": self.shape.gates,
            "units": self.shape.units,
            "entries": 2**description.index_bits,
            "adc_shift": self.shape.adc_shift,
            "adc_low": description.adc.range.low,
            "adc_high": description.adc.range.high,
            "frac": cell.frac,
            "index_low": index.low,
            "index_high": index.high,
            "hidden_shift": description.hidden_shift,
            "dac_low": description.dac.range.low,
            "dac_high": description.dac.range.high,
            "bipolar": description.dac.bits == 1,
            "lstm": isinstance(cell, LstmCell),
            "noisy": bool(program.read_noise) or bool(program.adc_noise),
            "key_0": int(key_0),
            "key_1": int(key_1),
            "read_noise": int(program.read_noise),
            "adc_noise": int(program.adc_noise),
            "error_shift": noise.LSB_SHIFT - self.shape.adc_shift,
            "power_ratio": self.power_ratio,
        }
        if isinstance(cell, LstmCell):
            fields |= {
                "gate_bits": cell.gate_bits,
                "state_low": cell.state_range.low,
                "state_high": cell.state_range.high,
                "state_index_shift": cell.state_index_shift,
                "state_index_low": cell.state_index_range.low,
                "state_index_high": cell.state_index_range.high,
            }
        return native.Layer(**fields, **{name: t.data_ptr() for name, t in tensors.items()})


def _forward(
    job: _Job, training: bool, x: Tensor, differential: Tensor, *loaded: Tensor
) -> tuple[Tensor, Tensor, Tensor, dict[str, Tensor]]:
    """h, codes and c, sequences first, and every tensor that the kernels saw, steps first."""
    shape, real = job.shape, job.real
    batch, steps, inputs = x.shape
    gates, units = shape.gates, shape.units
    x_first = x.detach().transpose(0, 1).to(real).reshape(steps * batch, inputs)
    weight = differential.detach().to(real)
    from_h = weight[:, inputs:].T.contiguous()
    tensors = _loaded(job, *loaded) | {
        # The inputs' share of the charge of all steps; each step adds h's.
        "charge": (x_first @ weight[:, :inputs].T).view(steps, batch, gates * units),
        "codes": torch.empty(steps, batch, gates, units, dtype=torch.int16),
        "c": torch.empty(steps + 1, batch, units, dtype=torch.int32),
        "h": torch.empty(steps + 1, batch, units, dtype=real),
    }
    if training:
        tensors["inside"] = torch.empty(steps, batch, gates, units, dtype=torch.uint8)
    tensors["c"][0] = 0
    tensors["h"][0] = shape.description.dac.zero
    layer = job.layer(batch, tensors)
    step = job.kernel("step", layer)
    charges, states = tensors["charge"].unbind(0), tensors["h"].unbind(0)
    for t in range(steps):
        charges[t].addmm_(states[t], from_h)
        step(t)
    tensors |= {"x": x_first, "weight": weight}
    after = (tensors["h"][1:], tensors["codes"], tensors["c"][1:])
    h, codes, c = (value.transpose(0, 1) for value in after)
    return h, codes, c, tensors


def _loaded(job: _Job, gain: Tensor, bias: Tensor, gate_tables: Tensor) -> dict[str, Tensor]:
    """What a step reads, in the kernels' types."""
    program, shape = job.program, job.shape
    lanes = adc.lane(shape)
    words = {
        "offset": (noise.UNIT * program.offset[lanes]).expand(shape.gates, -1),
        "gain": gain.expand(-1, shape.units),
        "bias": bias,
        "gate_tables": gate_tables,
    }
    if isinstance(program, LstmProgram):
        words["tanh_table"] = program.tanh_table
    tensors = {name: t.detach().to(torch.int32).contiguous() for name, t in words.items()}
    tensors["runs"] = (job.runs.long() % noise.WORD).to(torch.uint32)
    tensors["magnitudes"] = torch.tensor(noise.magnitudes(), dtype=torch.uint8)
    tensors["scratch"] = torch.empty(8 * shape.gates * shape.units, dtype=torch.int32)
    if job.normal is not None:
        tensors["normal"] = job.normal
    return tensors


class _Run(torch.autograd.Function):
    """The layer with gradients to its inputs, cells, gains, biases and tables."""

    @staticmethod
    def forward(ctx: Any, job: _Job, training: bool, *arguments: Tensor) -> tuple[Tensor, ...]:
        h, codes, c, ctx.tensors = _forward(job, training, *arguments)
        ctx.job, ctx.likes = job, [(a.dtype, a.shape) for a in arguments]
        ctx.mark_non_differentiable(codes, c)
        return h, codes, c

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        job, tensors = ctx.job, ctx.tensors
        if tensors is None:
            raise RuntimeError("the gradients of a layer can be had once: they take the charge's place")
        ctx.tensors = None
        shape, real = job.shape, job.real
        grad_h = grads[0].transpose(0, 1).to(real).contiguous()
        steps, batch, units = grad_h.shape
        inputs = tensors["x"].shape[1]
        sums = {
            "grad_gain": torch.zeros(shape.gates, units, dtype=torch.float64),
            "grad_bias": torch.zeros(shape.gates, units, dtype=torch.float64),
            "grad_tables": torch.zeros(tensors["gate_tables"].shape, dtype=torch.float64),
        }
        tensors |= sums | {
            "grad_h": grad_h,
            "grad_recurrent": torch.zeros(batch, units, dtype=real),
            "grad_c": torch.zeros(batch, units, dtype=real),
            "slopes": slopes(tensors["gate_tables"]).to(real),
        }
        if "tanh_table" in tensors:
            tensors["tanh_slopes"] = slopes(tensors["tanh_table"]).to(real)
        layer = job.layer(batch, {name: t for name, t in tensors.items() if name not in ("x", "weight")})
        step_back = job.kernel("step_back", layer)
        to_h = tensors["weight"][:, inputs:].contiguous()
        charges = tensors["charge"].unbind(0)
        for t in reversed(range(steps)):
            step_back(t)
            torch.mm(charges[t], to_h, out=tensors["grad_recurrent"])
        grad_charge = tensors["charge"].flatten(0, 1)
        before = tensors["h"][:-1].flatten(0, 1)
        grad_weight = torch.cat([grad_charge.T @ tensors["x"], grad_charge.T @ before], dim=1)
        grad_x = None
        if ctx.needs_input_grad[2]:
            grad_x = (grad_charge @ tensors["weight"][:, :inputs]).view(steps, batch, inputs)
            grad_x = grad_x.transpose(0, 1)
        results = (grad_x, grad_weight, sums["grad_gain"], sums["grad_bias"], sums["grad_tables"])
        return None, None, *(
            None if g is None else g.to(dtype).sum_to_size(size)
            for g, (dtype, size) in zip(results, ctx.likes, strict=True)
        )


def slopes(tables: Tensor) -> Tensor:
    """Central differences along a table: the gradient to its index."""
    padded = torch.cat([tables[..., :1], tables, tables[..., -1:]], dim=-1)
    return (padded[..., 2:] - padded[..., :-2]).double() / 2
