"""Timing diagrams of a macro for WaveDrom (wavedrom.com): WaveJSON of two samples."""

import json
from typing import Any

from golden.geometry import ArrayShape
from hw import timing


def macro(module: str, shape: ArrayShape) -> str:
    """WaveJSON of two samples, in the cycles of this macro.

    The samples are of selects 0 and 1, or of planes 0 and 1 with a bit-serial DAC.
    """
    dac, adc = shape.description.dac, shape.description.adc
    settle, period = timing.settle(shape), timing.period(shape)
    starts = (0, period)
    length = period + settle + timing.adc_cycles(adc) + 1
    lanes: list[dict[str, Any]] = [{"name": "clk", "wave": "p" + "." * (length - 1)}]

    def values(name: str, at: dict[int, str]) -> None:
        """Append a signal with one value per cycle; equal neighbours are drawn as one."""
        marks, labels = [], []
        before: str | None = None
        for n in range(length):
            value = at.get(n)
            if value is None:
                marks.append("." if before is None and n else "x")
            elif value == before:
                marks.append(".")
            else:
                marks.append("=")
                labels.append(value)
            before = value
        lanes.append({"name": name, "wave": "".join(marks), "data": labels})

    def during(spans: list[tuple[int, int, str]]) -> dict[int, str]:
        return {n: value for start, end, value in spans for n in range(start, min(end, length))}

    lanes.append({"name": "sample", "wave": _dots("01"[n in starts] for n in range(length))})
    serial = dac.planes > 1
    values("plane" if serial else "select", during([(0, 1, "0"), (period, period + 1, "1")]))
    values("gain", during([(start, start + 1, "gain") for start in starts]))
    if dac.kind == "pulse-width":
        pulses = [
            (start + 1, start + 1 + dac.pulse_cycles, "signs, |v| cycles") for start in starts
        ]
        values("rows", during(pulses))
    elif serial:
        planes = [(start, start + settle, f"bits of plane {n}") for n, start in enumerate(starts)]
        values("rows", during(planes))
    else:
        values("rows", during([(0, period + settle, "codes of the step")]))
    asked: dict[int, str] = {}
    answered: dict[int, str] = {}
    for start in starts:
        for k in range(timing.adc_cycles(adc)):
            asked[start + settle + k] = f"t{k}"
            answered[start + settle + k] = f"a{k}" if adc.kind != "flash" else "all"
    if adc.kind != "flash":
        values("trial", asked)
    values("above", answered)
    text = f"{module}: settle = {settle}, period = {period}, {dac.kind} DAC, {adc.kind} ADC"
    figure = {"signal": lanes, "head": {"text": text, "tick": 0}, "config": {"hscale": 2}}
    return json.dumps(figure, indent=1) + "\n"


def _dots(marks: Any) -> str:
    wave, before = "", ""
    for mark in marks:
        wave += "." if mark == before else mark
        before = mark
    return wave
