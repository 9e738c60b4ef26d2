"""Specs of rounding, saturation, sums and products, for all values, at the widths of real designs.

They have no state; the claims are those of docs/contract.md, 1.
"""

from amaranth.hdl import Signal, signed, unsigned

from golden.ranges import Range, signed_range, symmetric_range
from hw import fixed
from tests.formal.common import clamp
from tests.formal.engine import Scene
from tests.formal.spec import spec


@spec(
    fixed.half_up,
    cases={
        f"{bits} bits, shift {shift}": {"bits": bits, "shift": shift}
        for bits, shift in ((24, 9), (24, 1), (24, 23), (12, 4), (9, 0), (4, 8))
    },
    mutants={
        "halves that round down": (
            "Const(1 << (shift - 1), Shape",
            "Const((1 << (shift - 1)) - 1, Shape",
        ),
        "numbers that are cut": (
            "(a + Const(1 << (shift - 1), Shape(shift + 1, signed=True))).shift_right(shift)",
            "a.shift_right(shift)",
        ),
    },
)
def rounded(s: Scene, function, bits: int, shift: int) -> None:
    """r = floor((a + 2^(s-1)) / 2^s): the only r with r 2^s <= a + 2^(s-1) < (r + 1) 2^s."""
    a = s.free(signed(bits), "a")
    found = function(a, shift)
    r = Signal(signed(max(bits, shift) + 2))
    s.m.d.comb += r.eq(found)
    half = (1 << shift) >> 1
    s.claim("not too large", (r << shift) <= a + half)
    s.claim("not too small", a + half < ((r + 1) << shift))
    s.reach("a number below 0", a < 0)


RANGES = {
    "signed, 12 bits": signed_range(12),
    "signed, 4 bits": signed_range(4),
    "symmetric, 8 bits": symmetric_range(8),
    "symmetric, 2 bits": symmetric_range(2),
}


@spec(
    fixed.saturate,
    cases={f"24 bits to {name}": {"to": to} for name, to in RANGES.items()}
    | {"unsigned, to signed, 4 bits": {"to": signed_range(4), "shape": unsigned(9)}},
    mutants={
        "a number that wraps above": (
            "~negative & upper.any(), upper.all()",
            "~negative & upper[0], upper.all()",
        ),
        "a number that wraps below": (
            "~negative & upper.any(), upper.all()",
            "~negative & upper.any(), upper[0]",
        ),
        "a code that is not there": ("in_low &= a[:bits].any()", "in_low &= 1"),
    },
    fault_in={"a code that is not there": "24 bits to symmetric, 8 bits"},
)
def saturated(s: Scene, function, to: Range, shape=None) -> None:
    """The nearest number of the range."""
    a = s.free(signed(24) if shape is None else shape, "a")
    nearest = clamp(a, *to)
    s.claim("the nearest number", function(a, to) == nearest)
    s.reach("the highest", (function(a, to) == to.high) & (a > to.high))


@spec(
    fixed.narrow,
    cases={
        "24 bits, shift 9, to 4 bits": {"shift": 9, "to": signed_range(4)},
        "20 bits, shift 8, to 12 bits": {"shift": 8, "to": signed_range(12)},
    },
    mutants={
        "saturation before rounding": (
            "return saturate(half_up(a, shift), to)",
            "return half_up(saturate(a, Range(-8 << shift, (8 << shift) - 1)), shift)",
        )
    },
)
def narrowed(s: Scene, function, shift: int, to: Range) -> None:
    """Rounding, then saturation."""
    a = s.free(signed(24), "a")
    r = s.free(signed(26), "rounded")
    half = (1 << shift) >> 1
    s.assume((r << shift) <= a + half, a + half < ((r + 1) << shift))
    nearest = clamp(r, *to)
    s.claim("the nearest number to the rounded one", function(a, shift, to) == nearest)
    s.reach("the highest, by rounding", (r == to.high + 1) & (a < ((to.high + 1) << shift)))


@spec(
    fixed.by_bits,
    cases={
        "signed times signed, 6 bits": {},
        "unsigned times signed, 6 bits": {"first": unsigned(6)},
    },
    mutants={"a sign bit that is added": ("[*terms[:-1], -terms[-1]]", "[*terms[:-1], terms[-1]]")},
)
def product(s: Scene, function, first=None) -> None:
    """The partial products of a * b sum to it."""
    a, b = s.free(signed(6) if first is None else first, "a"), s.free(signed(6), "b")
    s.claim("their sum is the product", fixed.tree_sum(function(a, b)) == a * b)
    s.reach("two numbers below 0", b < -3)


@spec(
    fixed.by_digits,
    cases={f"times {factor}": {"factor": factor} for factor in (7, 1, 0x9E3779B1, 0xD2511F53)},
    mutants={
        "a digit that is added": (
            "terms.append(term if digit > 0 else -term)",
            "terms.append(term)",
        )
    },
)
def digits(s: Scene, function, factor: int) -> None:
    """The partial products of a * factor sum to it, modulo 2^16."""
    a = s.free(16, "a")
    terms = function(a, factor, 16)
    total = Signal(16)
    s.m.d.comb += total.eq(fixed.tree_sum(terms) if terms else 0)
    s.claim("their sum is the product", total == (a * (factor % 2**16))[:16])
    s.reach("a large number", a > 0xFF00)


@spec(
    fixed.registered_product,
    cases={"5 bits times 5 bits": {}},
    mutants={
        "a product that is late": (
            "return two_levels(m, by_bits(a, b))",
            "return registered(m, two_levels(m, by_bits(a, b)))",
        )
    },
)
def in_two_cycles(s: Scene, function) -> None:
    """a * b, two cycles later."""
    a, b = s.free(unsigned(5), "a"), s.free(signed(5), "b")
    found = function(s.m, a, b)
    expected = Signal(signed(10))
    s.m.d.comb += expected.eq(a * b)
    s.claim(
        "the product of two cycles ago", ~s.ago(s.begun) | (found == s.ago(expected, 2).as_signed())
    )
    s.reach("a product below 0", s.ago(s.begun) & (found < -100))
