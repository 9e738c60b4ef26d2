"""Crossbar model with the deep pipeline, for an FPGA."""

from amaranth.hdl import Module, Signal, Value

from hw import timing
from hw.fixed import registered, registered_product, saturate
from hw.macro.columns_deep import RowGroups, SerialColumns
from hw.macro.crossbar import BehaviouralCrossbar, Write

AFTER_NOISE = 5
"""Stages from a sample's noise to the held sample: charge, gain (two), error, code."""


class DeepCrossbar(BehaviouralCrossbar):
    """Crossbar model with the deep pipeline: at most a few additions between registers.

    A column is summed one group of rows per cycle, in the settling time of the sample.
    """

    def elaborate(self, platform: object) -> Module:
        """Cycle n + 1: sample, since inputs with a long route are registered first.

        From n + 2 on: groups of rows. n + settle - 5 at the latest: charge. n + settle - 4: with
        noise. n + settle - 2: times gain. n + settle - 1: converted, hold.
        """
        m = Module()
        shape, description = self.shape, self.shape.description
        taken = self._samples(m)
        inputs = {"sample": self.sample, "select": self.select, "rows": self.rows.as_value()}
        inputs = {name: registered(m, value) for name, value in inputs.items()}
        gain = self._held_gain(m, inputs["sample"], registered(m, self.gain))
        m.submodules.groups = groups = RowGroups(shape)
        m.d.comb += [getattr(groups, name).eq(value) for name, value in inputs.items()]
        cycles = timing.settle(shape) - AFTER_NOISE
        errors = self._errors(m, self._written(m), gain, load=1, cycles=cycles)

        m.d.comb += self.program.ready.eq(1)
        for lane, (read, lane_gain, error) in enumerate(errors):
            m.submodules[f"columns_{lane}"] = columns = SerialColumns(shape, groups)
            self._write(m, lane, columns)
            m.d.comb += [getattr(columns, n).eq(getattr(groups, n)) for n in SerialColumns.led]
            charge = registered(m, columns.charge + read)
            gained = registered_product(m, lane_gain, charge)
            converted = registered(m, (gained + error).shift_right(shape.adc_shift))
            # Trials are codes, so a sample beyond their range may saturate: fewer bits to compare.
            self._hold(m, lane, saturate(converted, description.adc.range), taken[-1])
        return m

    def _delayed(self, m: Module, value: Value) -> Value:
        """The value, registered: one cycle later."""
        return registered(m, value)

    def _product(self, m: Module, a: Value, b: Value) -> Value:
        """a * b, two cycles later."""
        return registered_product(m, a, b)

    def _written(self, m: Module) -> Write:
        """The write on `parameters`, one cycle later."""
        port = self.parameters
        enable = Signal(name="parameters_enable")  # reset cancels the write of a run
        m.d.sync += enable.eq(port.enable)
        return enable, registered(m, port.address), registered(m, port.data)
