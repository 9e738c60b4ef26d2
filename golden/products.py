"""Ways to compute the products of golden/fast.py, of which the fastest exact one is chosen."""

from typing import Literal

from torch import Tensor

from golden import adc, kernel_inputs, native, noise
from golden.geometry import ArrayShape
from golden.injection import Injected
from golden.parameters import ADC_NOISE_BITS, OFFSET_BITS
from golden.program import LayerProgram

EXACT = 2**24
"""float32 holds every integer up to this one."""


FEW = 2**17
"""Most cells of an array for which bytes in lanes are faster than the matrix unit, which is called
for each step."""

Products = Literal[
    "bytes", "lanes", "lanes-pairs", "lanes-avx2", "lanes-avx2-pairs", "float32", "float64"
]
"""How the products of a step are computed.

- "bytes": On the CPU's matrix unit.
- "lanes": All steps in one kernel (golden/lanes.cpp), in bytes if the cells fit, else in int16.
- "lanes-pairs": The same in int16, in any case.
- "lanes-avx2", "lanes-avx2-pairs": The same on a CPU with AVX2 and no more.
- "float32", "float64": By PyTorch.
"""

LANES = {
    **{"lanes": "run_lanes", "lanes-pairs": "run_lanes"},
    **{"lanes-avx2": "run_lanes_avx2", "lanes-avx2-pairs": "run_lanes_avx2"},
}
"""Kernels of all steps."""


def fit_lanes(shape: ArrayShape) -> bool:
    """Whether the kernel `run_lanes` can run a layer here, apart from its largest values."""
    return native.has_lanes() and kernel_inputs.fit_lanes(shape)


def choose(
    program: LayerProgram,
    shape: ArrayShape,
    products: Products | None,
    learns: bool,
    injected: Injected | None = None,
    gain: Tensor | None = None,
) -> tuple[Products, str]:
    """Number formats of a run: that of the products, and that of the values computed from charges.

    products: Format of the products; None for the fastest exact one.
    gain: `golden.adc.lane_gain(program, shape)`, if it is known.

    Returns the products' format, and "i32" if no value exceeds 32 bits, else "i64".
    """
    description = shape.description
    largest = noise.largest()
    read = largest * int(program.read_noise.max())
    charge = shape.charge_max + (read >> noise.READ_NOISE_SHIFT) + 1
    error = (largest << ADC_NOISE_BITS) + (noise.UNIT << OFFSET_BITS)
    error <<= max(0, shape.adc_shift - noise.LSB_SHIFT)
    most = int((adc.lane_gain(program, shape) if gain is None else gain).max())
    converted = charge * most + error + (1 << shape.adc_shift)
    # Injected noise may increase a vector by a factor of `growth`.
    of_cell = description.cell.largest(1 if injected is None else injected.growth)
    narrow = max(2 * read, converted, of_cell) < 2**31
    if products is None:
        lanes = not learns and narrow and fit_lanes(shape)
        few = lanes and shape.rows * shape.gates * shape.units <= FEW
        tiles = native.has_tiles() and description.device.conductance_bits <= 8 and not learns
        if tiles and not (few and kernel_inputs.byte_parameters(program, shape)):
            products = "bytes"
        elif lanes:
            products = "lanes"
        else:
            products = "float32" if charge < EXACT else "float64"
    return products, "i32" if narrow and products != "float64" else "i64"
