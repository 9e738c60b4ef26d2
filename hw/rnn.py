"""Gate pipeline of the vanilla RNN: from ADC codes to h."""

from amaranth.hdl import Module, Signal

from hw.gates import GatePipeline, dac_code, stage


class RnnGates(GatePipeline):
    """The vanilla cell: one gate, whose table of tanh gives h."""

    def elaborate(self, platform: object) -> Module:
        """One comment a stage; 0 and 1 are in the base."""
        m = Module()
        advance = Signal()
        carried, (tanh,) = self._front(m, advance)

        # Stage 2: h as a DAC code.
        valid, codes, _, _, last = stage(m, advance, carried)
        h = [dac_code(entry.as_signed(), self.shape) for entry in tanh]
        (valid, codes, last), h = self._apart(m, advance, [valid, codes, last], h)
        self._back(m, valid, last, codes, h)
        return m
