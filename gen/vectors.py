"""Golden vectors: input codes and every value they lead to, in one .npz that needs only NumPy.

x (sequences, steps, inputs), lengths (sequences,), and for each layer n: layers.n.codes
(passes, steps, gates, units), layers.n.h and, of an LSTM, layers.n.c (passes, steps, units);
scores (passes, classes), label (sequences,). Passes are all of the first sequence, then of the
next. Steps beyond a sequence's length hold 0.
"""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from golden import files, network
from golden.program import Program

Vectors = dict[str, np.ndarray]


def make(program: Program, x: Tensor, lengths: Tensor) -> Vectors:
    """Run the golden model on DAC codes x (sequences, steps, inputs) and keep everything."""
    trace = network.run(program, x, lengths)
    valid = torch.arange(x.shape[1])[None] < lengths[:, None]

    def compact(values: Tensor, *, padded: bool = True) -> np.ndarray:
        if padded:
            votes = len(values) // len(valid)
            valid_ = valid.repeat_interleave(votes, 0)
            values = values * valid_.view(*valid_.shape, *(1,) * (values.dim() - 2))
        return values.numpy().astype(np.int8 if values.abs().max() < 128 else np.int32)

    vectors = {"x": compact(x), "lengths": lengths.numpy().astype(np.int32)}
    for n, layer in enumerate(trace.layers):
        vectors |= {
            f"layers.{n}.{name}": compact(value) for name, value in layer.quantities().items()
        }
    vectors["scores"] = compact(trace.scores, padded=False)
    vectors["label"] = compact(trace.label, padded=False)
    return vectors


def write(path: Path, vectors: Vectors) -> None:
    """Write the .npz, whole or not at all."""
    with files.atomic(path) as beside, beside.open("wb") as file:
        np.savez_compressed(file, **vectors)  # type: ignore[arg-type]
