"""docs/architecture.md and its figure against the design: every number is one of its properties."""

import importlib.util
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from gen.rtl import image
from golden.presets import PRESETS
from hw import timing
from hw.network import Accelerator
from tests.helpers import (
    FEW_ENTRIES,
    load_payloads,
    random_codes,
    random_program,
    receiver,
    recorder,
    sender,
    simulate,
    small,
    vector_payloads,
)

DOCS = Path(__file__).parents[2] / "docs"
TEXT = (DOCS / "architecture.md").read_text()


def architecture():
    """docs/figures/architecture.py, which is in no package."""
    spec = importlib.util.spec_from_file_location("figure", DOCS / "figures" / "architecture.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


FIGURE = architecture()
CHIP = Accelerator(PRESETS["vowels"].description)
AT = FIGURE.Cycles(CHIP)
LAYER, HEAD = CHIP.layers[0].shape, CHIP.head.shape


def drawn(path):
    """The texts of a figure, in its order."""
    root = ElementTree.parse(path).getroot()
    return [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]


def said(words):
    """Whether the document has these words, however its lines are broken."""
    return " ".join(words.split()) in " ".join(TEXT.split())


def test_the_figure_is_what_its_script_draws(tmp_path):
    FIGURE.draw(tmp_path / "now.svg")
    wanted = drawn(tmp_path / "now.svg")
    assert len(wanted) > 100
    assert drawn(FIGURE.FIGURE) == wanted, "run docs/figures/architecture.py"


def test_the_table_of_one_step():
    period, lanes, gates = timing.period(LAYER), LAYER.lanes, LAYER.gates
    block, (first, *_) = gates * period, AT.h
    settle = timing.settle(LAYER)
    trials = f"{period}k + {settle} ... {period}k + {settle + period - 1}"
    wanted = {
        str(AT.x): "the last beat of x",
        "0": f"on the {LAYER.rows} rows",
        f"{period}k": f"select k, 0 to {LAYER.selects - 1}",
        trials: "four trials",
        f"{period}k + {AT.codes[0]}": "four codes",
        f"{block}b + {AT.complete[0]}": "block b of four units is complete",
        ", ".join(f"{block}b + {cycle}" for cycle in first): "its four h, two units a cycle",
        str(AT.release): "the rows are released",
        str(AT.complete[-1]): "last block complete",
        ", ".join(map(str, AT.h[-1])): "its h",
        str(AT.next): "next step on the rows",
    }
    section = TEXT.partition("## One step of `vowels`")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (-?\d[^|]*) \| [^|]* \| ([^|]*) \|$", section.partition("**")[0], re.M)
    assert [cycle for cycle, _ in rows] == list(wanted)
    for cycle, what in rows:
        assert wanted[cycle] in what
    assert (lanes, timing.adc_cycles(LAYER.description.adc), timing.units_per_beat(LAYER)) == (
        4,
        4,
        2,
    )


def test_the_words_about_one_step():
    network, adc = LAYER.description.network, LAYER.description.adc
    assert said(
        f"{network.inputs} inputs, {LAYER.units} units, {HEAD.units} classes, {LAYER.lanes} lanes, "
        f"a {adc.bits}-bit SAR, settle = {timing.settle(LAYER)}."
    )
    *samples, last = AT.head_samples
    assert said(
        f"h on the head's rows in {AT.head_rows}, samples in {', '.join(map(str, samples))} and "
        f"{last}, codes in {', '.join(map(str, AT.head_codes[:-1]))} and {AT.head_codes[-1]}, nine "
        f"scores from {AT.scores[0]} to {AT.scores[-1]}, the class in {AT.label}."
    )
    assert said(f"a step would take {timing.loop_cycles(LAYER, 1)} cycles")


def test_cycles_a_step():
    block = TEXT.partition("## Cycles a step")[2].partition("```")[2].partition("```")[0]
    head, *terms, total = block.strip().splitlines()
    assert f" {LAYER.samples - 1} * {timing.period(LAYER)} = {AT.samples[-1]} " in head
    numbers = [AT.samples[-1], *(int(re.search(r"  (\d+)  ", term)[1]) for term in terms)]
    wanted = [
        AT.samples[-1],
        timing.readout_latency(LAYER),
        timing.gate_latency(LAYER),
        len(AT.h[-1]) - 1,
        timing.feedback_latency(LAYER.description),
    ]
    assert numbers == wanted
    assert total.split() == ["=", str(sum(wanted))] == ["=", str(CHIP.cycles_per_step)]
    conversion, step = timing.conversion_cycles(LAYER), CHIP.cycles_per_step
    assert said(f"`samples * period` = {conversion} of them. The other {step - conversion} are")
    cycles = (5687 - 370) * step + 370 * conversion
    assert said(f"(5687 - 370) * {step} + 370 * {conversion} = {cycles:,} cycles")


@pytest.mark.parametrize(
    "description",
    [
        small(cell=FEW_ENTRIES, array={"lanes": 2}),
        pytest.param(
            small(
                cell=FEW_ENTRIES,
                array={"lanes": 3, "rows": 4, "settle": 5},
                dac={"bits": 3, "kind": "bit-serial"},
            ),
            marks=pytest.mark.slow,
        ),
        pytest.param(PRESETS["vowels"].description, marks=pytest.mark.slow),
    ],
    ids=["small", "summed", "vowels"],
)
def test_the_cycles_are_those_of_the_logic(description):
    """A simulated sequence of one step does everything when `Cycles` says."""
    program = random_program(description, 0)
    chip = Accelerator(description)
    x = random_codes(description, 0, 1, 1, description.network.inputs)
    (layer,), head = chip.layers, chip.head
    watched = {
        "x": layer.i.valid & layer.i.ready,
        "samples": layer.array.readout.sample,
        "codes": layer.array.o.valid & layer.array.o.ready,
        "h": layer.o.valid & layer.o.ready,
        "release": layer.dac.o.valid & layer.dac.o.ready,
        "head_samples": head.array.readout.sample,
        "head_codes": head.array.o.valid & head.array.o.ready,
        "head_release": head.dac.o.valid & head.dac.o.ready,
        "scores": head.scores.o.valid & head.scores.o.ready,
        "label": chip.o.valid & chip.o.ready,
    }
    seen = {name: [] for name in watched}

    async def host(ctx):
        await sender(chip.load, load_payloads(image.words(program)))(ctx)
        await sender(chip.i, vector_payloads(x, [1], chip.input_beat))(ctx)

    watchers = [recorder(valid, valid, seen[name]) for name, valid in watched.items()]
    simulate(chip, host, receiver(chip.o, 1, []), watchers=watchers)
    start, _ = seen["samples"][0]
    at = FIGURE.Cycles(chip)
    for name, records in seen.items():
        wanted = getattr(at, name)
        wanted = [wanted] if isinstance(wanted, int) else wanted
        if name == "h":
            wanted = [cycle for block in wanted for cycle in block]
        assert [cycle - start for cycle, _ in records][-len(wanted) :] == wanted, name
        assert name == "x" or len(records) == len(wanted), name
