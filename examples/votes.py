"""By how much do several noisy passes that vote help a small network on a chip with read noise?"""

import dataclasses

import wordline

READ_NOISE = 0.3  # standard deviation of one device and read, a fraction of full-scale conductance
VOTES = (1, 4, 8)

recipe = wordline.load("vowels-vote")
recipe = dataclasses.replace(
    recipe,
    description=recipe.description.replace(name="vote-small", network={"hidden": [8]}),
    training=dataclasses.replace(recipe.training, float_epochs=8, epochs=8),
    effects=wordline.Effects(read_sigma=READ_NOISE, seed=3),
)

trained = wordline.train(recipe)
test = wordline.dataset(recipe).test
print(f"without noise: {trained.golden['accuracy']:.2f} %")

single = None
for votes in VOTES:
    chip = wordline.on_chip(trained.program, recipe, votes=votes, vote_by="sum")
    accuracy = wordline.evaluate(chip, test)["accuracy"]
    single = accuracy if single is None else single
    print(f"{votes} votes: {accuracy:.2f} % ({accuracy - single:+.2f} points)")
