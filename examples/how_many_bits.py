"""How many ADC bits does a task need? Quantised training from one float network, bit by bit."""

import dataclasses
from pathlib import Path
from tempfile import TemporaryDirectory

import wordline

BITS = (2, 4)

recipe = wordline.load("vowels")
recipe = dataclasses.replace(
    recipe, training=dataclasses.replace(recipe.training, float_epochs=6, epochs=6)
)
with TemporaryDirectory() as folder:
    for bits in BITS:
        description = recipe.description.replace(
            name=f"adc-{bits}", network={"hidden": [8]}, adc={"bits": bits}
        )
        design = dataclasses.replace(recipe, description=description)
        trained = wordline.train(design, Path(folder))
        reference, quantised = (m["accuracy"] for m in (trained.reference, trained.golden))
        cycles = max(array.cycles for array in wordline.needs(description))
        print(f"{bits} bits: {quantised:.1f} % (float {reference:.1f} %), {cycles} cycles a step")
