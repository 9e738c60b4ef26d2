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


FEW = 8
"""Bits of a factor up to which an FPGA multiplies in logic."""

MULTIPLIED = 17
"""Bits of a number without a sign that an FPGA's multiplier takes; it takes 18 with a sign."""


def registered(m: Module, value: Value, cycles: int = 1) -> Value:
    """The value so many cycles later; reset has nothing to do with it."""
    for _ in range(cycles):
        register = Signal(value.shape(), reset_less=True)
        m.d.sync += register.eq(value)
        value = register
    return value


def registered_product(m: Module, a: Value, b: Value) -> list[Value]:
    """Terms of a * b: what an FPGA's multipliers give, and for a few bits more than they take, sums
    of `TOGETHER` bits' terms. Two cycles later, since multipliers are where they are, far from what
    they work for. b: of no more bits than they take."""
    if len(a) <= MULTIPLIED:
        return [registered(m, a * b, 2)]
    high = a[MULTIPLIED:].as_signed() if a.shape().signed else a[MULTIPLIED:]
    upper = _together(by_bits(high, b)) if len(high) <= FEW else [high * b]
    above = [registered(m, part, 2).shift_left(MULTIPLIED) for part in upper]
    return [registered(m, a[:MULTIPLIED] * b, 2), *above]


def tree_sum(terms: list[Value]) -> Value:
    """Sum as a balanced tree: depth log2, and each level just as wide as it must be."""
    while len(terms) > 1:
        pairs = [a + b for a, b in zip(terms[::2], terms[1::2], strict=False)]
        terms = pairs + terms[len(pairs) * 2 :]
    return terms[0]


TOGETHER = 4
"""Terms that are summed in a cycle where an FPGA is to keep up."""


def _together(terms: list[Value]) -> list[Value]:
    return [tree_sum(terms[n : n + TOGETHER]) for n in range(0, len(terms), TOGETHER)]


def registered_sum(m: Module, terms: list[Value]) -> Value:
    """The same with a register after every `TOGETHER` terms: as many cycles later as it has
    levels."""
    while len(terms) > 1:
        terms = [registered(m, term) for term in _together(terms)]
    return terms[0]
