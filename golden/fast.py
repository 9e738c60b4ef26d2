"""Fast path of a recurrent layer: the numbers of golden/layer.py at the speed of a float LSTM.

Inference runs with sequences in the lanes of the CPU's vectors (golden/lanes.cpp), or with products
as bytes on the CPU's matrix unit, whichever is faster (golden/products.py). Training, and inference
on a CPU without AVX2, takes products in float32, which holds every integer up to 2^24, or in
float64 if charges may be larger; the rest of a step is one compiled pass (golden/kernels.cpp). The
backward pass is written by hand (golden/gradients.cpp). Its gradients are those of the readable
path; in float32 they differ by rounding alone. Tests compare both paths.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from golden import adc, kernel_inputs, native, noise
from golden.fixed import slopes
from golden.geometry import ArrayShape
from golden.injection import Injected, Injection
from golden.kept import kept
from golden.products import LANES, Products, choose, fit_lanes
from golden.program import LayerProgram


@dataclass(frozen=True)
class Ran:
    """Values that a layer computed.

    h: DAC codes, shape (batch, steps, units): int16, or floating with gradients.
    codes: ADC codes, int32, shape (batch, steps, gates, units); None without a trace.
    c: State, int32, shape (batch, steps, units); None without a trace or without c.
    """

    h: Tensor
    codes: Tensor | None
    c: Tensor | None


def usable(x: Tensor, shape: ArrayShape) -> bool:
    """Whether this path can run.

    It needs a cell with a kernel, a CPU with compiled kernels, and float32 products in full
    precision.
    """
    return (
        shape.description.cell.kernel is not None
        and x.device.type == "cpu"
        and _in_full_precision()
        and native.library() is not None
    )


def _in_full_precision() -> bool:
    try:
        return torch.get_float32_matmul_precision() == "highest"
    except RuntimeError:  # set by PyTorch's newer interface
        return False


def learns_tables(program: LayerProgram) -> bool:
    """Whether numbers have gradients that this path does not compute: those but `run`'s `given`."""
    others = (*program.tables.values(), program.offset, program.gain_error, program.read_noise)
    return torch.is_grad_enabled() and any(t.requires_grad for t in others)


def measurable(shape: ArrayShape, injection: Injection | None) -> bool:
    """Whether mean squares for injected noise are exact in any order of summation (below 2^53)."""
    if injection is None:
        return True
    cell, grows = shape.description.cell, injection.growth
    largest = 2 * 2**shape.index_bits
    if injection.placement == "every":
        product = grows * 2 ** (cell.product_shift + cell.hidden_bits)
        state = 0 if cell.state_range is None else 2**cell.state_range.bits
        largest = max(largest, product, state)
    return shape.units * largest**2 < 2**53


def run(
    program: LayerProgram,
    x: Tensor,
    shape: ArrayShape,
    runs: Tensor,
    injected: Injected | None = None,
    *,
    trace: bool = True,
    products: Products | None = None,
) -> Ran:
    """Run all steps of a batch of sequences; see `golden.layer.run`.

    products: Number format of the products. Default: the fastest exact one.
    """
    if shape.description.cell.kernel is None:
        raise ValueError(f"the cell {shape.description.cell.kind!r} has no kernel; see `usable`")
    if x.shape[2] != shape.inputs or not x.shape[1] or len(runs) != len(x):
        raise ValueError(f"x {tuple(x.shape)} and runs {tuple(runs.shape)} do not fit the layer")
    cells, words = (program.positive, program.negative), (program.gain, program.bias)
    given = (x, *cells, *words, program.gate_tables)
    learns = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in given)
    made = (
        _make(program, shape, products, learns, injected)
        if learns or injected is not None
        else kept(program, shape, products, lambda: _make(program, shape, products, learns=False))
    )
    job = _Job(shape, runs, injected, trace or learns, made)
    if learns:
        differential = (program.positive - program.negative).flatten(0, 1)
        gain = adc.lane_gain(program, shape)
        h, codes, c = _Run.apply(job, x, differential, gain, program.bias, program.gate_tables)
    else:
        tensors = _forward(job, x, training=False)
        h, codes, c = tensors["h"], tensors["codes"], tensors["c"]
    has_c = shape.description.cell.state_range is not None
    return Ran(h, codes if trace else None, c if trace and has_c else None)


