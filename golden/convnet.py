"""A small convolutional network for images, whose products are noisy vector-matrix products.

A convolution is the product of one array with every patch of its input: channels x height x width
rows, a column each filter; PyTorch's convolution is that very sum. There is no hardware for it
here: it is float, and for the rows on images of Qin and Vucinic, arXiv 1811.10649. The network is
ours; the paper does not say which it has. Noise is `golden.injection`'s, where a vector is what a
layer computes for one image at all places and in all channels.
"""

import torch
from torch import Tensor, nn

from golden.injection import Injection, add_noise

CLASSES = 10


class ConvNet(nn.Module):
    """Three convolutions, 7 x 7 at every second place, then 3 x 3, with a 2 x 2 mean before the
    last, and a dense head.

    Large first patches and a mean, not a maximum, because both average noise away. width: channels
    of the second convolution, a multiple of 4; the first has 3/4 of them, the third 3/2. For images
    of 28 x 28.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        before, after = 3 * width // 4, 3 * width // 2
        self.first = nn.Conv2d(1, before, 7, stride=2, padding=3)
        self.second = nn.Conv2d(before, width, 3, padding=1)
        self.third = nn.Conv2d(width, after, 3, padding=1)
        self.head = nn.Linear(after * 7 * 7, CLASSES)

    def forward(
        self, x: Tensor, injection: Injection | None = None, *, noisy_head: bool = True
    ) -> Tensor:
        """Class scores (images, classes) of images (images, 1, 28, 28), 0 to 1.

        injection: on every product, on the head's if `noisy_head`, and where it is on "every"
        vector also on what the other convolutions and the head are given.
        """
        on_activations = injection if injection and injection.placement == "every" else None
        x = _noisy(torch.relu(_noisy(self.first(x), injection)), on_activations)
        x = torch.relu(_noisy(self.second(x), injection))
        x = _noisy(nn.functional.avg_pool2d(x, 2), on_activations)
        x = _noisy(torch.relu(_noisy(self.third(x), injection)), on_activations)
        return _noisy(self.head(x.flatten(1)), injection if noisy_head else None)


def _noisy(v: Tensor, injection: Injection | None) -> Tensor:
    """What a layer computed, (images, ...), with noise."""
    if injection is None:
        return v
    flat = v.flatten(1)
    normal = torch.randn(flat.shape, device=flat.device)
    return add_noise(flat, normal, injection.power_ratio).view(v.shape)
