"""The documentation: links, figures and commands are true."""

import json
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")),
    *(page for page in sorted(DOCS.rglob("*.md")) if "made" not in page.parts),
]
MADE = ("made/parameters.md", "made/commands.md", "made/registers.md")
"""Pages that `make docs` draws from the code."""


def name(page):
    return str(page.relative_to(ROOT))


def anchors(page):
    """Of headings, as GitHub and MyST make them, and of <a id>."""
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    found = set(re.findall(r'<a id="([^"]+)"', text))
    for heading in re.findall(r"^#+ (.*)$", text, re.MULTILINE):
        plain = re.sub(r"[^\w\- ]", "", heading.lower().strip())
        found.add(plain.replace(" ", "-"))
    return found


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page):
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target) or target.endswith(MADE):
            continue
        path, _, anchor = target.partition("#")
        other = (page.parent / path).resolve() if path else page
        assert other.exists(), f"{name(page)}: {target}"
        if anchor and other.suffix == ".md":
            assert anchor in anchors(other), f"{name(page)}: {target}"


@pytest.fixture(scope="module")
def site():
    """docs/conf.py, which also draws pages from the code."""
    return runpy.run_path(str(DOCS / "conf.py"))


def test_every_parameter_is_described(site):
    rows = [line for line in site["parameter_page"]().splitlines() if line.startswith("| `")]
    assert len(rows) > 50
    for row in rows:
        field, default, allowed, meaning = (
            cell.strip() for cell in re.split(r"(?<!\\)\|", row.strip("|"))
        )
        assert default and (meaning or field == "`kind`"), row
        assert allowed or field in ("`dataset`", "`noise`", "`symmetric`"), row
    assert "| `lanes` | `4` | 1 to 4096 |" in site["parameter_page"]()


def test_every_command_has_its_options(site):
    text = site["command_page"]()
    for command in ("import", "sim", "emit", "check", "synth", "ppa", "fit", "study"):
        assert f"## `wordline {command}`" in text
    assert "--calibration" in text


def numbers(value):
    """All numbers in JSON."""
    if isinstance(value, bool):
        return
    if isinstance(value, int | float):
        yield float(value)
    elif isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from numbers(inner)


def is_in(text, values):
    """Whether a decimal number is one of some values, rounded to its digits."""
    digits = len(text.partition(".")[2])
    return any(f"{abs(value):.{digits}f}" == text for value in values)


ELSEWHERE = {
    "defence": {"6.8"},  # another work's
    "dni": {"0.0015", "21.3"},  # a learning rate; a difference of two columns
    "efficiency": {"94.2", "0.202"},  # a sum of components; the area of a published macro
    "images": {
        *("97.6", "96.7", "98.4", "92.7", "99.4"),  # runs before the study
        *("1.6", "4.6", "4.1"),  # differences of two rows
        *("0.003", "0.005"),  # learning rates
    },
    "levels": {
        *("0.048", "0.061", "0.135", "0.197", "0.228", "0.383", "1.05", "1.24"),  # differences
        "1.913",  # an earlier run
    },
    "speed": {"2.15"},  # a ratio of two times
    "tolerance": {"8.8", "0.044"},  # a difference of two rows; of levels
}
"""Decimal numbers of a study's page that its results.json has not."""


def lacking(text, *files):
    """Decimal numbers of a page that no file of results has.

    They may also be percentages, or compare a claim with its goal or anchor.
    """
    values: list[float] = []
    for file in files:
        results = json.loads(file.read_text())
        own = [*numbers(results)]
        values += own + [100 * value for value in own if abs(value) <= 1]
        for claim in results.get("claims", ()):
            for other in (claim["anchor"], claim["goal"]):
                if claim["ours"] is not None and other:
                    values += [claim["ours"] - other, claim["ours"] / other]
            if claim["anchor"] and claim["goal"]:
                values.append(claim["goal"] / claim["anchor"])
    plain = re.sub(r"```.*?```|`[^`]*`|\]\([^)]*\)|\d{4}\.\d{5}", "", text, flags=re.DOTALL)
    found = re.findall(r"(?<![\w.,/])\d+\.\d+(?![\w/.])", plain)
    return {number for number in found if not is_in(number, values)}


@pytest.mark.parametrize("study", sorted(p.parent.name for p in DOCS.glob("studies/*/README.md")))
def test_results_of_a_study_are_those_of_its_file(study):
    """`ELSEWHERE` lists all other numbers."""
    folder = DOCS / "studies" / study
    text = (folder / "README.md").read_text()
    for part in ("Result", "Verdict"):
        assert re.search(rf"^\*\*{part}\.\*\* ", text, re.MULTILINE)
    assert lacking(text, *folder.glob("results*.json")) == ELSEWHERE.get(study, set()), study


def test_figures_of_scaling_are_measured():
    assert not lacking((DOCS / "scaling.md").read_text(), DOCS / "scaling.json")


