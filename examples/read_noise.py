"""How much read noise does a chip tolerate? One trained program on chips with noisy devices."""

import dataclasses

import wordline

SIGMAS = (0.0, 0.05, 0.1)  # standard deviation, as a fraction of a device's full scale

recipe = wordline.load("vowels")
recipe = dataclasses.replace(
    recipe,
    description=recipe.description.replace(name="noisy", network={"hidden": [8]}),
    training=dataclasses.replace(recipe.training, float_epochs=8, epochs=8),
)
trained = wordline.train(recipe)
test = wordline.dataset(recipe).test
for sigma in SIGMAS:
    effects = wordline.Effects(read_sigma=sigma, seed=1)
    chip = wordline.on_chip(trained.program, dataclasses.replace(recipe, effects=effects))
    print(f"sigma {sigma:.2f}: {wordline.evaluate(chip, test)['accuracy']:.1f} %")
