"""Gate pipeline of the LSTM: from ADC codes of i, f, g, o to c and h."""

from typing import cast

from amaranth.hdl import Module, Mux, Value

from golden.cells.lstm import LstmCell
from hw import timing
from hw.fixed import by_bits, half_up, saturate, together, tree_sum
from hw.gates import GatePipeline


class LstmGates(GatePipeline):
    """LSTM cell: c and h of `units_per_beat` units per cycle (docs/contract.md, 5 to 7).

    tanh_table (in): write port of the table of tanh(c). Address: index of c, in two's complement.

    A net `f_0` belongs to the first unit of the beat. `s3_...` are the registers of stage 3.
    """

    def elaborate(self, platform: object) -> Module:
        """Stages of docs/contract.md, 7; the base has stages 0 and 1.

        Stage numbers in the comments are those of the short pipeline.
        """
        m = Module()
        cell = cast(LstmCell, self.shape.description.cell)
        pipe = self._pipeline(m)
        places = range(timing.units_per_beat(self.shape))
        s, entry = self._front(pipe)
        c_write, c_read = self._state(pipe, s)

        # Stage 2: f * c and i * g.
        s = s.next("codes", "word", "first", "last")
        c = pipe.net("c", [Mux(s.first, 0, c_read[n]) for n in places])
        s = s.apart(c=c, entry=entry)
        i = pipe.net("i", [s.entry["i"][n][: cell.gate_bits] for n in places])
        f = pipe.net("f", [s.entry["f"][n][: cell.gate_bits] for n in places])
        g = pipe.net("g", [s.entry["g"][n].as_signed() for n in places])
        o = pipe.net("o", [s.entry["o"][n][: cell.gate_bits] for n in places])
        f_c = pipe.net("f_c", [self._product(f[n], s.c[n]) for n in places])
        i_g = pipe.net("i_g", [self._product(i[n], g[n]) for n in places])

        # Stage 3: c' = narrow(f * c + i * g, n).
        s = s.next("codes", "word", "last", f_c=f_c, i_g=i_g, o=o)
        c_sum = [tree_sum([*terms(s.f_c[n]), *terms(s.i_g[n])]) for n in places]
        c_sum = pipe.net("c_sum", c_sum)
        half_up_c = [half_up(value, cell.gate_bits) for value in c_sum]
        s = s.apart(c_rounded=pipe.net("c_rounded", half_up_c))
        c_next = pipe.net("c_next", [saturate(value, cell.state_range) for value in s.c_rounded])
        m.d.comb += [c_write.addr.eq(s.word), c_write.en.eq(s.moves)]
        m.d.comb += [c_write.data[n].eq(c_next[n]) for n in places]

        # Stage 4: u = narrow(c', d), read the tanh table at u.
        s = s.next("codes", "last", "o", c=c_next)
        u_rounded = pipe.net("u_rounded", [half_up(c, cell.state_index_shift) for c in s.c])
        u = pipe.net("u", [saturate(value, cell.state_index_range) for value in u_rounded])
        s = s.apart(u=u)
        tanh = self._cell_table(pipe, "tanh_table", s, s.u)
        s, (tanh,) = s.looked_up(tanh=tanh)

        # Stage 5: p = o * tanh(c').
        s = s.next("codes", "last", "o", "c")
        p = pipe.net("p", [self._product(s.o[n], tanh[n].as_signed()) for n in places])

        # Stage 6: h as a DAC code.
        s = s.next("codes", "last", "c", p=p)
        s = s.apart(p=[tree_sum(terms(p)) for p in s.p])
        s = s.apart(h=self._dac_codes(pipe, s.p))
        self._back(pipe, s, c=s.c)
        return m

    def _product(self, a: Value, b: Value) -> Value | list[Value]:
        """a * b; in the deep pipeline, sums of its partial products.

        There is one partial product per bit of a, so a is best the narrower factor. An FPGA adds
        partial products locally, while its multipliers are far away.
        """
        return together(by_bits(a, b)) if self.shape.deep else a * b


def terms(product: Value | list[Value]) -> list[Value]:
    """Terms whose sum is the product."""
    return product if isinstance(product, list) else [product]
