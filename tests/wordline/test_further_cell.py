"""A further cell is one file in golden, one in hw, and a line in each registry.

This file has both parts of a minimal gated unit, the two-gate unit of Zhou et al. (arXiv
1603.09420) without the gate in front of its recurrent product, which one crossbar cannot have:

    f = sigmoid(W_f x + U_f h + b_f)    g = tanh(W_g x + U_g h + b_g)    h = f h + (1 - f) g

From here it goes through everything that the LSTM goes through, and no other file knows of it.
"""

from typing import Annotated, ClassVar, Literal

import pytest
import torch
from amaranth.hdl import Module, Mux
from pydantic import Field

import wordline
from golden import layer, tables
from golden.cells import CELLS
from golden.cells.cell import Cell, Frac, HiddenBits, State
from golden.dac import feed_back
from golden.fixed import look_up, narrow
from golden.gates import pre_activation
from golden.injection import Injection
from golden.ranges import Range, symmetric_range
from golden.training.settings import Training
from golden.validation import Int, frozen
from hw import fixed, timing
from hw.gates import GatePipeline
from hw.layer import GATES
from tests.helpers import random_codes, random_program, run_gates, small
from wordline.flow import cache

# In golden: what the numbers are.


@frozen
class MguCell(Cell):
    """c has the resolution of the tables, h is c as a DAC code."""

    gates: ClassVar = ("f", "g")
    gate_functions: ClassVar = ("sigmoid", "tanh")
    noisy_vectors: ClassVar = 3  # f, g and c

    kind: Literal["mgu"] = "mgu"
    frac: Frac = 4
    gate_bits: Annotated[Int, Field(ge=4, le=12)] = 8
    hidden_bits: HiddenBits = 10

    @property
    def table_ranges(self):
        return (Range(0, 2**self.gate_bits - 1), self.state_range)

    @property
    def gate_units(self):
        return (2**self.gate_bits, None)

    @property
    def state_range(self):
        return symmetric_range(self.hidden_bits)

    def gate_latency(self, pipeline):
        return 10 if pipeline == "deep" else 5

    def step(self, index, c, program, shape, noise=None):
        gates = look_up(program.gate_tables, index, shape.index_range)
        if noise is not None:
            gates = noise.add_rounded(gates, 2)
        f, g = gates.unbind(1)
        c = quiet = narrow(f * c + (2**self.gate_bits - f) * g, self.gate_bits, self.state_range)
        if noise is not None:
            c = narrow(noise.add_rounded(c[:, None], 4)[:, 0], 0, self.state_range)
        return State(c, feed_back(c, shape.description), quiet)

    def float_step(self, a, c, noise=None):
        gates = torch.cat([a[:, :1].sigmoid(), a[:, 1:].tanh()], 1)
        if noise is not None:
            gates = noise.add(gates, 2)
        f, g = gates.unbind(1)
        c = f * c + (1 - f) * g
        if noise is not None:
            c = noise.add(c[:, None], 4)[:, 0]
        return c, c


# In hw: how they are made.


class MguGates(GatePipeline):
    def elaborate(self, platform):
        m = Module()
        cell, places = self.shape.description.cell, range(timing.units_per_beat(self.shape))
        pipe = self._pipeline(m)
        s, entry = self._front(pipe)
        c_write, c_read = self._state(pipe, s)

        # Stage 2: f, g and the c before.
        s = s.next("codes", "word", "first", "last")
        s = s.apart(c=[Mux(s.first, 0, c_read[n]) for n in places], entry=entry)
        f = pipe.net("f", [s.entry["f"][n][: cell.gate_bits] for n in places])
        sums = []
        for n in places:
            terms = [f[n] * s.c[n].as_signed(), self.rest(f[n]) * s.entry["g"][n].as_signed()]
            sums.append(fixed.half_up(fixed.tree_sum(terms), cell.gate_bits))

        # Stage 3: c.
        s = s.next("codes", "word", "last", sums=sums)
        s = s.apart()
        c = [fixed.saturate(value.as_signed(), cell.state_range) for value in s.sums]
        m.d.comb += [c_write.addr.eq(s.word), c_write.en.eq(s.moves)]
        m.d.comb += [c_write.data[n].eq(c[n]) for n in places]

        # Stage 4: h.
        s = s.next("codes", "last", c=pipe.net("c_next", c))
        s = s.apart(h=self._dac_codes(pipe, s.c))
        self._back(pipe, s, c=s.c)
        return m

    def rest(self, f):
        """1 - f."""
        return (2**self.shape.description.cell.gate_bits - f).as_signed()