def test_figures_of_the_proofs_are_those_of_a_run():
    text = (DOCS / "verification.md").read_text()
    found = json.loads((DOCS / "verification/formal.json").read_text())
    assert not found["false"] and found["refuted"] == found["mutants"]
    counts = "{properties} properties: {proved} proved, {held} to a stated depth".format(**found)
    assert counts in text and f"{found['mutants']} mutants, all refuted" in text


def test_figures_of_mutants_long_runs_and_coverage_are_those_of_runs():
    text = " ".join((DOCS / "verification.md").read_text().split())
    mutation, soak, reach = (
        json.loads((DOCS / "verification" / f"{name}.json").read_text())
        for name in ("mutation", "soak", "coverage")
    )
    for design in mutation["designs"]:
        assert design["mutants"] == design["killed"] + design["equal"] + design["survive"]
        killed = "{mutants} mutants of {design}: {killed} killed, ".format(**design)
        assert (
            killed + "{equal} proved equal, {survive} survive ({rate} %)".format(**design) in text
        )
        assert len(design["survivors"]) == design["survive"]
    assert not soak["wrong"] and not soak["mismatches"]
    assert "{designs} designs, {steps:,} steps, {values:,} values".format(**soak) in text
    assert not reach["missed"] and not reach["unexplained"]
    *of_verilog, of_python = reach["rows"]
    for rows in (of_verilog, [of_python]):
        reached, reachable = (sum(row[n] for row in rows) for n in ("reached", "reachable"))
        assert f"{reached:,} of {reachable:,}" in text
    assert f"all {reach['bins']} bins" in text


def test_goals_of_verification_are_those_of_its_records():
    folder = DOCS / "verification"
    made = runpy.run_path(str(folder / "results.py"))
    claims = json.loads((folder / "results.json").read_text())["claims"]
    assert claims == [row for _, row in made["claims"]()]
    assert made["table"]() in (DOCS / "verification.md").read_text()
    fuzz = json.loads((folder / "fuzz.json").read_text())
    text = (DOCS / "verification.md").read_text()
    assert f"seed {fuzz['seed']}, {fuzz['cases']:,} cases, {fuzz['failures']} failures" in text


README = {
    "tolerance": ("96.85", "0.41", "97.12", "0.56", "2.06", "1.93"),
    "noise": ("76.2", "3.7", "94.9", "0.5"),
    "votes": ("89,812,888",),
    "efficiency": ("5.7", "3.7", "7.4", "1.2", "0.11", "3.05"),
}
"""Figures in the README, by the study that measured them."""


def test_figures_of_the_readme_are_those_of_studies():
    text = (ROOT / "README.md").read_text()
    told = text[text.index("## What it does") : text.index("## Read next")]
    for study, figures in README.items():
        results = json.loads((DOCS / "studies" / study / "results.json").read_text())
        for figure in figures:
            assert figure in told and is_in(figure.replace(",", ""), [*numbers(results)]), figure
    known = {figure for figures in README.values() for figure in figures}
    assert {*re.findall(r"\d+\.\d+|\d+,[\d,]+\d", told)} == known


def test_the_notebook_runs(tmp_path, monkeypatch):
    """Its code cells one after the other; what it prints is what it shows."""
    pytest.importorskip("matplotlib").use("svg")
    monkeypatch.chdir(tmp_path)
    cells = json.loads((DOCS / "notebook.ipynb").read_text())["cells"]
    scope: dict[str, object] = {}
    for cell in cells:
        if cell["cell_type"] == "code":
            exec("".join(cell["source"]), scope)
    shown = [line for c in cells for o in c.get("outputs", []) for line in o.get("text", [])]
    assert any("ADCs" in line for line in shown) and len(scope["accuracy"]) == 4  # type: ignore[arg-type]


@pytest.mark.slow
def test_the_block_of_the_readme_is_that_of_a_run(tmp_path):
    """All but seconds, and accuracies, which processors round apart."""
    command = [shutil.which("wordline", path=str(Path(sys.executable).parent)), "sim", "vowels"]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    (block,) = re.findall(r"```\n( +vowels, seed 0.*?)```", (ROOT / "README.md").read_text(), re.S)

    def rows(text):
        lines = [line.strip("│ ").split("│") for line in text.splitlines() if line.startswith("│")]
        return {line[0].strip(): line[1].strip() for line in lines if len(line) == 2}

    shown, ran = rows(block), rows(run.stdout)
    assert shown.keys() == ran.keys()
    for key in shown:
        if key not in ("seconds", ""):
            if key.endswith("accuracy"):
                assert float(shown[key][:-2]) == pytest.approx(float(ran[key][:-2]), abs=1.0)
            else:
                assert shown[key] == ran[key]
    (verdict,) = re.findall(r"GREEN: .*? values equal", block)
    assert verdict in run.stdout
