"""Non-idealities that were on, and how strong they are in LSB of the ADC."""

import math
from typing import Any

import numpy as np

from golden.geometry import ArrayShape
from wordline.report import charts, codes
from wordline.report.page import Cell, Question, Section, Table
from wordline.report.run import Run

NOTES = (
    "Read noise is that of a column. Offsets and gain errors are root mean squares over lanes.",
    "Gain errors are those at full scale.",
    "Programming, drift and stuck devices are estimated: for the RMS code on the rows of this run.",
)
"""How strengths are meant."""


def section(run: Run) -> Section | None:
    """Effects of a run; None if none is known."""
    if run.summary is None or "effects" not in run.summary:
        return None
    effects = run.summary["effects"]
    if not effects["on"]:
        said = "None: the chip and golden are ideal."
        asked_ = [Question("Which non-idealities were on?", said)]
        return Section("effects", "Non-idealities", asked_)
    given: list[list[Cell]] = [[name, value] for name, value in effects["given"].items()]
    first = Question(
        "Which non-idealities were on?",
        f"{', '.join(effects['on'])}, seed {effects['given']['seed']}; on the chip and in golden.",
        tables=[Table(("field of [effects]", "value"), given, "The effects as given")],
    )
    asked = [_array(run, name, found) for name, found in effects["arrays"].items()]
    questions = [first, *(question for question in asked if question)]
    return Section("effects", "Non-idealities", questions)


def rms(values: Any) -> float:
    """Root mean square."""
    return float(np.sqrt(np.mean(np.square(np.asarray(values, float)))))


def row_rms(run: Run, name: str, shape: ArrayShape) -> float | None:
    """Root mean square of the DAC codes on the rows of an array in the run."""
    if not run.vectors:
        return None
    lengths = np.asarray(run.vectors["lengths"])
    of_passes = np.repeat(lengths, run.votes)
    above = _above(run, name)
    if above is None:
        inputs = _mean_square(run.vectors["x"], lengths)
    else:
        inputs = _mean_square(run.vectors[f"layers.{above}.h"], of_passes)
    own = 0.0 if name == "head" else _mean_square(run.vectors[f"{name}.h"], of_passes)
    return math.sqrt((shape.inputs * inputs + (shape.rows - shape.inputs) * own) / shape.rows)


def _above(run: Run, name: str) -> int | None:
    """Layer whose h is the input of an array; None: x is."""
    assert run.description is not None
    if name == "head":
        return len(run.description.layers) - 1
    number = int(name.rpartition(".")[2])
    return number - 1 if number else None


def _mean_square(values: Any, lengths: np.ndarray) -> float:
    count = max(1, min(len(values), codes.COUNTED // max(1, int(np.prod(values.shape[1:])))))
    part = np.asarray(values[:count], np.int64)
    valid = np.arange(part.shape[1])[None] < lengths[:count, None]
    return float(np.square(part[valid]).mean())


Strength = tuple[str, str, str, float, float | None]
"""Effect, gate, unit, strength in that unit, and in LSB of the ADC."""


def strengths(run: Run, name: str, found: dict[str, Any]) -> list[Strength]:
    """Strength by effect and gate.

    LSBs that need a gain or the codes on the rows are None without image or vectors.
    """
    assert run.description is not None
    shape = run.description.arrays[name]
    gates = run.description.cell.gates if name != "head" else ("score",)
    loaded = run.loaded.get(name)
    charge: list[float | None] = [None] * len(gates)
    if loaded is not None:
        charge = [2**shape.adc_shift / float(gain) for gain in loaded.gain.mean(0)]
    rows = row_rms(run, name, shape)
    out: list[Strength] = []
    if noise := max(found["read_noise_charge"]):
        out += [
            ("read noise", gate, "units of charge", noise, None if lsb is None else noise / lsb)
            for gate, lsb in zip(gates, charge, strict=True)
        ]
    if found["conductance_rms_change"]:
        change = found["conductance_rms_change"]
        most = run.description.device.conductance_max
        for gate, lsb in zip(gates, charge, strict=True):
            error = None
            if lsb is not None and rows is not None:
                # Changes of the two devices of each cell of a column, of independent sign.
                error = change * most * math.sqrt(2 * shape.macro.rows) * rows / lsb
            out.append(
                ("programming, drift, stuck", gate, "of full scale, a device", change, error)
            )
    if found["adc_noise_lsb"]:
        out.append(("ADC noise", "all", "LSB", found["adc_noise_lsb"], found["adc_noise_lsb"]))
    if offset := rms(found["offset_lsb"]):
        out.append(("ADC offset", "all", "LSB", offset, offset))
    if gain := rms(found["gain_error"]):
        top = abs(run.description.adc.range.low)
        out.append(("gain error", "all", "of the gain", gain, gain * top))
    return out


def _array(run: Run, name: str, found: dict[str, Any]) -> Question | None:
    if run.description is None:
        return None
    of = strengths(run, name, found)
    if not of:
        return None
    rows: list[list[Cell]] = [list(row) for row in of]
    data: list[dict[str, Any]] = [
        {"effect": effect if gate == "all" else f"{effect}, gate {gate}", "lsb": lsb}
        for effect, gate, _, _, lsb in of
        if lsb is not None
    ]
    chart = (
        [
            charts.bars(
                data,
                "effect",
                "lsb",
                "standard deviation (LSB of the ADC)",
                label=f"Strength of each effect in {name}",
            )
        ]
        if data
        else []
    )
    most = max(data, key=lambda row: row["lsb"]) if data else None
    said = f"Strongest: {most['effect']}, {most['lsb']:.2f} LSB a conversion." if most else ""
    stuck = f" Stuck devices: {found['stuck_on']:,} on, {found['stuck_off']:,} off."
    head = ("effect", "gate", "unit", "strength in that unit", "strength (LSB)")
    return Question(
        f"How strong are they in {name}?",
        (said + stuck).strip(),
        chart,
        [Table(head, rows, "Strengths by effect and gate")],
        notes=NOTES,
    )