@dataclass(frozen=True)
class _Made:
    """What a run needs of a program.

    lanes: Whether the kernel of all steps runs.
    numbers, constants: Arguments of the kernels.
    """

    kinds: tuple[Products, str]
    lanes: bool
    numbers: dict[str, Tensor]
    constants: dict[str, int]


def _make(
    program: LayerProgram,
    shape: ArrayShape,
    products: Products | None,
    learns: bool,
    injected: Injected | None = None,
) -> _Made:
    gain, noise_on = adc.lane_gain(program, shape), kernel_inputs.noisy(program)
    kinds = choose(program, shape, products, learns, injected, gain)
    in_training = learns and kinds == ("float32", "i32") and fit_lanes(shape)
    lanes = kinds[0] in LANES or in_training
    numbers = kernel_inputs.numbers(program, shape, gain, noise_on)
    constants = kernel_inputs.constants(program, shape, noise_on)
    differential = kernel_inputs.differential(program)
    if lanes:
        cells, more = kernel_inputs.cells(differential, shape, not kinds[0].endswith("pairs"))
        numbers, constants = numbers | cells, constants | more
    elif kinds[0] == "bytes":
        numbers |= kernel_inputs.blocks(program, shape)
    if kinds[0] in REALS:
        numbers["weight"] = differential.flatten(0, 1).to(REALS[kinds[0]])
    return _Made(kinds, lanes, numbers, constants)


REALS = {"float32": torch.float32, "float64": torch.float64}


@dataclass(frozen=True)
class _Job:
    """Arguments of a run, except those with gradients."""

    shape: ArrayShape
    runs: Tensor
    injected: Injected | None
    trace: bool
    made: _Made

    @property
    def kinds(self) -> tuple[Products, str]:
        """Number formats; see `golden.products.choose`."""
        return self.made.kinds

    @property
    def real(self) -> torch.dtype:
        """dtype of charges."""
        return REALS.get(self.kinds[0], torch.int32)

    def kernel(self, name: str, tensors: dict[str, Tensor]) -> Callable[[int], int | None]:
        """Compiled function of the step number, or, if it runs all steps, of the number of threads.

        The caller must keep the tensors alive.
        """
        if name not in ("multiply", *LANES.values()):
            short = {"bytes": "i32", "float32": "f32", "float64": "f64"}[self.kinds[0]]
            name = f"{name}_{short}_{self.kinds[1]}"
        function, layer = getattr(native.library(), name), self._layer(tensors)
        return lambda t: function(layer, t)

    def _strides(self, tensors: dict[str, Tensor]) -> dict[str, int]:
        """Strides of the kernels' buffers; 0 where all steps share one place."""
        codes, c = tensors["codes"], tensors["c"]
        strides = {
            "codes_sequence": codes.stride(0) if self.trace else 0,
            "codes_step": codes.stride(1) if self.trace else 0,
            "c_sequence": c.stride(0),
            "c_step": c.stride(1) if self.trace else 0,
        }
        if "rows" not in tensors:
            return strides
        rows, charge = tensors["rows"], tensors["charge"]
        tiled = self.kinds[0] == "bytes"
        return strides | {
            "rows_step": rows.stride(0) if len(rows) > 1 and not tiled else 0,
            "rows_plane": rows.stride(1),
            "rows_width": rows.stride(2),
            "rows_negative": rows.stride(0) if tiled else 0,
            "charge_step": charge.stride(0) if len(charge) > 1 else 0,
            "charge_tile": charge.stride(1),
            "charge_plane": charge.stride(2),
            "charge_width": charge.stride(3),
        }

    def _layer(self, tensors: dict[str, Tensor]) -> native.Layer:
        fields: dict[str, Any] = {
            **dict(zip(("batch", "steps", "inputs"), tensors["x"].shape, strict=True)),
            **self._strides(tensors),
            **self.made.constants,
        }
        if self.injected is not None:
            fields["vectors"] = self.injected.normal.shape[2]
            fields["in_cell"] = self.injected.inside
            fields["power_ratio"] = self.injected.power_ratio
        pointers = {name: tensors[name].data_ptr() for name in native.POINTERS if name in tensors}
        return native.Layer(**fields, **pointers)


