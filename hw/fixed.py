"""Rounding, saturation and sums in logic (docs/contract.md, 1). Nothing narrows by assignment."""

from amaranth.hdl import Cat, Const, Module, Mux, Shape, Signal, Value, signed

from golden.ranges import Range


def half_up(a: Value, shift: int) -> Value:
    """floor((a + half) >> shift), as wide as the result can be."""
    if shift == 0:
        return a
    return (a + Const(1 << (shift - 1), Shape(shift + 1, signed=True))).shift_right(shift)


def saturate(a: Value, to: Range) -> Value:
    """The nearest number in `to`, a signed or a symmetric range, in the narrowest shape that holds
    it. Upper bits tell whether a number is in there: a comparison would be a carry chain."""
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
    """saturate(half_up(a >> shift))."""
    return saturate(half_up(a, shift), to)


def by_bits(a: Value, b: Value) -> list[Value]:
    """Terms of a * b, one for each bit of a."""
    terms = [Mux(bit, b, 0).shift_left(n) for n, bit in enumerate(a)]
    return [*terms[:-1], -terms[-1]] if a.shape().signed else terms


def by_digits(a: Value, factor: int, bits: int) -> list[Value]:
    """Terms of a * factor modulo 2^bits, one for each digit of the factor's non-adjacent form: with
    -1, 0 and 1 as digits, none has fewer that are not 0."""
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
    """The value so many cycles later; reset has nothing to do with it."""
    for _ in range(cycles):
        register = Signal(value.shape(), reset_less=True)
        m.d.sync += register.eq(value)
        value = register
    return value


def tree_sum(terms: list[Value]) -> Value:
    """Sum as a balanced tree: depth log2, and each level just as wide as it must be."""
    while len(terms) > 1:
        pairs = [a + b for a, b in zip(terms[::2], terms[1::2], strict=False)]
        terms = pairs + terms[len(pairs) * 2 :]
    return terms[0]


TOGETHER = 4
"""Terms that are summed in a cycle where an FPGA is to keep up."""


def together(terms: list[Value]) -> list[Value]:
    """What is summed in a cycle."""
    return [tree_sum(terms[n : n + TOGETHER]) for n in range(0, len(terms), TOGETHER)]


def registered_sum(m: Module, terms: list[Value]) -> Value:
    """The sum with a register after every `TOGETHER` terms: as many cycles later as it has
    levels."""
    while len(terms) > 1:
        terms = [registered(m, term) for term in together(terms)]
    return terms[0]


def registered_product(m: Module, a: Value, b: Value) -> Value:
    """a * b, two cycles later, as a sum of terms for the bits of a. An FPGA's multipliers are fast
    enough themselves, but far from what they work for."""
    return two_levels(m, by_bits(a, b))


def two_levels(m: Module, terms: list[Value]) -> Value:
    """The registered sum of as many terms, 5 to 16, as make it two cycles late."""
    assert TOGETHER < len(terms) <= TOGETHER**2, len(terms)
    return registered_sum(m, terms)
