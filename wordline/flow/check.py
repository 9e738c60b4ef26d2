"""Check given RTL: run golden vectors through it, find the first difference, examine changes.

Nothing is emitted or written beside the RTL. Builds are in the cache folder.
"""

import hashlib
import json
import os
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gen.impl import tools
from gen.ip import testbench
from gen.rtl import control, image, naming, vectors
from golden import files
from golden.errors import DesignError, WordlineError
from hw.bus.registers import RegisterMap
from sim import coverage
from sim.coverage import Exercised
from sim.verilator import plain_name
from wordline.flow import cache, emit, record
from wordline.flow import changes as edits
from wordline.flow.changes import Change
from wordline.flow.given import Given, find
from wordline.flow.place import Place, located
from wordline.flow.stage import stage
from wordline.flow.train import Progress

SIMULATORS = ("verilator", "icarus")
THROUGH = ("streams", "axi", "both")
"""Ports that a check uses.

"streams" is the accelerator's own ports, where every value is compared. "axi" is the top with AXI,
where the results of the first sequences are compared.
"""

ICARUS_SEQUENCES = 2
"""Default number of sequences in Icarus through the accelerator's own ports: Icarus is slow."""


@dataclass(frozen=True)
class Checked:
    """Result of a check of given RTL against golden.

    given: The files.
    files: SHA-256 of each compared file.
    simulator: Name of the simulator.
    sequences: Number of sequences simulated.
    of_sequences: Number of sequences in the golden vectors.
    compared: Compared values and mismatches by quantity.
    first: Location of the first difference; None if there is none.
    complaint: Why there is no comparison: the RTL does not build, hangs, or gives too many or too
        few values. None if there is one.
    warnings: Verilator's warnings about the RTL.
    changes: Lines that differ from what this version emits; None if the RTL was emitted by a
        version that emits other Verilog.
    exercised: Coverage of the RTL by the vectors; None if it was not measured.
    axi: Last line of the testbench; None if it did not run.
    axi_passed: Whether the testbench passed; None if it did not run.
    waves: VCD file of the first difference; None if there is none.
    seconds: Time by stage (s).
    folder: Folder of check.json.
    """

    given: Given
    files: dict[str, str]
    simulator: str
    sequences: int
    of_sequences: int
    compared: dict[str, dict[str, int]]
    first: Place | None
    complaint: str | None
    warnings: list[str]
    changes: list[Change] | None
    exercised: Exercised | None
    axi: str | None
    axi_passed: bool | None
    waves: Path | None
    seconds: dict[str, float]
    folder: Path

    @property
    def values_compared(self) -> int:
        """Number of values compared."""
        return sum(entry["compared"] for entry in self.compared.values())

    @property
    def mismatches(self) -> int:
        """Number of values that differ."""
        return sum(entry["mismatches"] for entry in self.compared.values())

    @property
    def passed(self) -> bool:
        """Whether every value is equal and every run finished."""
        return not self.mismatches and self.complaint is None and self.axi_passed is not False

    @property
    def edited(self) -> tuple[Path, ...]:
        """Compared files, and the sidecar, that differ from what was emitted."""
        return self.given.edited

    @property
    def not_compared(self) -> tuple[Path, ...]:
        """Other files of the folder that differ from what was emitted."""
        return self.given.not_compared


