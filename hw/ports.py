"""The shapes that blocks exchange: stream payloads and write ports."""

from amaranth.hdl import signed, unsigned
from amaranth.lib import data, stream
from amaranth.lib.wiring import Out, Signature

from golden.description import Description


def vector_layout(count: int, description: Description) -> data.StructLayout:
    """`count` DAC codes of a vector; `last` marks the last step of a sequence."""
    codes = data.ArrayLayout(signed(description.dac.width), count)
    return data.StructLayout({"codes": codes, "last": unsigned(1)})


def vector_stream(count: int, description: Description) -> stream.Signature:
    """Vectors in beats of `count` codes, lowest element first; the last beat may be padded.

    `last` is high on every beat of a sequence's last vector.
    """
    return stream.Signature(vector_layout(count, description))


class WritePort(Signature):
    """A memory written from outside: when `enable` is high, `data` goes to `address`."""

    def __init__(self, address_bits: int, data_bits: int) -> None:
        super().__init__({"enable": Out(1), "address": Out(address_bits), "data": Out(data_bits)})
