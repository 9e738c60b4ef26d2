"""A small convolutional network for images, whose products are noisy vector-matrix products.

A convolution is the product of one array with every patch of its input: channels x 3 x 3 rows, a
column each filter; PyTorch's convolution is that very sum. There is no hardware for it here: it is
float, and for the rows on images of Qin and Vucinic, arXiv 1811.10649. The network is ours; the
paper does not say which it has. Noise is `golden.injection`'s, where a vector is what a layer
computes for one image at all places and in all channels.
"""

import itertools

import torch
from torch import Tensor, nn

from golden.injection import Injection, add_noise

CLASSES = 10


class ConvNet(nn.Module):
    """Three 3 x 3 convolutions, two of them with a 2 x 2 maximum after them, and a dense head.

    width: channels of the first; the others have two and four times as many. For images of 28 x 28.
    """

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        channels = (1, width, 2 * width, 4 * width)
        self.products = nn.ModuleList(
            nn.Conv2d(a, b, 3, padding=1) for a, b in itertools.pairwise(channels)
        )
        self.head = nn.Linear(channels[-1] * 7 * 7, CLASSES)

    def forward(self, x: Tensor, injection: Injection | None = None) -> Tensor:
        """Class scores (images, classes) of images (images, 1, 28, 28), 0 to 1.

        injection: on every product, the head's too, and where it is on "every" vector also on the
        activations, after the maximum.
        """
        for n, product in enumerate(self.products):
            x = torch.relu(_noisy(product(x), injection))
            if n < 2:
                x = nn.functional.max_pool2d(x, 2)
            if injection is not None and injection.placement == "every":
                x = _noisy(x, injection)
        return _noisy(self.head(x.flatten(1)), injection)


def _noisy(v: Tensor, injection: Injection | None) -> Tensor:
    """What a layer computed, (images, ...), with noise."""
    if injection is None:
        return v
    flat = v.flatten(1)
    normal = torch.randn(flat.shape, device=flat.device)
    return add_noise(flat, normal, injection.power_ratio).view(v.shape)
