"""Efficiency: what crossbars save against multiply-accumulate arrays, in TOPS/W and TOPS/mm2.

After the benchmark of Ma et al., arXiv 2002.10636: at least 2.4 times the TOPS/W and 40 times the
TOPS/mm2 of digital GPUs, FPGAs and ASICs. What is compared there, and how, could not be read. Ours
is the same network in gates with either body of the macros (gen/cost/ppa.py), with published
accelerators beside it.
"""

import dataclasses
from dataclasses import dataclass
from typing import Any

from gen.cost import components, macros, ppa, sweep, technology
from gen.cost.counts import Counted, from_dict
from golden import presets
from wordline.jobs import Job, Runner
from wordline.studies import efficiency_sizes
from wordline.studies.common import claim
from wordline.studies.efficiency_report import figures, tables
from wordline.studies.efficiency_sizes import PAPER

__all__ = ["FULL", "STUDY", "figures", "tables"]

Fields = dict[str, Any]

BITS = 4
"""Of inputs and of weights: what published figures are taken to, and what is assumed of a weight
that is an analog conductance."""


@dataclass(frozen=True)
class Anchor:
    """A published accelerator. weight_bits: None of analog ones. tops_per_mm2: None where no area
    is known. kind: what the figures are of."""

    name: str
    memory: str
    node: int
    input_bits: int
    weight_bits: int | None
    tops_per_watt: float
    tops_per_mm2: float | None
    kind: str
    source: str

    @property
    def digital(self) -> bool:
        """Whether it multiplies in logic."""
        return self.weight_bits is not None and self.memory != "ReRAM"

    def normalised(self) -> Fields:
        """Its measures at BITS and at the node of `gen.cost.ppa`. A multiplication is taken to cost
        as the product of its operands' bits, and all of a chip to scale as logic does."""
        factors = technology.scale(self.node, ppa.NODE)
        work = self.input_bits * (self.weight_bits or BITS) / BITS**2
        area = self.tops_per_mm2
        return {
            "tops_per_watt": self.tops_per_watt * work / factors.energy,
            "tops_per_mm2": area and area * work / (factors.area * factors.delay),
        }


ANCHORS = (
    Anchor(
        *("RRAM, NLP", "RRAM", 16, 5, None, 47.9, 27.6, "chip, measured"),
        "Nature Communications 2025, s41467-025-56254-6: Penn Treebank by characters",
    ),
    Anchor(
        *("RRAM, keywords", "RRAM", 16, 5, None, 31.0, 39.5, "chip, measured"),
        "the same: 12 spoken words",
    ),
    Anchor(
        *("IBM, speech", "PCM", 14, 8, None, 6.94, 0.17, "chip, measured"),
        "Ambrogio et al., Nature 620 (2023)",
    ),
    Anchor(
        *("HERMES", "PCM", 14, 8, None, 10.5, 1.59, "core, measured"),
        "Khaddam-Aljameh et al., VLSI 2021",
    ),
    Anchor(
        *("ISAAC", "ReRAM", 32, 16, 16, 0.63, 0.48, "modelled"),
        "Shafiee et al., ISCA 2016",
    ),
    Anchor(
        *("PUMA", "ReRAM", 32, 16, 16, 0.42, 0.29, "modelled"),
        "Ankit et al., ASPLOS 2019",
    ),
    Anchor(
        *("Chipmunk", "SRAM", 65, 8, 8, 3.08, 0.03, "LSTM ASIC, peak"),
        "Conti et al., CICC 2018",
    ),
    Anchor(
        *(macros.IN_MEMORY.name, "SRAM", macros.IN_MEMORY.node, 4, 4),
        *(macros.IN_MEMORY.tops_per_watt, macros.IN_MEMORY.tops_per_mm2, "macro, measured"),
        macros.IN_MEMORY.source,
    ),
    Anchor(
        *("TPUv1", "SRAM", 28, 8, 8, 2.3, 0.28, "ASIC, peak"),
        "Jouppi et al., ISCA 2017",
    ),
    Anchor(
        *("T4", "DRAM", 12, 4, 4, 3.71, 0.477, "GPU, peak"),
        "NVIDIA, 2018: 260 TOPS at 4 bits, 70 W; die of 545 mm2",
    ),
    Anchor(
        *("EdgeDRNN", "DRAM", 28, 16, 8, 0.0083, None, "GRU on an FPGA, measured"),
        "Gao et al., IEEE JETCAS 10 (2020)",
    ),
)


@dataclass(frozen=True)
class Task:
    """A preset, and how many sequences of its test set go through its netlists."""

    preset: str
    sequences: int

    @property
    def dataset(self) -> str:
        """What it is trained and tested on."""
        return presets.load(self.preset).training.dataset


