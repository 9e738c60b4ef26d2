"""What several tests need: random programs, and streams in Amaranth's simulator."""

import random
from collections.abc import Callable, Iterable
from typing import Any

import torch
from amaranth.sim import Simulator
from hypothesis import strategies as st

from golden import tables
from golden.description import ArrayShape, Description
from golden.program import HeadProgram, LayerProgram, Program

SMALL = {"name": "small", "network": {"inputs": 3, "hidden": [5], "classes": 4}}
"""A description that simulates in seconds."""


def small(**sections: Any) -> Description:
    """SMALL with sections replaced."""
    return Description.from_dict(SMALL).replace(**sections)


@st.composite
def descriptions(draw: Any, *, most_rows: int = 12) -> Description:
    """Any description that is small enough to simulate: every bit width, odd sizes, 1 upwards."""
    whole = st.integers
    weight_bits = draw(whole(1, 8))
    gate_bits = draw(whole(4, 8))
    state_bits = draw(whole(gate_bits + 2, 14))
    dac_bits = draw(whole(1, 8))
    hidden = draw(st.lists(whole(1, most_rows // 2), min_size=1, max_size=2))
    return Description.from_dict(
        {
            "name": "drawn",
            "network": {
                "inputs": draw(whole(1, most_rows // 2)),
                "hidden": hidden,
                "classes": draw(whole(1, 6)),
            },
            "device": {
                "weight_bits": weight_bits,
                "conductance_bits": draw(whole(max(1, weight_bits - 1), 8)),
            },
            "array": {
                "lanes": draw(whole(1, 7)),
                "beat": draw(whole(1, 7)),
                "settle": draw(whole(3, 6)),
            },
            "dac": {"bits": dac_bits},
            "adc": {"bits": draw(whole(3, 10)), "gain_bits": draw(whole(6, 12))},
            "cell": {
                "frac": draw(whole(0, 2)),
                "gate_bits": gate_bits,
                "state_bits": state_bits,
                "state_index_bits": draw(whole(4, min(8, state_bits))),
                "hidden_bits": draw(whole(max(3, dac_bits), 9)),
            },
        }
    )


def random_program(description: Description, seed: int) -> Program:
    """A program of random numbers over their full ranges, gains such that codes spread."""
    generator = torch.Generator().manual_seed(seed)

    def draw(low: int, high: int, *size: int) -> torch.Tensor:
        return torch.randint(low, high + 1, size, generator=generator)

    def array(shape: ArrayShape) -> dict[str, torch.Tensor]:
        cells = (shape.gates, shape.units, shape.rows)
        most = description.device.conductance_max
        # Typical charge is far below the bound, by sqrt(rows): put it in the ADC's range.
        gain = min(2**description.adc.gain_bits - 1, int(100 * shape.rows**0.5))
        return {
            "positive": draw(0, most, *cells),
            "negative": draw(0, most, *cells),
            "gain": draw(max(1, gain // 2), gain, shape.gates),
        }

    low, high = description.index_range
    layers = []
    for shape in description.layers:
        step = 0.5 + torch.rand(shape.gates, generator=generator).double()
        step *= 8.0 / 2**description.index_bits
        layers.append(
            LayerProgram(
                **array(shape),
                bias=draw(low // 4, high // 4, shape.gates, shape.units),
                gate_tables=tables.gate_tables(step, description).long(),
                tanh_table=tables.tanh_table(description).long(),
            )
        )
    head = HeadProgram(**array(description.head), bias=draw(low, high, description.head.units))
    channels = description.network.inputs
    return Program(
        description=description,
        layers=tuple(layers),
        head=head,
        input_mean=torch.zeros(channels, dtype=torch.float64),
        input_step=torch.ones(channels, dtype=torch.float64),
    )


def random_codes(description: Description, seed: int, *size: int) -> torch.Tensor:
    """Random DAC codes of a shape."""
    low, high = description.dac.range
    codes = torch.randint(low, high + 1, size, generator=torch.Generator().manual_seed(seed))
    return torch.where(codes == 0, 1, codes) if description.dac.bits == 1 else codes


def simulate(dut: Any, *processes: Callable, watchers: Iterable[Callable] = ()) -> None:
    """Run testbenches on `dut` until every one of `processes` has ended."""
    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    for process in processes:
        simulator.add_testbench(process)
    for watcher in watchers:
        simulator.add_testbench(watcher, background=True)
    simulator.run()


def sender(stream: Any, payloads: list, seed: int | None = None) -> Callable:
    """A testbench that sends payloads, with random pauses if a seed is given."""
    waits = random.Random(seed)

    async def process(ctx: Any) -> None:
        for payload in payloads:
            while seed is not None and waits.random() < 0.4:
                await ctx.tick()
            ctx.set(stream.payload, payload)
            ctx.set(stream.valid, 1)
            await ctx.tick().until(stream.ready)
            ctx.set(stream.valid, 0)

    return process


def receiver(stream: Any, count: int, into: list, seed: int | None = None) -> Callable:
    """A testbench that takes `count` payloads, with random pauses if a seed is given."""
    waits = random.Random(seed)

    async def process(ctx: Any) -> None:
        while len(into) < count:
            while seed is not None and waits.random() < 0.4:
                await ctx.tick()
            ctx.set(stream.ready, 1)
            (payload,) = await ctx.tick().sample(stream.payload).until(stream.valid)
            into.append(payload)
            ctx.set(stream.ready, 0)

    return process