def _forward(job: _Job, x: Tensor, training: bool) -> dict[str, Tensor]:
    """Run all steps.

    Returns every tensor of the kernels by its name there, and the weight.
    """
    tensors = job.made.numbers | _of_run(job) | _results(job, x, training)
    if job.made.lanes:
        if training:
            _memory(job, tensors, training)
        run_all = job.kernel(LANES.get(job.kinds[0], "run_lanes"), tensors)
        run_all(torch.get_num_threads())
        return tensors
    if job.kinds[0] == "bytes":
        _in_blocks(job, tensors)
    else:
        _steps(job, tensors, _floats(job, tensors, training))
    return tensors


def _steps(job: _Job, tensors: dict[str, Tensor], multiply: Callable[[int], object]) -> None:
    """Run all steps, each with its products before the rest."""
    begin, step = job.kernel("begin", tensors), job.kernel("step", tensors)
    begin(0)
    for t in range(tensors["x"].shape[1]):
        multiply(t)
        step(t)


BLOCK = 64
"""Sequences that go through all steps at once on the matrix unit: their numbers stay in the L2
cache."""

OF_SEQUENCES = ("x", "h", "runs", "normal", "codes", "c")
"""Tensors with a row per sequence."""


def _in_blocks(job: _Job, tensors: dict[str, Tensor]) -> None:
    """Run all steps with products on the matrix unit: blocks of sequences, on all threads."""
    # Without a trace, codes are room for a step.
    of_sequences = [name for name in OF_SEQUENCES if name in tensors]
    rooms = [] if job.trace else ["codes"]
    blocks = range(0, len(tensors["x"]), BLOCK)
    left, workers = iter(blocks), min(torch.get_num_threads(), len(blocks))

    def work(room: dict[str, Tensor]) -> None:
        for first in left:
            rows = {name: tensors[name][first : first + BLOCK] for name in of_sequences}
            own = tensors | rows | room
            _steps(job, own, job.kernel("multiply", own))

    room_of_each = [
        _bytes(job) | {name: torch.empty_like(tensors[name]) for name in ("scratch", *rooms)}
        for _ in range(workers)
    ]
    if workers <= 1:
        for room in room_of_each:
            work(room)
        return
    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(work, room_of_each))


def _results(job: _Job, x: Tensor, training: bool) -> dict[str, Tensor]:
    """The input as the kernels take it, and room for their results."""
    (batch, steps, _), gates, units = x.shape, job.shape.gates, job.shape.units
    kept, dac = (batch, steps) if job.trace else (1, 1), job.shape.description.dac.range
    codes = torch.empty(*kept, gates, units, dtype=torch.int32)
    c = torch.empty(batch, kept[1], units, dtype=torch.int32)
    if training:  # step by step, as gradients need them
        codes, c = (t.view(steps, batch, *t.shape[2:]).transpose(0, 1) for t in (codes, c))
    return {
        # Padding may have any value; the kernels' sums have room for codes.
        "x": x.detach().clamp(dac.low, dac.high).to(torch.int16).contiguous(),
        "codes": codes,
        "c": c,
        "h": torch.empty(batch, steps, units, dtype=torch.int16),
    }


def _floats(job: _Job, tensors: dict[str, Tensor], training: bool) -> Callable[[int], object]:
    """Products by PyTorch; training keeps the rows and the charge of every step."""
    _memory(job, tensors, training)
    places, tiles = len(tensors["charge"]), job.shape.row_slices
    columns = [tensors["weight"][:, tile].T.contiguous() for tile in tiles]
    rows = [of_step.flatten(0, 1) for of_step in tensors["rows"].unbind(0)]
    charges = tensors["charge"].flatten(2, 3)

    def multiply(t: int) -> None:
        for tile, cells, charge in zip(tiles, columns, charges[t % places], strict=True):
            torch.mm(rows[t % len(rows)][:, tile], cells, out=charge)

    return multiply


def _memory(job: _Job, tensors: dict[str, Tensor], training: bool) -> None:
    """Room for rows and charge: of all steps, if gradients need them."""
    shape, real, planes = job.shape, job.real, job.shape.description.dac.planes
    batch, steps, _ = tensors["x"].shape
    tiles, columns = len(shape.row_tiles), shape.gates * shape.units
    places = steps if training else 1
    tensors["tile_places"] = tensors["tile_rows"][:-1].clone()
    tensors["rows"] = torch.empty(places + training, planes, batch, shape.rows, dtype=real)
    tensors["charge"] = torch.empty(places, tiles, planes, batch, columns, dtype=real)
    if training:
        tensors["inside"] = torch.empty(steps, batch, planes, tiles, columns, dtype=torch.uint8)


