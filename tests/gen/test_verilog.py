"""The Verilog that is emitted: proved to be Amaranth's netlist, readable, the same each time."""

import random

import pytest
from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal, signed, unsigned
from amaranth.lib import data, fifo, memory, wiring
from amaranth.lib.wiring import In, Out

from gen.impl import readable
from gen.rtl import verilog
from gen.verilog.components import to_verilog
from golden.presets import PRESETS
from hw.adc import Readout
from hw.dac import DacSequencer
from hw.head import ArgMax, Scores
from hw.levels import LevelTable
from hw.lstm import LstmGates
from hw.replay import Replay
from hw.rnn import RnnGates
from hw.voter import Voter
from tests.gen.equivalence import unproven
from tests.helpers import small

# Memories of 2^n words: beyond the last one of another, each has words of its own.
TINY = {"gate_bits": 4, "state_bits": 6, "hidden_bits": 5, "state_index_bits": 4, "frac": 0}
SIZES = {"hidden": [4], "classes": 4}
SHORT = small(cell=TINY, network=SIZES)
DEEP = small(cell=TINY, network=SIZES, array={"pipeline": "deep", "settle": 23})
RNN = small(cell={"kind": "rnn", "frac": 0}, network=SIZES)
VOTES = small(cell=TINY, network=SIZES, dac={"bits": 1}, voting={"replay_steps": 4})


def dac(description):
    return DacSequencer(inputs=3, beat=2, units=4, units_per_beat=2, description=description)


BLOCKS = {
    "dac": lambda: dac(SHORT),
    "dac, deep": lambda: dac(DEEP),
    "readout": lambda: Readout(SHORT.layers[0]),
    "lstm": lambda: LstmGates(SHORT.layers[0]),
    "lstm, deep": lambda: LstmGates(DEEP.layers[0]),
    "rnn": lambda: RnnGates(RNN.layers[0]),
    "scores": lambda: Scores(SHORT.head),
    "arg max": lambda: ArgMax(SHORT),
    "voter": lambda: Voter(VOTES),
    "replay": lambda: Replay(beats=1, beat=3, description=VOTES),
    "levels": lambda: LevelTable(SHORT.layers[0]),
}


@pytest.mark.parametrize(
    "block",
    [pytest.param(b, marks=[pytest.mark.slow] * b.startswith("lstm")) for b in BLOCKS],
)
def test_a_block_is_proved_equal(block, tmp_path):
    assert unproven(BLOCKS[block](), tmp_path) == ""