def check(
    path: Path | str,
    *,
    design: Path | None = None,
    crossbars: Path | None = None,
    vectors_file: Path | None = None,
    first: int | None = None,
    simulator: str = "verilator",
    through: str | None = None,
    waves: bool = False,
    measure: bool = False,
    command: str | None = None,
    progress: Progress = lambda *_: None,
) -> Checked:
    """Run golden vectors through given RTL and compare every value.

    - `path`: A build folder, an IP package, or a Verilog file with the same ports.
    - `design`: For a Verilog file elsewhere, the folder of its design.
    - `crossbars`: Verilog of the crossbar macros, instead of the folder's model.
    - `vectors_file`: Other golden vectors of the same program.
    - `first`: Number of sequences; None: all (Icarus: 2).
    - `simulator`: "verilator" or "icarus".
    - `through`: "streams" (the accelerator's ports), "axi" or "both"; None: "both" for a package,
      else "streams".
    - `waves`: Write a VCD file of the first difference.
    - `measure`: Measure coverage of the RTL. It is also measured if a change makes no difference
      and is not proved equal.
    - `command`: The command that runs this, for the record.

    Writes check.json and, with a difference, difference.json into a folder in the cache.

    Raises WordlineError if a file is missing or damaged, or if a tool is missing.
    """
    _known("simulator", simulator, SIMULATORS)
    if through is not None:
        _known("way through the chip", through, THROUGH)
    given = find(Path(path), design=design, crossbars=crossbars, vectors=vectors_file)
    if through in ("axi", "both") and given.axi is None:
        raise WordlineError(
            f"{given.folder} is not a package and has no AXI; leave --through out, or check a "
            f"package (`wordline emit --macro model`)."
        )
    _find_tools(simulator)
    run = _Check(given, first, simulator, through, waves, measure, progress)
    with files.locked(run.work, "check of this folder"):
        run.take()
        checked, found = run.run()
        record.check(checked, path, found, command)
    return checked


def _find_tools(simulator: str) -> None:
    """Raise WordlineError if the simulator is missing, before anything is built."""
    from sim import verilator

    if simulator == "icarus":
        tools.check_icarus()
    else:
        verilator.find()


def _known(what: str, value: str, known: Sequence[str]) -> None:
    if value not in known:
        raise WordlineError(f"Unknown {what} {value!r}; choose {' or '.join(known)}.")


def _text(path: Path) -> str:
    """Text of Verilog, whose comments may have letters of another encoding."""
    return path.read_text(encoding="utf-8", errors="replace")


