"""Train a small network, run its test set through the Verilog, compare every value with golden."""

import dataclasses

import wordline

recipe = wordline.load("vowels")  # a preset, or the path of a TOML file
recipe = dataclasses.replace(
    recipe,
    description=recipe.description.replace(
        name="example",
        network={"hidden": [3]},
        array={"lanes": 1},
        cell={"frac": 2, "gate_bits": 6, "state_bits": 9, "state_index_bits": 6},
    ),
    training=dataclasses.replace(recipe.training, float_epochs=8, epochs=6),
)
trained = wordline.train(recipe)
result = wordline.simulate(recipe)

print(f"float {trained.reference['accuracy']:.1f} %, quantised {trained.golden['accuracy']:.1f} %")
print(
    f"RTL {result.summary['rtl_accuracy']:.1f} %, {result.summary['cycles_per_step']} cycles a step"
)
if not result.passed:
    raise SystemExit(f"RTL and golden differ: {result.first_difference}")
print(f"{result.values_compared:,} values are equal")
