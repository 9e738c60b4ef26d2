"""A batch in the forms that PyTorch's recurrent layers accept, and outputs in the same form."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from golden.errors import WordlineError

Input = Tensor | PackedSequence
"""Real numbers (steps, batch, inputs), (batch, steps, inputs) with batch_first, or packed."""

Lengths = Tensor | Sequence[int] | None
"""(batch,) steps of each padded sequence; None: all."""


@dataclass(frozen=True)
class Batch:
    """A batch.

    x: (batch, steps, inputs), in packed order if `given` is packed.
    lengths: (batch,) int64, on the CPU.
    given: The batch as it was given.
    batch_first: Whether a tensor is given as (batch, steps, inputs).
    """

    x: Tensor
    lengths: Tensor
    given: Input
    batch_first: bool

    @classmethod
    def of(cls, given: Input, lengths: Lengths, inputs: int, *, batch_first: bool) -> Self:
        """Make a batch from an input.

        lengths: (batch,) steps of each padded sequence; None: all.

        Raises WordlineError if the shape does not fit, or if a number is not finite.
        """
        if not isinstance(given, Tensor | PackedSequence):
            raise WordlineError(
                f"The input is a {type(given).__name__}; give a tensor, or a PackedSequence."
            )
        if given.data.is_complex():
            raise WordlineError(f"The input is {given.data.dtype}; give real numbers.")
        if not bool(torch.isfinite(given.data).all()):
            raise WordlineError("The input holds a number that is not finite; mask it, or give 0.")
        if isinstance(given, PackedSequence):
            if lengths is not None:
                raise WordlineError("A PackedSequence has its lengths; leave `lengths` out.")
            if given.data.dim() != 2 or given.data.shape[1] != inputs:
                raise WordlineError(
                    f"The packed input has shape {tuple(given.data.shape)}; give (steps of all "
                    f"sequences, {inputs})."
                )
            in_order = PackedSequence(given.data, given.batch_sizes)
            return cls(*pad_packed_sequence(in_order, batch_first=True), given, batch_first)
        if given.dim() != 3 or given.shape[2] != inputs or 0 in given.shape:
            axes = "batch, steps" if batch_first else "steps, batch"
            raise WordlineError(
                f"The input has shape {tuple(given.shape)}; with batch_first = {batch_first} give "
                f"({axes}, {inputs}), none of them empty."
            )
        x = given if batch_first else given.transpose(0, 1)
        if lengths is None:
            lengths = torch.full(x.shape[:1], x.shape[1])
        lengths = torch.as_tensor(lengths)
        if lengths.is_floating_point() or lengths.dtype == torch.bool:
            raise WordlineError(f"The lengths are {lengths.dtype}; give integers.")
        if lengths.shape != x.shape[:1] or lengths.min() < 1 or lengths.max() > x.shape[1]:
            raise WordlineError(
                f"The lengths must be {x.shape[0]} numbers from 1 to {x.shape[1]}, the steps given."
            )
        return cls(x, lengths.long().cpu(), given, batch_first)

    def arranged(self, values: Tensor) -> Input:
        """Values of every step, (batch, steps, ...), arranged like the input."""
        if not isinstance(self.given, PackedSequence):
            values = values if self.batch_first else values.transpose(0, 1)
            return self._cast(values)
        packed = pack_padded_sequence(self._cast(values), self.lengths, batch_first=True)
        indices = self.given.sorted_indices, self.given.unsorted_indices
        return PackedSequence(packed.data, packed.batch_sizes, *indices)

    def at_end(self, values: Tensor) -> Tensor:
        """Values of each sequence's last step, from those of every step (batch, steps, ...)."""
        return self.ordered(values[torch.arange(len(values)), self.lengths - 1])

    def ordered(self, values: Tensor) -> Tensor:
        """Values of each sequence, (batch, ...), in the order of the input."""
        order = getattr(self.given, "unsorted_indices", None)
        return self._cast(values if order is None else values[order])

    def _cast(self, values: Tensor) -> Tensor:
        """Values in the dtype of the input; for integer symbols in PyTorch's default dtype."""
        own = self.given.data.dtype
        return values.to(own if own.is_floating_point else torch.get_default_dtype())
