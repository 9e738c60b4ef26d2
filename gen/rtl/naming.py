"""Names of modules in emitted Verilog."""

from golden.description import Description
from golden.geometry import ArrayShape


def module_name(description: Description) -> str:
    """Name of the top module; the prefix keeps it off Verilog's keywords."""
    return f"wordline_{description.name.replace('-', '_')}"


def macro_name(shape: ArrayShape) -> str:
    """Name of the macro module of an array's crossbars; those that are alike share it."""
    shape = shape.macro
    top, size = module_name(shape.description), f"{shape.rows}r_{shape.selects}s_{shape.lanes}l"
    return f"{top}_crossbar_{size}_{shape.gates}g"


def macros(description: Description) -> dict[str, ArrayShape]:
    """Every macro module by its name, as the shape of one crossbar."""
    return {macro_name(shape): shape.macro for shape in description.arrays.values()}
