"""Energy and area of a network and of its digital twin: counted in gates, or estimated."""

import functools
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gen.cost import ppa, sweep, twin
from gen.cost.components import COMPONENTS, NODE, at_node, read_figures
from gen.impl import cells
from golden import files
from golden.files import DATA
from golden.presets import Recipe
from golden.training import evaluate
from wordline.flow import cache, measure, sequences
from wordline.flow.synthesise import netlist_inputs, stages
from wordline.flow.train import Progress


@dataclass(frozen=True)
class Cost:
    """Energy and area of a network.

    folder: Folder that contains ppa.json.
    found: Content of ppa.json: the report (`gen.cost.ppa.report`), measures of both sides on the
        test set, the figures used, versions.
    """

    folder: Path
    found: dict[str, Any]


def cost(
    recipe: Recipe,
    build_dir: Path = Path("build"),
    *,
    first: int = 5,
    components: Path | None = None,
    node: int = NODE,
    twins: bool = True,
    library: Path | None = None,
    data_dir: Path = DATA,
    command: str | None = None,
    progress: Progress = lambda *_: None,
) -> Cost:
    """Energy and area of the trained network in build_dir/NAME and of its digital twin.

    - `first`: Number of sequences of the test set to run through each netlist.
    - `components`: TOML file of component figures (docs/efficiency.md).
    - `node`: Technology node of the results (nm).
    - `twins`: Include the digital twin.
    - `library`: Folder of the cells' files; None: where Debian installs them.
    - `command`: The command that runs this, for the record.

    Counts are kept, so other figures or another node need no new simulation.

    Raises WordlineError if a tool, the cells or the program is missing, or if the design has no
    digital twin.
    """
    figures = read_figures(components or COMPONENTS)
    at_node(figures, node)  # find an invalid node before slow steps
    folder = build_dir / recipe.description.name / "ppa"
    if twins:
        twin.check(recipe.description)
    loaded, codes, lengths = netlist_inputs(recipe, build_dir, first, data_dir)
    cells.check_gates(ppa.CELLS, library)
    counted = {}
    sides = [*ppa.SIDES] if twins else ["analog"]
    for side in sides:
        of_side = functools.partial(_of_side, progress, side)
        stage = stages(of_side)
        counted[side] = measure.measure(
            *(loaded, codes, lengths, folder / side, side),
            library=library,
            stage=stage,
            progress=functools.partial(of_side, "sequences"),
        )
        stage("")
    test = sequences.test_set(recipe, data_dir)
    programs = {"analog": loaded}
    if twins:
        programs["digital"] = twin.twin(loaded)
    found = {
        "name": recipe.description.name,
        "fingerprint": recipe.description.fingerprint,
        "command": command,
        "sequences": len(lengths),
        "worth": {
            side: evaluate.measured(program, test) if sequences.has_labels(test) else {}
            for side, program in programs.items()
        },
        **ppa.report(figures, counted["analog"], counted.get("digital"), node=node),
        "figures": {name: asdict(figure) for name, figure in figures.items()},
        "versions": cache.versions(),
    }
    files.write_text(folder / "ppa.json", json.dumps(found, indent=1) + "\n")
    return Cost(folder, found)


@dataclass(frozen=True)
class Estimate:
    """Estimated energy and area of a design, at one or more points.

    path: The JSON file with what `found` has.
    found: name, node_nm, axes, rows (`gen.cost.sweep.row`), the figures used, versions.
    """

    path: Path
    found: dict[str, Any]


def estimate(
    recipe: Recipe,
    build_dir: Path = Path("build"),
    *,
    vary: sweep.Axes | None = None,
    components: Path | None = None,
    node: int = NODE,
    twins: bool = True,
    command: str | None = None,
    progress: Progress = lambda *_: None,
) -> Estimate:
    """Estimate energy and area without training or synthesis (docs/efficiency.md).

    - `vary`: Values by field of the description (`array.lanes`) or by component figure (`settle`);
      all combinations are estimated.
    - `components`: TOML file of component figures.
    - `node`: Technology node of the results (nm).
    - `twins`: Include the digital twin and weight-stationary arrays; measured in-memory logic is
      always there.
    - `command`: The command that runs this, for the record.

    Raises WordlineError for an unknown field, an invalid value, or a design without a digital twin.
    """
    figures = at_node(read_figures(components or COMPONENTS), node)
    axes = vary or {}
    points = list(sweep.points(recipe.description, figures, axes))
    for point in points if twins else ():
        twin.check(point.description)  # before anything that takes long
    counts: dict[str, sweep.Estimated] = {}  # figures alone need no new counts
    rows = []
    for n, point in enumerate(points):
        progress("estimate", n, len(points))
        key = point.description.fingerprint
        if key not in counts:
            counts[key] = sweep.estimated(point.description, twins=twins)
        rows.append(sweep.row(point, counts[key], node=node))
    progress("estimate", len(points), len(points))
    found = {
        "name": recipe.description.name,
        "fingerprint": recipe.description.fingerprint,
        "command": command,
        "node_nm": node,
        "axes": {name: list(values) for name, values in axes.items()},
        "rows": rows,
        "figures": {name: asdict(figure) for name, figure in figures.items()},
        "versions": cache.versions(),
    }
    path = build_dir / recipe.description.name / "ppa" / "model.json"
    files.write_text(path, json.dumps(found, indent=1) + "\n")
    return Estimate(path, found)


def _of_side(progress: Progress, side: str, stage: str, done: int, total: int) -> None:
    progress(f"{side}: {stage}", done, total)