def _bytes(job: _Job) -> dict[str, Tensor]:
    """Room for the kernel `multiply`, for a block; all sizes are padded to whole blocks of it."""
    depths, width = kernel_inputs.padded(job.shape)
    planes = job.shape.description.dac.planes
    return {
        "rows": torch.zeros(2, planes, BLOCK, sum(depths), dtype=torch.int8),
        "charge": torch.empty(1, len(depths), planes, BLOCK, width, dtype=torch.int32),
    }


def _of_run(job: _Job) -> dict[str, Tensor]:
    """Numbers of a run, and memory for it."""
    # Draws, pre-activations, and of an RNN's one gate h in float64 and in codes.
    scratch = torch.empty(5 * job.shape.gates * job.shape.units, dtype=torch.int32)
    runs = (job.runs.long() % noise.WORD).to(torch.uint32)
    tensors = {"runs": runs, "scratch": scratch}
    if job.injected is not None:
        tensors["normal"] = job.injected.normal
    return tensors


class _Run(torch.autograd.Function):
    """The layer with gradients to its inputs, cells, gains, biases and tables."""

    @staticmethod
    def forward(ctx: Any, job: _Job, *arguments: Tensor) -> tuple[Tensor, ...]:
        ctx.job, ctx.likes = job, [(a.dtype, a.shape) for a in arguments]
        ctx.set_materialize_grads(False)  # codes and c have none, and take megabytes
        ctx.tensors = _forward(job, arguments[0], training=True)
        codes, c = ctx.tensors["codes"], ctx.tensors["c"]
        ctx.mark_non_differentiable(codes, c)
        return ctx.tensors["h"].to(job.real), codes, c

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        with torch.autocast("cpu", enabled=False):
            return _Run._gradients(ctx, grads[0])

    @staticmethod
    def _gradients(ctx: Any, grad_h: Tensor | None) -> tuple[Tensor | None, ...]:
        job, tensors, ctx.tensors = ctx.job, ctx.tensors, None
        if tensors is None:
            raise RuntimeError(native.ONCE)
        if grad_h is None:
            return (None,) * (1 + len(ctx.likes))
        shape, real = job.shape, job.real
        batch, steps, inputs = tensors["x"].shape
        tables = tensors["gate_tables"]
        several = shape.description.dac.planes > 1
        weight, charges = tensors["weight"], tensors["charge"]
        if several:
            weight = weight / shape.description.dac.range.high
        tensors |= {
            "weight": weight.contiguous(),
            "grad_h": grad_h.to(real).contiguous(),
            "slopes": slopes(tables.double()).to(real),
            "grad_gain": torch.zeros_like(tensors["gain"], dtype=torch.float64),
            "grad_bias": torch.zeros(shape.gates, shape.units, dtype=torch.float64),
            "grad_tables": torch.zeros(tables.shape, dtype=torch.float64),
        }
        if "tanh_table" in tensors:
            tensors["tanh_slopes"] = slopes(tensors["tanh_table"].double()).to(real)
        if job.kernel("run_back", tensors)(torch.get_num_threads()):
            raise MemoryError("not enough memory for the gradients of a layer")
        tiles = shape.row_slices
        grad_x = None
        if ctx.needs_input_grad[1]:
            parts = []
            for n, tile in enumerate(tiles):
                if tile.start < inputs:
                    own = charges[:, n].sum(1) if several else charges[:, n, 0]
                    parts.append(own.flatten(0, 1) @ weight[:, tile.start : min(tile.stop, inputs)])
            grad_x = torch.cat(parts, 1).view(steps, batch, inputs).transpose(0, 1)
        rows = tensors["rows"][:-1].flatten(0, 2)
        grad_cells = [charges[:, n].flatten(0, 2).T @ rows[:, tile] for n, tile in enumerate(tiles)]
        results = (
            grad_x,
            torch.cat(grad_cells, 1),
            *(tensors[name] for name in ("grad_gain", "grad_bias", "grad_tables")),
        )
        return None, *(
            None if g is None else g.to(dtype).sum_to_size(size)
            for g, (dtype, size) in zip(results, ctx.likes, strict=True)
        )