@dataclass(frozen=True)
class EfficiencyStudy:
    """What do crossbars save in TOPS/W and TOPS/mm2, against a digital twin?

    sizes: Designs that are estimated, in ascending order.
    """

    tasks: tuple[Task, ...]
    seeds: tuple[int, ...] = (0,)
    sizes: tuple[efficiency_sizes.Size, ...] = efficiency_sizes.SIZES

    def run(self, runner: Runner) -> Fields:
        """Train, map, simulate and count; returns what results.json holds."""
        (seed,) = self.seeds
        trained = {
            task.preset: Job(
                "wordline.studies.chip_runs:train_preset",
                {"dataset": task.dataset, "preset": task.preset, "seed": seed},
            )
            for task in self.tasks
        }
        runner.run("train", list(trained.values()))
        counts = {
            (task.preset, side): Job(
                "wordline.studies.chip_runs:count",
                {
                    **{"dataset": task.dataset, "program": trained[task.preset]},
                    **{"sequences": task.sequences, "side": side},
                },
            )
            for task in self.tasks
            for side in ppa.SIDES
        }
        found = runner.run("count in gates", list(counts.values()))
        counted = dict(zip(counts, found, strict=True))
        figures = components.read_figures()
        rows = []
        for task in self.tasks:
            sides = {side: counted[task.preset, side] for side in ppa.SIDES}
            row: Fields = {"preset": task.preset, "sequences": task.sequences}
            row["steps"] = sides["analog"]["counted"]["steps"]
            row["worth"] = {side: of["worth"] for side, of in sides.items()}
            ours, theirs = (from_dict(sides[side]["counted"]) for side in ppa.SIDES)
            row |= ppa.report(figures, ours, theirs)
            row["in_memory"] = _in_memory(ours, task, figures)
            rows.append(row)
        anchors = [
            dataclasses.asdict(a) | {"digital": a.digital, "normalised": a.normalised()}
            for a in ANCHORS
        ]
        sizes = efficiency_sizes.run(runner, self.sizes)
        published = macros.compared(figures)
        digital = [a for a in anchors if a["digital"] and a["name"] != macros.IN_MEMORY.name]
        claims = [claim_ for row in rows for claim_ in _claims(row)]
        return {
            "settings": dataclasses.asdict(self),
            "rows": rows,
            "sizes": sizes,
            "macros": published,
            "anchors": anchors,
            "figures": {name: dataclasses.asdict(figure) for name, figure in figures.items()},
            "claims": [
                *efficiency_sizes.claims(sizes, digital),
                *_macro_claims(published),
                *claims,
            ],
        }


def _in_memory(
    ours: Counted, task: Task, figures: components.Figures
) -> dict[str, dict[str, float]]:
    """Ratios of the whole accelerator to itself around in-memory logic, typical figures."""
    counts = sweep.Estimated(ours, sweep.work_of(presets.load(task.preset).description))
    ratios = sweep.ratios(sweep.sides(counts, sweep.values(figures, "typical")))
    return {name: of for name, of in ratios.items() if name.startswith("accelerator")}


def _claims(row: Fields) -> list[Fields]:
    claims = [
        claim(f"{row['preset']}: steps in gates, equal to golden", row["steps"], "steps", goal=1)
    ]
    for measure, unit in ppa.MEASURES.items():
        ratio, paper = row["ratio"][measure], PAPER[measure]
        words = f"{row['preset']}: {unit}, over the digital twin's"
        claims.append(claim(words, ratio["typical"], "times", goal=paper, anchor=paper))
        for case in ("low", "high"):
            claims.append(claim(f"{words}, {case}est", ratio[case], "times", goal=None))
        for anchor in ANCHORS:
            theirs = anchor.normalised()[measure]
            if anchor.digital and theirs is not None:
                ours = row["analog"][measure]["typical"] / theirs
                words = f"{row['preset']}: {unit}, over {anchor.name}'s"
                claims.append(claim(words, ours, "times", goal=None, anchor=paper))
        for name in sweep.compared(measure):
            if of := row["in_memory"].get(name):
                words = f"{row['preset']}: {unit}, {name}"
                claims.append(claim(words, of[measure], "times", goal=paper, anchor=paper))
    bit = 100 * (1 - row["next_adc_bit"]["tops_per_watt"])
    words = f"{row['preset']}: TOPS/W lost to another ADC bit"
    return [*claims, claim(words, bit, "%", goal=None)]


def _macro_claims(published: list[Fields]) -> list[Fields]:
    """How far the figures of silicon are from measured macros, as a factor of 1 or more. Those of
    area were solved from TOPS/mm2 (`gen.cost.macros`)."""
    claims = []
    for macro in published:
        for measure, unit in ppa.MEASURES.items():
            if (measured := macro["measured"][measure]) is not None:
                ratio = macro["predicted"]["high"][measure] / measured
                fit = " (fitted)" if measure == "tops_per_mm2" else ""
                words = f"{macro['name']}: {unit} from the figures of silicon, factor from measured"
                words += fit
                claims.append(claim(words, max(ratio, 1 / ratio), "times", goal=2.0, least=False))
    return claims


STUDY = EfficiencyStudy((Task("vowels", 2),))
FULL = EfficiencyStudy(
    (Task("vowels", 20), Task("strokes", 5), Task("har", 1), Task("mnist-rows", 1))
)
