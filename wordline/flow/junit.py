"""A check as JUnit XML, for the test reports of GitHub, GitLab and Jenkins."""

from pathlib import Path
from xml.etree import ElementTree

from golden import files
from wordline.flow.check import Checked

MARKS = ("<testsuite ", 'name="wordline check ')
"""Text near the beginning of such a file."""


def write(path: Path, found: Checked) -> None:
    """Write a check as JUnit XML.

    There is a test case for each compared quantity, for the run, for AXI, and for each changed
    line. The case of a changed line is skipped unless the change is proved equal.
    """
    suite = ElementTree.Element("testsuite", name=f"wordline check {found.given.name}")
    properties = ElementTree.SubElement(suite, "properties")
    for file, digest in found.files.items():
        ElementTree.SubElement(properties, "property", name=file, value=digest)

    def case(name: str) -> ElementTree.Element:
        return ElementTree.SubElement(suite, "testcase", classname=found.given.name, name=name)

    failures = 0
    run = case(f"simulation in {found.simulator}, {found.sequences} sequences")
    run.set("time", f"{sum(found.seconds.values()):.2f}")
    if found.complaint is not None:
        failures += 1
        ElementTree.SubElement(run, "failure", message=found.complaint)
    for quantity, entry in found.compared.items():
        own = case(f"{quantity}: {entry['compared']} values")
        if entry["mismatches"]:
            failures += 1
            first = found.first
            where = f"; {first}" if first is not None and first.quantity == quantity else ""
            message = f"{entry['mismatches']} values differ{where}"
            ElementTree.SubElement(own, "failure", message=message)
    if found.axi is not None:
        own = case("through AXI")
        if not found.axi_passed:
            failures += 1
            ElementTree.SubElement(own, "failure", message=found.axi)
    skipped = 0
    for change in found.changes or []:
        own = case(f"{found.given.rtl.name}:{change.line} in {change.module or 'the top'}")
        if not change.proved:
            skipped += 1
            about = "no value differs" if found.passed else "see the failures"
            message = f"changed, not proved equal; {about}: {change.text}"
            ElementTree.SubElement(own, "skipped", message=message)
    suite.set("tests", str(len(suite.findall("testcase"))))
    suite.set("failures", str(failures))
    suite.set("skipped", str(skipped))
    ElementTree.indent(suite)
    text = ElementTree.tostring(suite, encoding="unicode") + "\n"
    files.write_text(path, text, follow=True)
