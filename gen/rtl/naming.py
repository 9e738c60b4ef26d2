"""Module names in emitted Verilog."""

from golden.description import Description
from golden.geometry import ArrayShape


def module_name(description: Description) -> str:
    """Name of the top module. The prefix avoids Verilog keywords."""
    return f"wordline_{description.name.replace('-', '_')}"


def macro_name(shape: ArrayShape) -> str:
    """Name of the macro module of an array's crossbars. Arrays of the same shape share a macro."""
    shape = shape.macro
    top, size = module_name(shape.description), f"{shape.rows}r_{shape.selects}s_{shape.lanes}l"
    return f"{top}_crossbar_{size}_{shape.gates}g"


def macros(description: Description) -> dict[str, ArrayShape]:
    """All macro modules by name, each with the shape of one crossbar."""
    return {macro_name(shape): shape.macro for shape in description.arrays.values()}
