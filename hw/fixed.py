"""Rounding, saturation and sums in logic (docs/contract.md, 1). Nothing narrows by assignment."""

from amaranth.hdl import Const, Module, Mux, Shape, Signal, Value

from golden.fixed import Range


def half_up(a: Value, shift: int) -> Value:
    """floor((a + half) >> shift), as wide as the result can be."""
    if shift == 0:
        return a
    return (a + Const(1 << (shift - 1), Shape(shift + 1, signed=True))).shift_right(shift)


def saturate(a: Value, to: Range) -> Value:
    """The nearest number in `to`, in the narrowest shape that holds `to`."""
    low, high = (Const(bound, Shape.cast(range(to.low, to.high + 1))) for bound in to)
    inside = a[: low.shape().width]
    if low.shape().signed:
        inside = inside.as_signed()
    result = Mux(a > to.high, high, Mux(a < to.low, low, inside))
    return result.as_signed() if low.shape().signed else result


def narrow(a: Value, shift: int, to: Range) -> Value:
    """saturate(half_up(a >> shift))."""
    return saturate(half_up(a, shift), to)


def by_bits(a: Value, b: Value) -> list[Value]:
    """Terms of a * b, one for each bit of a: not worth an FPGA's multiplier where those are few."""
    terms = [Mux(bit, b, 0).shift_left(n) for n, bit in enumerate(a)]
    return [*terms[:-1], -terms[-1]] if a.shape().signed else terms


FEW = 6
"""Bits of a factor up to which an FPGA multiplies in logic."""

MULTIPLIED = 17
"""Bits of a number without a sign that an FPGA's multiplier takes; it takes 18 with a sign."""


def registered_product(m: Module, a: Value, b: Value) -> Value:
    """a * b a cycle later: of registers, the sum of what an FPGA's multipliers give. b: of no more
    bits than they take."""
    low, parts = a[:MULTIPLIED], []
    if len(a) <= MULTIPLIED:
        parts = [a * b]
    else:
        high = a[MULTIPLIED:].as_signed() if a.shape().signed else a[MULTIPLIED:]
        upper = tree_sum(by_bits(high, b)) if len(high) <= FEW else high * b
        parts = [low * b, upper]
    registers = [Signal(part.shape(), reset_less=True) for part in parts]
    m.d.sync += [register.eq(part) for register, part in zip(registers, parts, strict=True)]
    return sum((r.shift_left(n * MULTIPLIED) for n, r in enumerate(registers[1:], 1)), registers[0])


def tree_sum(terms: list[Value]) -> Value:
    """Sum as a balanced tree: depth log2, and each level just as wide as it must be."""
    while len(terms) > 1:
        pairs = [a + b for a, b in zip(terms[::2], terms[1::2], strict=False)]
        terms = pairs + terms[len(pairs) * 2 :]
    return terms[0]


def registered_sum(m: Module, terms: list[Value]) -> Value:
    """The same with a register after every four terms: as many cycles later as it has levels."""
    while len(terms) > 1:
        sums = [tree_sum(terms[n : n + 4]) for n in range(0, len(terms), 4)]
        terms = [Signal(term.shape(), reset_less=True) for term in sums]
        m.d.sync += [term.eq(value) for term, value in zip(terms, sums, strict=True)]
    return terms[0]