class _Check:
    """One check."""

    def __init__(
        self,
        given: Given,
        first: int | None,
        simulator: str,
        through: str | None,
        waves: bool,
        measure: bool,
        progress: Progress,
    ) -> None:
        self.given, self.simulator, self.progress = given, simulator, progress
        self.waves, self.measure = waves, measure
        self.through = through or ("streams" if given.axi is None else "both")
        where = hashlib.sha256(os.fsencode(given.folder.absolute())).hexdigest()[:16]
        self.work = files.cache_dir() / "check" / where
        self.seconds: dict[str, float] = {}
        self.top = naming.module_name(given.description)
        words = image.read(given.image, given.description)  # rejects damaged lines
        self.checksum = image.checked(given.image, words, given.description)
        binary = given.folder / "image.bin"
        if binary.is_file() and given.image.parent == given.folder:
            image.check_binary(binary, words)
        self.golden = vectors.load(given.vectors, given.description)
        self._check_image()
        self.whole, self.first = len(self.golden["lengths"]), first

    def take(self) -> None:
        """Write the golden vectors of the sequences to simulate into the work folder."""
        self.vectors, self.count = self._vectors(self.first)

    def _check_image(self) -> None:
        """Raise WordlineError if the golden vectors were made for another image."""
        own, found = self.golden.get("image"), self.checksum
        if own is None or found is None or int(own[0]) == found:
            return
        raise WordlineError(
            f"{self.given.vectors} was made for another image (checksum {int(own[0]):08x}) than "
            f"{self.given.image} (checksum {found:08x}): of another program, or with other effects "
            f"or votes. Run `wordline emit {self.given.description.name}`, or give the vectors of "
            f"this image with --vectors: those of `wordline sim --sequences` are in {emit.PART}."
        )

    def _vectors(self, first: int | None) -> tuple[Path, int]:
        """File and number of the sequences to simulate."""
        if first is None and self.simulator == "icarus":
            first = ICARUS_SEQUENCES
        count = self.whole if first is None else min(first, self.whole)
        own = self.given.vectors
        if count == self.whole and own not in (*self.given.edited, *self.given.unknown):
            return own, count  # as Wordline wrote it
        self.golden = vectors.first(self.golden, count)
        path = self.work / "vectors.npz"
        vectors.write(path, self.golden)
        return path, count

    def run(self) -> tuple[Checked, dict[str, Any]]:
        """Run all stages of the check. Returns also the result of the runner, or {}."""
        compared: dict[str, dict[str, int]] = {}
        place = complaint = axi = axi_passed = None
        found: dict[str, Any] = {}
        notes: list[str] = []
        if self.through != "axi":
            with self._stage("simulate"):
                found, complaint = self._attempt(self._streams)
            compared = found.get("by_quantity", {})
            own = self.given
            place = located(own.sidecar, own.description, own.rtl, found.get("first"))
        if self.through != "streams" and complaint is None:
            try:
                with self._stage("axi"):
                    axi_found, complaint = self._attempt(self._axi)
                axi, axi_passed = axi_found.get("said"), axi_found.get("passed")
            except WordlineError as error:
                if place is None:
                    raise
                notes.append(f"the top with AXI was not compared: {error}")
        changed = self._changes()
        exercised = None
        red = place is not None or complaint is not None or axi_passed is False
        if changed and not red:
            changed = self._proved(changed)
        open_ = [change for change in changed or [] if not change.proved]
        if not red and self.through != "axi" and (self.measure or open_):
            try:
                changed, exercised = self._exercised(changed)
            except WordlineError as error:  # the verdict stands without
                notes.append(f"how much the vectors exercise was not measured: {error}")
        waves = None
        if self.waves and place is not None and place.step is not None:
            try:
                with self._stage("waves"):
                    waves = self._waves(place)
            except WordlineError as error:
                notes.append(f"there are no waves: {error}")
        checked = Checked(
            given=self.given,
            files={str(path): files.sha256(path) for path in self.given.files},
            simulator=self.simulator,
            sequences=self.count if self.through != "axi" else min(testbench.SEQUENCES, self.count),
            of_sequences=self.whole,
            compared=compared,
            first=place,
            complaint=complaint,
            warnings=[*self._warnings(), *notes],
            changes=changed,
            exercised=exercised,
            axi=axi,
            axi_passed=axi_passed,
            waves=waves,
            seconds=self.seconds,
            folder=self.work,
        )
        return checked, found

    def _attempt(self, run: Any) -> tuple[dict[str, Any], str | None]:
        """Result of a run; or an empty result, and what is wrong with the RTL."""
        try:
            return run(), None
        except DesignError as error:
            return {}, str(error)

    def _stage(self, name: str) -> AbstractContextManager[None]:
        return stage(name, self.seconds, self.progress)

    def _control(self, sources: Sequence[Path], public: dict[str, dict[str, bool]]) -> Path:
        """Write a Verilator control file with waived style warnings of files and public signals."""
        path = self.work / "given.vlt"
        files.write_text(
            path, control.control_file([plain_name(source.name) for source in sources], public)
        )
        return path

    def _emitted(self) -> Any:
        """The given files, in the form that the runners expect."""
        from sim import chip

        own, sources = self.given.sidecar, [self.given.rtl, self.given.crossbars]
        public = control.public_signals(own["module"], own["ports"], own["probes"])
        sidecar_path = self.work / "sidecar.json"
        files.write_text(sidecar_path, json.dumps(own))
        job = {"sidecar": sidecar_path, "image": self.given.image, "vectors": self.vectors}
        return chip.Emitted(
            [self._control(sources, public), *sources],
            own["module"],
            {name: str(path.absolute()) for name, path in job.items()},
        )

    def _streams(self) -> dict[str, Any]:
        """Run all vectors through the accelerator's own ports."""
        from sim import batch, icarus

        def told(done: int, total: int) -> None:
            self.progress("simulate", done, total)

        emitted = self._emitted()
        if self.simulator == "icarus":
            sources = emitted.sources[1:]
            return icarus.simulate(
                sources, emitted.top, self.work / "icarus", emitted.job, progress=told
            )
        built = batch.build(emitted, self.work / "batch", quick=True, lenient=True)
        return batch.simulate(built, progress=told)

    def _axi(self) -> dict[str, Any]:
        """Run the first sequences through AXI, with the package's testbench."""
        from sim import bench

        given = self.given
        assert given.axi is not None
        golden = vectors.first(self.golden, testbench.SEQUENCES)
        sources = [given.rtl, given.axi, given.crossbars]
        work = self.work / f"axi-{self.simulator}"
        texts = testbench.texts(
            *(given.description, RegisterMap(given.description), given.sidecar["axi"]["module"]),
            *("files.f", golden),
        )
        for file, text in texts.items():
            files.write_text(work / file, text)
        files.write_text(work / "image.hex", given.image.read_text())
        bench_file = work / f"tb/{given.name}_tb.{'v' if self.simulator == 'icarus' else 'cpp'}"
        sources = [self._control(sources, {}), *sources]
        run = bench.icarus if self.simulator == "icarus" else bench.verilator
        done = run(sources, given.sidecar["axi"]["module"], bench_file, work)
        return {"passed": done.passed, "said": done.said}

    def _warnings(self) -> list[str]:
        """Verilator's warnings about the RTL, each as `file:line: text`."""
        from sim import chip

        if self.simulator == "icarus" or self.through == "axi":
            return []
        return chip.warnings(self.work / "batch" / "build.log", self.given.rtl.name)

    def _changes(self) -> list[Change] | None:
        """Changes of the RTL; None if this version of Wordline emits other Verilog for it."""
        given = self.given
        if not given.edited and not given.replaced and not given.unknown:
            return []
        key = cache.digest(given.description.to_toml(), cache.emission(given.description.cell.kind))
        self.reference = edits.reference(given.description, self.work / "reference", key)
        recorded = given.sidecar.get("sha256", {})
        own = f"{given.name}.v"
        wanted = recorded.get(own) or recorded.get(f"rtl/{own}")
        if wanted != hashlib.sha256(self.reference[own].encode()).hexdigest():
            return None
        return edits.changes(_text(given.rtl), self.reference[own], self.top)

    def _proved(self, changed: list[Change]) -> list[Change]:
        """Mark the changes that are proved equal; none without Yosys."""
        if not tools.has_yosys():
            return changed
        with self._stage("prove"):
            return edits.prove(
                *(changed, _text(self.given.rtl), self.reference[f"{self.given.name}.v"]),
                *(self.top, self.reference[f"{self.given.name}_crossbar_stub.v"]),
                self.work / "proof",
                lambda done, total: self.progress("prove", done, total),
            )

    def _exercised(self, changed: list[Change] | None) -> tuple[list[Change] | None, Exercised]:
        """Add coverage to the changes, and return the coverage of the whole RTL."""
        from sim import batch

        with self._stage("measure"):
            built = batch.build(self._emitted(), self.work / "coverage", coverage=True)
            record = self.work / "coverage.dat"
            batch.simulate(
                built,
                coverage=record,
                progress=lambda done, total: self.progress("measure", done, total),
            )
            found = coverage.read(record, plain_name(self.given.rtl.name))
            record.unlink()
        if changed is not None:
            changed = edits.exercised(changed, found, self.top)
        return changed, found.of()

    def _waves(self, place: Place) -> Path:
        """Write the waveforms of the step of the first difference."""
        from sim import batch_chip, chip, verilator
        from sim import waves as vcd

        emitted = self._emitted()
        job = emitted.job
        alone = vectors.one(self.golden, place.sequence)
        vectors.write(self.work / "one.npz", alone)
        votes = len(alone["layers.0.h"])
        words = image.read(self.given.image, self.given.description)
        words += batch_chip.next_run(self.given.sidecar, words, place.sequence * votes)
        image.write_words(self.work / "one.hex", self.given.description, words)
        job |= {"vectors": str(self.work / "one.npz"), "image": str(self.work / "one.hex")}
        runner, work = verilator.LenientVerilator(), self.work / "waves"
        built = chip.build(emitted.sources, emitted.top, work, waves=True, runner=runner)
        one = chip.Chip(built, emitted.top, work, job | {"stall": 0.0})
        chip.simulate(one, waves=True)
        written = work / "dump.vcd"
        step = (place.pass_ or 0) * int(alone["lengths"][0]) + (place.step or 0)
        begin = vcd.cut(written, self.given.sidecar, step, step)
        vcd.save_views(written, self.given.sidecar["module"], begin)
        return written
