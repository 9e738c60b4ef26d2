"""Location of the first difference, in the design and in its Verilog."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from golden.description import Description
from hw import timing


@dataclass(frozen=True)
class Place:
    """Location of the first difference.

    quantity: Name of the compared quantity.
    layer: `layers.N`, `head`, or "" for an output.
    step, pass_, gate, unit: None if the quantity has none. A unit of the head is a class.
    module, net: Path of the module below the top, and the net.
    golden, rtl: The two values.
    since: First sequence of the run.
    cycle: Clock cycle after loading in that run; None if it is not known.
    """

    quantity: str
    sequence: int
    layer: str
    step: int | None
    pass_: int | None
    gate: str | None
    unit: int | None
    module: str
    net: str
    golden: int
    rtl: int
    since: int | None
    cycle: int | None

    def __str__(self) -> str:
        where = {
            "sequence": self.sequence,
            "pass": self.pass_ or None,
            "step": self.step,
            "layer": self.layer or None,
            "gate": self.gate,
            "class" if self.layer == "head" else "unit": self.unit,
        }
        at = ", ".join(f"{name} {value}" for name, value in where.items() if value is not None)
        when = ""
        if self.cycle is not None:
            since = f" from sequence {self.since} on" if self.since else ""
            when = f", cycle {self.cycle:,} after loading{since}"
        net = f"{self.module}.{self.net}" if self.module else self.net
        return f"{self.quantity} at {at}: golden {self.golden}, RTL {self.rtl} (net {net}{when})"


def located(
    sidecar: dict[str, Any], description: Description, rtl: Path, first: dict[str, Any] | None
) -> Place | None:
    """Location of a scoreboard's first difference; None if there is none.

    sidecar, description: Those of the design.
    rtl: Its Verilog.
    """
    if first is None:
        return None
    at, quantity = first["place"], first["quantity"]
    layer, _, kind = quantity.rpartition(".")
    if quantity == "scores":
        layer, kind = "head", "scores"
    gates = description.cell.gates
    gate = gates[at["gate"]] if "gate" in at else None
    unit = at.get("unit", at.get("class"))
    module, net = _net(sidecar, description, rtl, layer, kind, gate, unit)
    return Place(
        quantity=quantity,
        sequence=at["sequence"],
        layer=layer,
        step=at.get("step"),
        pass_=at.get("pass"),
        gate=gate,
        unit=unit,
        module=module,
        net=net,
        golden=first["golden"],
        rtl=first["rtl"],
        since=first["since"],
        cycle=first["cycle"],
    )


def _net(
    sidecar: dict[str, Any],
    description: Description,
    rtl: Path,
    layer: str,
    kind: str,
    gate: str | None,
    unit: int | None,
) -> tuple[str, str]:
    """Module and net of a quantity in the emitted Verilog."""
    probe = sidecar["probes"].get(layer)
    if probe is None:
        fields = sidecar["ports"]["o__payload"]["fields"]
        name = next(n for n in ("label", "score", "codes") if n in fields)
        return "", f"o__payload_{name}"
    module = ".".join(probe["path"])
    if layer == "head":
        return module, "score"
    assert unit is not None
    number = int(layer.rpartition(".")[2])
    beat = unit % timing.units_per_beat(description.layers[number])
    net = {"codes": f"code_{gate}", "c": "c_next"}.get(kind, kind) + f"_{beat}"
    # A user's own cell may use other names.
    return module, net if net in rtl.read_text() else "trace"