class WrongGates(MguGates):
    """A planted fault: an LSB is missing from 1 - f."""

    def rest(self, f):
        return (2**self.shape.description.cell.gate_bits - 1 - f).as_signed()


# In the registries.


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    monkeypatch.setitem(CELLS, "mgu", MguCell)
    monkeypatch.setitem(GATES, "mgu", MguGates)


MGU = {"kind": "mgu", "frac": 2, "gate_bits": 6, "hidden_bits": 9}


@pytest.mark.parametrize("pipeline", ["short", "deep"])
def test_its_logic_is_golden(pipeline):
    settle = {"short": 3, "deep": 23}[pipeline]
    array = {"lanes": 4, "settle": settle, "pipeline": pipeline}
    description = small(network={"hidden": [7]}, cell=MGU, array=array)
    program = random_program(description, 1).layers[0]
    shape, cell = description.layers[0], description.cell
    generator = torch.Generator().manual_seed(1)
    low, high = shape.code_range
    codes = torch.randint(low, high + 1, (12, 2, 7), generator=generator)
    h, traces = run_gates(description, codes, [5, 7], program, None)
    wanted = []
    for sequence in codes.split([5, 7]):
        c = torch.zeros(1, 7, dtype=torch.int64)
        for step in sequence:
            index = pre_activation(step[None], program.bias, shape)
            c, step_h, _ = cell.step(index, c, program, shape)
            wanted.append((c[0], step_h[0]))
    wanted_c, wanted_h = (torch.stack(values) for values in zip(*wanted, strict=True))
    c = torch.tensor([[int(v) for v in trace.c] for _, trace in traces]).reshape(12, -1)[:, :7]
    assert torch.equal(h, wanted_h) and torch.equal(c, wanted_c)


def test_its_float_reference_and_noise():
    """In the resolution of a chip with many bits, golden is the float reference."""
    fine = MGU | {"frac": 8, "gate_bits": 12, "hidden_bits": 12}
    description = small(network={"hidden": [9]}, cell=fine, dac={"bits": 8}, adc={"bits": 8})
    shape, cell = description.layers[0], description.cell
    program = random_program(description, 0).layers[0]
    step = torch.full((2,), 8.0 / 2**shape.index_bits, dtype=torch.float64)
    assert torch.equal(program.gate_tables.double(), program.gate_tables.double().round())
    index = torch.randint(*shape.index_range, (30, 2, 9), generator=torch.Generator())
    program = program.of(
        program.tensors() | {"gate_tables": tables.gate_tables(step, shape).long()}
    )
    c = torch.randint(*cell.state_range, (30, 9), generator=torch.Generator())
    found = cell.step(index, c, program, shape)
    real, _ = cell.float_step(index * step[:, None], c / description.hidden_unit)
    assert (found.c / description.hidden_unit - real).abs().max() < 1e-3
    x = random_codes(description, 0, 20, 4, 3)
    noise = Injection(snr_db=0.0, placement="every")
    runs = torch.arange(20)
    loud = layer.run(program, x, shape, runs, noise)
    quiet = layer.run(program, x, shape, runs)
    assert not torch.equal(loud.c, quiet.c) and torch.equal(loud.codes[:, 0], quiet.codes[:, 0])


def test_from_training_to_the_comparison(tmp_path, monkeypatch):
    """Trained, in float and in 4 bits, emitted, and simulated in Verilator; then with a fault."""
    monkeypatch.chdir(tmp_path)
    description = wordline.Description.from_dict(
        {
            "name": "gated",
            "network": {"inputs": 12, "hidden": [8], "classes": 9},
            "array": {"lanes": 1},
            "cell": MGU,
        }
    )
    training = Training(dataset="vowels", float_epochs=20, epochs=3)
    recipe = wordline.Recipe(description, training)
    trained = wordline.train(recipe)
    print(training.seed, trained.reference, trained.golden, trained.seconds)
    assert trained.reference["accuracy"] > 0.85 and trained.golden["accuracy"] > 0.8
    right = wordline.simulate(recipe, first=8)
    assert right.passed and right.values_compared > 1000, right.first_difference
    before = cache.emission("mgu")
    monkeypatch.setitem(GATES, "mgu", WrongGates)
    assert cache.emission("mgu") != before  # what is kept is not taken for the other's
    wrong = wordline.simulate(recipe, first=8)
    assert not wrong.passed and "layers.0" in str(wrong.first_difference)
