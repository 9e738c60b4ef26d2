"""Convert a network that plain PyTorch trained, without training it again, and evaluate it."""

import torch

import wordline

torch.manual_seed(0)
torch.set_num_threads(1)
recipe = wordline.load("vowels")
data = wordline.dataset(recipe)


class Speaker(torch.nn.Module):
    """Scores of every step."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = torch.nn.LSTM(data.channels, 16, batch_first=True)
        self.linear = torch.nn.Linear(16, data.classes)

    def forward(self, x):
        return self.linear(self.lstm(x)[0])


net, (x, lengths, labels) = Speaker(), vars(data.train).values()
optimiser = torch.optim.Adam(net.parameters(), 0.01)
for _ in range(40):
    scores = net(x)[torch.arange(len(x)), lengths - 1]
    loss = torch.nn.functional.cross_entropy(scores, labels)
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()

description = recipe.description.replace(name="speaker", network={"hidden": [16]}, adc={"bits": 6})
conversion = wordline.convert(net, description, data.train)
print(f"converted: {wordline.evaluate(conversion.program, data.test)['accuracy']:.1f} %")
conversion.program.save("build/speaker/program.safetensors")
