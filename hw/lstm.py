"""LSTM gate pipeline: from the ADC codes of i, f, g, o to c and h."""

from typing import cast

from amaranth.hdl import Module, Mux, Signal, Value, signed

from golden.cells.lstm import LstmCell
from hw import timing
from hw.fixed import by_bits, half_up, narrow, saturate, together, tree_sum
from hw.gates import GatePipeline, dac_code, stage


class LstmGates(GatePipeline):
    """The LSTM cell; `tanh_table` is loaded too, its address is the index of c."""

    def elaborate(self, platform: object) -> Module:
        """One comment a stage; 0 and 1 are in the base."""
        m = Module()
        cell = cast(LstmCell, self.shape.description.cell)
        places = range(timing.units_per_beat(self.shape))
        advance = Signal()
        carried, tables = self._front(m, advance)
        c_write, c_read = self._state(m, carried[2], advance & carried[0])

        # Stage 2: i, f, g, o and the c before; products.
        valid, codes, word, first, last = stage(m, advance, carried)
        before = [Signal(signed(cell.state_bits), name=f"before_{place}") for place in places]
        m.d.comb += [before[n].eq(Mux(first, 0, c_read[n])) for n in places]
        carried = [valid, codes, word, last]
        carried, (before, *tables) = self._apart(m, advance, carried, [before, *tables])
        fc, ig, o = [], [], []
        for place in places:
            i_, f_, g_, o_ = (table[place] for table in tables)
            fc.append(self._product(f_[: cell.gate_bits], before[place]))
            ig.append(self._product(i_[: cell.gate_bits], g_.as_signed()))
            o.append(o_[: cell.gate_bits])

        # Stage 3: c = saturate(half_up((f * c + i * g) >> n)).
        valid, codes, word, last, fc, ig, o = stage(m, advance, [*carried, fc, ig, o])
        carried, sums = self._apart(
            *(m, advance, [valid, codes, word, last, o]),
            [half_up(tree_sum([*a, *b]), cell.gate_bits) for a, b in zip(fc, ig, strict=True)],
        )
        valid, codes, word, last, o = carried
        c = [saturate(value, cell.state_range) for value in sums]
        m.d.comb += [c_write.addr.eq(word), c_write.en.eq(valid & advance)]
        m.d.comb += [c_write.data[place].eq(c[place]) for place in places]

        # Stage 4: the upper bits of c, and on to the table of tanh.
        carried = stage(m, advance, [valid, codes, last, o, c])
        upper = [narrow(v, cell.state_index_shift, cell.state_index_range) for v in carried[-1]]
        carried, upper = self._apart(m, advance, carried, upper)
        tanh = self._cell_table(m, "tanh_table", advance & carried[0])
        for place in places:
            m.d.comb += tanh[place].addr.eq(upper[place].as_unsigned())

        # Stage 5: o * tanh(c).
        found = [port.data for port in tanh]
        carried, of_c = self._apart(m, advance, carried, found, read=True)
        valid, codes, last, o, c = stage(m, advance, carried)
        terms = [self._product(o[place], of_c[place].as_signed()) for place in places]

        # Stage 6: h as a DAC code.
        valid, codes, last, c, terms = stage(m, advance, [valid, codes, last, c, terms])
        carried, product = self._apart(
            *(m, advance, [valid, codes, last, c], [tree_sum(of_place) for of_place in terms])
        )
        valid, codes, last, c = carried
        h = [dac_code(product[place], self.shape) for place in places]
        (valid, codes, last, c), h = self._apart(m, advance, [valid, codes, last, c], h)
        self._back(m, valid, last, codes, h, c=c)
        return m

    def _product(self, a: Value, b: Value) -> list[Value]:
        """Terms of a * b, of which a is the one of fewer bits: one; in the deep pipeline partial
        products, since an FPGA makes those near by, while its multipliers are far away."""
        return together(by_bits(a, b)) if self.shape.deep else [a * b]
