"""Gate pipeline of the vanilla RNN: from ADC codes to h."""

from amaranth.hdl import Module

from hw.gates import GatePipeline


class RnnGates(GatePipeline):
    """Vanilla RNN cell (docs/contract.md, 5 to 7): one gate, whose table of tanh holds h."""

    def elaborate(self, platform: object) -> Module:
        """Stage 2 of docs/contract.md, 7; the base has stages 0 and 1."""
        m = Module()
        pipe = self._pipeline(m)
        s, entry = self._front(pipe)

        # Stage 2: h as a DAC code.
        s = s.next("codes", "last")
        p = pipe.net("p", [value.as_signed() for value in entry["h"]])
        s = s.apart(h=self._dac_codes(pipe, p))
        self._back(pipe, s)
        return m