class Anything(wiring.Component):
    """Operators, cases, records, memories and registers as they come."""

    def __init__(self, seed):
        self.seed, self.random = seed, random.Random(seed)
        members = {f"i{n}": In(self.shape()) for n in range(4)}
        members |= {f"o{n}": Out(self.shape()) for n in range(3)}
        layout = data.StructLayout({"a": signed(3), "b": data.ArrayLayout(unsigned(2), 3)})
        super().__init__(members | {"record": In(layout), "result": Out(layout)})

    def shape(self):
        return self.random.choice((signed, unsigned))(self.random.randint(1, 6))

    def value(self, values, depth=3):
        """An expression of some of these values."""
        pick = self.random.choice
        if not depth or self.random.random() < 0.2:
            if self.random.random() < 0.15:
                shape = self.shape()
                return Const(self.random.randint(-8, 7), shape)
            return pick(values)
        a, b, c = (self.value(values, depth - 1) for _ in range(3))
        low = self.random.randint(0, max(0, len(a) - 1))
        high = self.random.randint(low, len(a))
        bit = Const(self.random.randint(0, 1), 1)
        return pick(
            (
                lambda: a + b,
                lambda: a - b,
                lambda: a[:5] * b[:4],
                lambda: a & b,
                lambda: a | b,
                lambda: a ^ b,
                lambda: ~a,
                lambda: -a,
                lambda: a == b,
                lambda: a < b,
                lambda: a >= b,
                lambda: a != 0,
                lambda: Mux(c.any(), a, b),
                lambda: a << b[:2].as_unsigned(),
                lambda: a >> b[:3].as_unsigned(),
                lambda: a.as_signed() if len(a) else a,
                lambda: a.as_unsigned(),
                lambda: a[low:high],
                lambda: Cat(a, b),
                lambda: a.any(),
                lambda: a.all(),
                lambda: a.any() & bit,
                lambda: bit | a.any(),
                lambda: Mux(bit, a, b),
                lambda: a == Const(3, 2),
                lambda: (a.as_unsigned() >> 1) == 1,
                lambda: a.xor(),
                lambda: a.shift_right(1),
                lambda: a.shift_left(2),
                lambda: Array([a, b, c])[c[:2].as_unsigned()],
                lambda: a.bit_select(b[:3].as_unsigned(), 2),
            )
        )()

    def elaborate(self, _):
        self.random = random.Random(self.seed)  # the same each time
        m, pick = Module(), self.random.choice
        values = [getattr(self, f"i{n}") for n in range(4)]
        values += [self.record.a, self.record.b[1], self.record.as_value()]
        for n in range(self.random.randint(2, 5)):
            if self.random.random() < 0.4:
                net = Signal(self.shape(), name=f"net_{n}")
                m.d.comb += net.eq(self.value(values))
                values.append(net)
            register = Signal(
                self.shape(),
                name=pick((f"register_{n}", "again")),
                init=pick((0, 1)),
                reset_less=pick((False, True)),
            )
            domain = m.d.sync if self.random.random() < 0.8 else m.d.comb
            with m.If(self.value(values).any()):
                domain += register.eq(self.value(values))
                with m.If(self.value(values).any()):
                    domain += register[:1].eq(self.value(values))
            with m.Elif(self.value(values).any()):
                domain += register.eq(self.value(values, 1))
            with m.Switch(pick(values[:4])[:3]):
                with m.Case(0, 3):
                    domain += register.eq(self.value(values, 1))
                with m.Case(1):
                    domain += register.eq(0)
            values.append(register)
        if self.random.random() < 0.3:
            mem = memory.Memory(shape=unsigned(4), depth=4, init=[1, 2, 3][: pick((0, 3))])
            m.submodules.words = mem
            write = mem.write_port(granularity=pick((None, 2)))
            through = (write,) if pick((False, True)) and write.en.shape().width == 1 else ()
            read = mem.read_port(transparent_for=through)
            for port in (write.addr, write.data, read.addr):
                m.d.comb += port.eq(self.value(values, 1))
            m.d.comb += [write.en.eq(self.i0), read.en.eq(self.i1[0])]
            values.append(read.data)
        if self.random.random() < 0.2:
            m.submodules.queue = queue = fifo.SyncFIFO(width=3, depth=2)
            for port in (queue.w_data, queue.w_en, queue.r_en):
                m.d.comb += port.eq(self.value(values, 1))
            values += [queue.r_data, queue.r_rdy]
        for name in ("o0", "o1", "o2"):
            m.d.comb += getattr(self, name).eq(self.value(values))
        m.d.comb += self.result.a.eq(self.value(values))
        m.d.comb += self.result.b[2].eq(self.value(values, 1))
        return m


@pytest.mark.parametrize("seed", range(12))
def test_a_random_module_is_proved_equal(seed, tmp_path):
    assert unproven(Anything(seed), tmp_path) == ""


def test_a_wrong_sign_is_found(tmp_path):
    text = to_verilog(RnnGates(RNN.layers[0]), "top")
    wrong = text.replace("$signed(bias_h_0)", "$unsigned(bias_h_0)")
    assert wrong != text
    assert "a_sum_h_0" in unproven(RnnGates(RNN.layers[0]), tmp_path, wrong)


@pytest.mark.parametrize(
    "preset",
    ["vowels", *(pytest.param(p, marks=pytest.mark.slow) for p in ("mnist-rows", "vowels-deep"))],
)
def test_it_is_readable(preset):
    """Few nets lack a name of their own, and few expressions are repeated."""
    description = PRESETS[preset].description
    _, files = verilog.verilog_files(description)
    counted = readable.count(files[f"{description.name}.v"])
    assert counted.unnamed_share < 0.01, counted
    assert counted.repeated_share < 0.01, counted


def modules(description):
    """The ports of each module of a design's logic, by instance path."""
    _, files = verilog.verilog_files(description)
    found = {}
    for line in files[f"{description.name}.v"].splitlines():
        if line.startswith("module "):
            name = line.removeprefix("module ").rstrip(" (").lstrip("\\").rstrip()
            ports = found.setdefault(name.partition(".")[2], set())
        elif line.startswith(("  input ", "  output ")):
            ports.add(line.partition(" = ")[0].rstrip(",").split()[-1])
    return found


def test_names_do_not_depend_on_what_else_is_there():
    """A constraint on a port or a net survives another network."""
    short, deep = modules(SHORT), modules(DEEP)
    assert short.keys() == deep.keys() and len(short) > 10
    for path, ports in short.items():
        assert ports == deep[path], path
    gates = LstmGates(SHORT.layers[0])
    declared = {"__".join(map(str, path)) for path, *_ in gates.signature.flatten(gates)}
    assert short["layer_0.gates"] <= declared | {"clk", "rst"}
    wanted = {"a_f_0", "c_next_0", "h_0", "s1_codes"}
    for design in (SHORT, DEEP, VOTES):
        text = to_verilog(LstmGates(design.layers[0]), "top")
        assert wanted <= {word.strip(",;") for line in text.splitlines() for word in line.split()}
