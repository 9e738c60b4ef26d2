"""The description of the hardware that recurrent layers are for."""

import hashlib
import json
from typing import Any

import torch
from torch import Tensor, nn

from golden.description import Description
from golden.errors import WordlineError


def of_layers(
    kind: str,
    inputs: int,
    units: int,
    layers: int,
    hardware: Description | None,
    sections: dict[str, Any],
) -> Description:
    """Description of recurrent layers of these sizes on this hardware, of that kind of cell.

    hardware: Its sizes and kind of cell are replaced. None: defaults; every step is an output.
    sections: Fields to replace.

    Raises WordlineError if something does not fit.
    """
    if isinstance(layers, bool) or not isinstance(layers, int):
        raise WordlineError(f"num_layers = {layers!r} is not an integer; write one.")
    if "dtype" in sections or isinstance(sections.get("device"), str | torch.device):
        raise WordlineError(
            "A quantised layer is in float64, and `device` is the section of its hardware; leave "
            "dtype and device out, and call .to(DEVICE) on it."
        )
    if taken := {"network", "output"} & set(sections):
        raise WordlineError(
            f"{min(taken)} is given by the module itself; to give it, build a wordline.nn.Network."
        )
    if not isinstance(hardware, Description | None):
        raise WordlineError(
            f"hardware = {type(hardware).__name__} is no description; give one: of a recipe, "
            f".description."
        )
    steps = hardware.output.steps if hardware else "every"
    whole = {
        "network": {"inputs": inputs, "hidden": [units] * layers, "classes": 0},
        "output": {"of": "state", "steps": steps},
    }
    if hardware is None:
        found = Description.from_dict({"name": kind, "cell": {"kind": kind}} | whole)
    else:
        found = hardware.replace(cell={"kind": kind}, voting={"replay_steps": 0}, **whole)
    found = found.replace(**sections)
    if found.cell.kind != kind:
        raise WordlineError(
            f"cell.kind = {found.cell.kind!r} is not that of the module, {kind!r}; use the other "
            f"module, or leave it out."
        )
    return found


def mark(description: Description) -> Tensor:
    """Mark of a design whatever its name, uint8, shape (16,)."""
    fields = json.dumps(description.to_dict() | {"name": ""}, sort_keys=True)
    return torch.tensor([*hashlib.sha256(fields.encode()).digest()[:16]], dtype=torch.uint8)


def check_mark(module: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    """Check, before it is loaded, that a state_dict is of this design: its level tables and steps
    are no others'. One without a mark, from before there were any, is taken.

    Raises WordlineError if it is of another.
    """
    own, found = module.get_buffer("design"), state.setdefault(f"{prefix}design", module.design)
    if not torch.equal(own.cpu(), torch.as_tensor(found).cpu()):
        raise WordlineError(
            f"The state_dict is that of another design than {type(module).__name__}'s: its sizes, "
            f"bits or levels differ; load it into one of the same description."
        )
