"""Small convolutional network for images, with noise on its vector-matrix products.

A convolution is the product of one array with every patch of its input. The array has channels x
height x width rows and one column per filter; PyTorch's convolution computes the same sums. There
is no hardware for it: the network is float, for the results on images of Qin and Vucinic, arXiv
1811.10649. The architecture is ours, because the paper does not give one. The noise is that of
`golden.injection`. Here a vector is the output of a layer for one image, at all places and in all
channels.
"""

from typing import Any

import torch
from torch import Tensor, nn

from golden.injection import TINY, Injection, add_noise
from golden.normal import normal_numbers

CLASSES = 10


class ConvNet(nn.Module):
    """Three convolutions and a dense head, for images of 28 x 28.

    The convolutions are 7 x 7 with stride 2, then 3 x 3 twice, with 2 x 2 average pooling before
    the last. Large first patches and a mean instead of a maximum average noise away.

    width: Channels of the second convolution, a multiple of 4. The first has 3/4 as many, the third
        3/2.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        before, after = 3 * width // 4, 3 * width // 2
        self.first = nn.Conv2d(1, before, 7, stride=2, padding=3)
        self.second = nn.Conv2d(before, width, 3, padding=1)
        self.third = nn.Conv2d(width, after, 3, padding=1)
        self.head = nn.Linear(after * 7 * 7, CLASSES)
        # With channels last in memory, a training step takes 0.8 of the time.
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(
        self, x: Tensor, injection: Injection | None = None, *, noisy_head: bool = True
    ) -> Tensor:
        """Class scores (images, classes) of images (images, 1, 28, 28) with pixels from 0 to 1.

        injection: Noise on every product. Placed on "every" vector, it is also on the inputs of the
            second and third convolution and of the head; placed at the "product", on the image too.
        noisy_head: Whether the head's product has noise too.
        """
        placement = None if injection is None else injection.placement
        on_activations = None if placement == "pre-activations" else injection
        x = _noisy(x, injection if placement == "product" else None)
        x = _noisy(torch.relu(_noisy(self.first(x), injection)), on_activations)
        x = torch.relu(_noisy(self.second(x), injection))
        x = _noisy(nn.functional.avg_pool2d(x, 2), on_activations)
        x = _noisy(torch.relu(_noisy(self.third(x), injection)), on_activations)
        return _noisy(self.head(x.flatten(1)), injection if noisy_head else None)


def _noisy(v: Tensor, injection: Injection | None) -> Tensor:
    """Add noise to the output of a layer, shape (images, ...)."""
    if injection is None:
        return v
    # As it lies in memory, channels last, so that nothing is copied.
    places = v.movedim(1, -1)
    flat = places.flatten(1)
    normal = normal_numbers(flat.shape, flat.device)
    if injection.power == "layer":
        noisy = _Noise.apply(flat, normal.to(flat.dtype), injection.power_ratio)
    else:
        noisy = add_noise(flat, normal, injection.power_ratio, injection.power)
    return noisy.view(places.shape).movedim(-1, 1)


class _Noise(torch.autograd.Function):
    """`golden.injection.add_noise` in few passes over the numbers, which take most of the time.

    It stays in the dtype of the layer; the power is summed in float32.
    """

    @staticmethod
    def forward(ctx: Any, v: Tensor, normal: Tensor, power_ratio: float) -> Tensor:
        norm = torch.linalg.vector_norm(v, dim=1, keepdim=True, dtype=torch.float32)
        ratio = power_ratio / v.shape[1]
        deviation = (norm.square() * ratio + TINY).sqrt()
        ctx.save_for_backward(v, normal, deviation)
        ctx.ratio = ratio
        return torch.addcmul(v, normal, deviation.to(v.dtype))

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        v, normal, deviation = ctx.saved_tensors
        # The deviation s of v: ds/dv = v ratio / s.
        along = torch.linalg.vecdot(grad, normal, dim=1)[:, None].float()
        return torch.addcmul(grad, v, (along * ctx.ratio / deviation).to(v.dtype)), None, None
