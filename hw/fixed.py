"""Rounding, saturation and sums in logic (docs/contract.md, 1). No assignment narrows a value."""

from amaranth.hdl import Cat, Const, Module, Mux, Shape, Signal, Value, signed

from golden.ranges import Range


def half_up(a: Value, shift: int) -> Value:
    """floor((a + half) >> shift), rounding halves up; as wide as the result can be."""
    if shift == 0:
        return a
    return (a + Const(1 << (shift - 1), Shape(shift + 1, signed=True))).shift_right(shift)


def saturate(a: Value, to: Range) -> Value:
    """Saturate to `to`, a signed or a symmetric range, in the narrowest shape that holds it.

    The upper bits tell whether the value is in range: a comparison would be a carry chain.
    """
    bits = to.high.bit_length()
    assert to.high == 2**bits - 1 and to.low in (-to.high, -to.high - 1), to
    if not a.shape().signed:
        a = Cat(a, Const(0, 1)).as_signed()
    negative, upper, inside = a[-1], a[bits:], a[: bits + 1].as_signed()
    above, in_low = ~negative & upper.any(), upper.all()
    if to.low == -to.high:
        in_low &= a[:bits].any()
    below = negative & ~in_low
    low, high = (Const(bound, signed(bits + 1)) for bound in to)
    return Mux(above, high, Mux(below, low, inside)).as_signed()


def narrow(a: Value, shift: int, to: Range) -> Value:
    """Round and saturate: saturate(half_up(a, shift), to)."""
    return saturate(half_up(a, shift), to)


def by_bits(a: Value, b: Value) -> list[Value]:
    """Partial products of a * b, one per bit of a; that of a sign bit is negative."""
    terms = [Mux(bit, b, 0).shift_left(n) for n, bit in enumerate(a)]
    return [*terms[:-1], -terms[-1]] if a.shape().signed else terms


def by_digits(a: Value, factor: int, bits: int) -> list[Value]:
    """Partial products of a * factor modulo 2^bits, one per nonzero digit of the factor.

    The digits -1, 0 and 1 are the non-adjacent form, which has the fewest nonzero digits.
    """
    terms = []
    for n in range(bits):
        if factor & 1:
            digit = 2 - (factor & 3)
            term = a[: bits - n].shift_left(n)
            terms.append(term if digit > 0 else -term)
            factor -= digit
        factor >>= 1
    return terms


def registered(m: Module, value: Value, cycles: int = 1) -> Value:
    """Delay a value by `cycles` registers without reset."""
    for _ in range(cycles):
        register = Signal(value.shape(), reset_less=True)
        m.d.sync += register.eq(value)
        value = register
    return value


def tree_sum(terms: list[Value]) -> Value:
    """Sum in a balanced tree of depth log2, each level only as wide as it must be."""
    while len(terms) > 1:
        pairs = [a + b for a, b in zip(terms[::2], terms[1::2], strict=False)]
        terms = pairs + terms[len(pairs) * 2 :]
    return terms[0]


TOGETHER = 4
"""Terms added per cycle where the deep pipeline must meet an FPGA's clock period."""


def together(terms: list[Value]) -> list[Value]:
    """Sums of `TOGETHER` terms each: the addends of one cycle."""
    return [tree_sum(terms[n : n + TOGETHER]) for n in range(0, len(terms), TOGETHER)]


def registered_sum(m: Module, terms: list[Value]) -> Value:
    """Pipelined sum with a register after every `TOGETHER` terms.

    Latency: one cycle per level of the sum.
    Throughput: one sum every cycle.
    """
    while len(terms) > 1:
        terms = [registered(m, term) for term in together(terms)]
    return terms[0]


def registered_product(m: Module, a: Value, b: Value) -> Value:
    """a * b as a pipelined sum of partial products, one per bit of a.

    An FPGA's multipliers are fast enough, but the route to them and back is too long.
    Latency: 2 cycles from a and b to the product.
    Throughput: one product every cycle.
    """
    return two_levels(m, by_bits(a, b))


def two_levels(m: Module, terms: list[Value]) -> Value:
    """Pipelined sum of 5 to 16 terms, which takes exactly two levels of registers.

    Latency: 2 cycles from the terms to the sum.
    Throughput: one sum every cycle.
    """
    assert TOGETHER < len(terms) <= TOGETHER**2, len(terms)
    return registered_sum(m, terms)
