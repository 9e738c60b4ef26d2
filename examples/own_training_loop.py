"""Train quantised, noisy layers in a loop of your own, and save the program of the chip."""

import torch

import wordline

torch.manual_seed(0)
torch.set_num_threads(1)
recipe = wordline.load("vowels")
data = wordline.dataset(recipe)
description = recipe.description.replace(name="own", network={"hidden": [12]})

# Noise at the pre-activations, 15 dB below them: the chip that comes out tolerates noisy cells.
net = wordline.nn.Network(description, batch_first=True, noise=15.0, seed=1)
x, lengths, labels = vars(data.train).values()
net.calibrate(x, lengths)
optimiser = torch.optim.Adam(net.parameters(), 0.01)
for epoch in range(5):
    for chosen in torch.randperm(len(x)).split(30):
        loss = torch.nn.functional.cross_entropy(net(x[chosen], lengths[chosen]), labels[chosen])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    print(f"epoch {epoch + 1}: loss {loss.item():.3f}")

net.eval()  # without noise
with torch.no_grad():
    found = net(data.test.x, data.test.lengths).argmax(-1)
program = net.to_program()
print(f"modules: {100 * float((found == data.test.labels).double().mean()):.2f} %")
print(f"program: {wordline.evaluate(program, data.test)['accuracy']:.2f} %")
program.save("build/own/program.safetensors")
