"""Emit an IP package for an FPGA flow: Verilog behind AXI, constraints, registers, a driver."""

import dataclasses
import json

import wordline

recipe = wordline.load("vowels-rnn")
description = recipe.description.replace(name="fpga", network={"hidden": [4]}, array={"lanes": 2})
recipe = dataclasses.replace(recipe, description=description)
for array in wordline.needs(description):
    rows, columns = array.size
    print(f"{array.name}: {array.adcs} ADCs, crossbar of {rows} x {columns}, {array.cycles} cycles")

emitted = wordline.emit(recipe, design_only=True, macro="model", period_ns=20.0)
sidecar = json.loads((emitted.folder / "fpga.json").read_text())
print(f"{sidecar['module']}: {sidecar['cycles_per_step']} cycles a step, ports:")
print(", ".join(sidecar["ports"]))
for path in sorted((emitted.folder / "package").rglob("*")):
    if path.is_file():
        print(path.relative_to(emitted.folder))
