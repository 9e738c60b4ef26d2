"""What tests of reports share: folders of runs that no simulator made, and a reader of pages."""

import dataclasses
import html.parser
import json
import re

import numpy as np
import torch

from gen.rtl import vectors
from golden import effects as effects_
from golden import files
from sim.benches import scoreboard
from sim.benches.scoreboard import Output, Scoreboard
from tests.helpers import random_codes, random_program, small
from wordline.flow import emit, record, simulate

SEED, SEQUENCES, STEPS = 3, 24, 7

DESIGN = small(name="tiny", network={"inputs": 3, "hidden": [5, 4], "classes": 4})


def golden_program(description=DESIGN, **votes):
    return dataclasses.replace(random_program(description, SEED, noisy=False), **votes)


def run_folder(
    folder,
    program,
    rtl=None,
    *,
    spoil=None,
    effects=None,
    labels="own",
    command="wordline sim tiny",
):
    """A folder as `wordline sim` leaves it, whose RTL computed what the program `rtl` gives.

    spoil: Changes what the RTL computed. effects: Of both sides. labels: "own": golden's classes
    but for every fifth sequence.
    """
    effects = effects or effects_.Effects()
    description, ideal = program.description, program
    program = effects_.apply(program, effects)
    rtl = effects_.apply(rtl or ideal, effects)
    lengths = torch.tensor([1 + n % STEPS for n in range(SEQUENCES)])
    x = random_codes(description, SEED, SEQUENCES, STEPS, description.network.inputs)
    emit.emit_all(program, x, lengths, folder)
    ideal.save(folder / "program.safetensors")
    wanted = vectors.load(folder / emit.VECTORS, description)
    given = vectors.make(rtl, x, lengths)
    if spoil is not None:
        spoil(given)
    sidecar = json.loads((folder / f"{description.name}.json").read_text())
    output = Output.of_vectors(sidecar, wanted)
    names = [n for n in wanted if n.startswith("layers.") or n == "scores"]
    board = Scoreboard()
    scoreboard.compare(board, wanted, {n: given[n] for n in names}, output, given[output.of])
    result = scoreboard.result(
        *(board,),
        lengths=lengths.numpy(),
        passes=len(wanted["layers.0.h"]),
        cycles=1234,
        output=output.flat(given[output.of]),
        golden_output=output.flat(wanted[output.of]),
        seconds=1.0,
    ) | {"passed": board.mismatches == 0, "runner": "batch", "edited": [], "not_compared": []}
    result |= {"stall": 0.0, "command": command}
    result["files"] = simulate._compared(folder, description.name, emit.VECTORS)
    if isinstance(labels, str):
        labels = torch.tensor(wanted["label"]).long()
        labels[::5] = (labels[::5] + 1) % description.network.classes
    told = effects_.describe(ideal, program, effects)
    seconds = {"train": 0.0, "simulate": 0.25, "total": 0.5}
    summary = simulate.summarise(program, told, result, labels, seconds, SEED)
    record.outputs(folder, program, result, labels)
    record.difference(folder, result)
    files.write_text(folder / "summary.json", json.dumps(summary, indent=1) + "\n")
    return summary


class Page(html.parser.HTMLParser):
    """A report, as far as a test reads it.

    charts: Specification of each chart by its address. tables: (head, rows) by (article, caption).
    answers: Text of each article without scripts and tables. addresses: All src and href.
    """

    def __init__(self, path):
        super().__init__()
        self.text = path.read_text(encoding="utf-8")
        self.charts, self.tables, self.answers, self.addresses = {}, {}, {}, []
        self.article = "header"
        self.inside, self.chart, self.rows, self.caption = [], None, None, ""
        self.feed(self.text)

    VOID = ("meta", "img", "br", "link")

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.addresses += [given[key] for key in ("src", "href") if key in given]
        if tag in self.VOID:
            return
        self.inside.append(tag)
        if tag in ("article", "noscript"):
            self.article = given.get("id", tag)
        elif tag == "script":
            self.chart = given.get("id")
        elif tag == "table":
            self.rows = []
        elif tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")
        elif tag == "summary":
            self.caption = ""

    def handle_endtag(self, tag):
        assert self.inside.pop() == tag, (self.article, tag)
        if tag == "table":
            self.tables[self.article, self.caption] = self.rows[0], self.rows[1:]
            self.rows = None

    def handle_data(self, data):
        where = self.inside[-1] if self.inside else ""
        if where == "script" and self.chart:
            self.charts[self.chart] = json.loads(data)
        elif where in ("td", "th"):
            self.rows[-1][-1] += data
        elif where == "summary":
            self.caption += data
        elif where not in ("script", "style"):
            self.answers[self.article] = self.answers.get(self.article, "") + data

    def data(self, label):
        """Data of the one chart with this description."""
        (found,) = (c for c in self.charts.values() if c["description"] == label)
        return found["data"]["values"]

    def table(self, caption, article=""):
        """Head and rows of the one table with this caption in an article."""
        (found,) = (
            t for (where, c), t in self.tables.items() if c == caption and where.startswith(article)
        )
        return found

    def said(self, question):
        """Text of the article with this question."""
        (found,) = (text for text in self.answers.values() if question in text)
        return " ".join(found.split())


def number(cell):
    """Value of a cell of a table; text if it is none."""
    plain = cell.replace(",", "")
    try:
        return float(plain)
    except ValueError:
        return cell


NUMBER = re.compile(r"(?<![\w.])-?\d[\d,]*(?:\.\d+)?(?:e[+-]?\d+)?(?![\w])")


def numbers(text):
    """Numbers in a text: value, and how far another may be off by rounding."""
    for match in NUMBER.finditer(text):
        token = match[0].rstrip(",").replace(",", "")
        digits = len(token.partition(".")[2]) if "e" not in token else 0
        yield float(token), 0.5 * 10.0**-digits


def leaves(value):
    """All numbers in JSON, also those in its texts, and sizes of its lists."""
    if isinstance(value, bool) or value is None:
        return
    if isinstance(value, int | float):
        yield float(value)
    elif isinstance(value, str):
        yield from (n for n, _ in numbers(value))
    elif isinstance(value, dict):
        yield float(len(value))
        for key, inner in value.items():
            yield from leaves(key)
            yield from leaves(inner)
    else:
        yield float(len(value))
        for inner in value:
            yield from leaves(inner)


def arrays(path):
    """Arrays of an .npz."""
    with np.load(path) as found:
        return dict(found)
