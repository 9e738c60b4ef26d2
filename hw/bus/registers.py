"""The register map: one source for the logic (hw/bus/control.py) and for what software reads
(`gen.ip.registers`: C, Markdown, SystemRDL)."""

from dataclasses import dataclass
from typing import Literal

from golden.description import Description
from hw.loadmap import LoadMap

BUS_BITS = 32
"""Bits of a register, and of a word of the load window."""

WORD = BUS_BITS // 8
"""Bytes of a register, and of a word of the load window."""

MAGIC = int.from_bytes(b"WORD", "big")
"""What register `id` holds."""

VERSION = 2
"""Of this map: another one for whatever software would notice."""

Access = Literal["constant", "status", "control", "pulse", "event"]
"""Who writes a field. constant: nobody. status: the hardware. control: software. pulse: software,
and it is 1 for a cycle. event: the hardware sets it, software clears it by writing 1."""


@dataclass(frozen=True, kw_only=True)
class Field:
    """Bits of a register, of the same access. value: a constant's, or after reset."""

    name: str
    about: str
    access: Access
    bits: int = 1
    value: int = 0


@dataclass(frozen=True, kw_only=True)
class Register:
    """Fields from bit 0 up; the bits above read as 0."""

    name: str
    about: str
    offset: int
    fields: tuple[Field, ...]

    @property
    def writable(self) -> bool:
        """Software may write it."""
        return any(field.access in ("control", "pulse", "event") for field in self.fields)


COUNTERS = {
    "cycles": "Cycles of the clock.",
    "busy_cycles": "Cycles in which a sequence was under way.",
    "steps": "Steps that came in.",
    "sequences": "Sequences whose last result was taken.",
    "input_stalls": "Cycles in which x was on offer and not taken.",
    "input_waits": "Cycles in which x would have been taken and was not on offer.",
    "output_stalls": "Cycles in which a result was on offer and not taken.",
}
"""What is counted, by the counters' names."""

EVENTS = {
    "done": "The last result of a sequence was taken.",
    "load_open": "The load window has opened.",
    "frame_error": "A packet of x ended in mid-step; the step was filled with 0.",
}
"""What can ask for an interrupt, by the names of its bits."""


class RegisterMap:
    """The registers of a design, and where its load window is.

    Addresses are in bytes. Registers fill the lower half from 0, the load window is the upper
    half: the word at `window + WORD * a` is the load map's address a.
    """

    def __init__(self, description: Description) -> None:
        self.description = description
        self.load = load = LoadMap(description)
        assert load.data_bits <= BUS_BITS
        self.registers = _registers(description)
        size = len(self.registers) * WORD
        self.address_bits = 1 + max((size - 1).bit_length(), _byte_bits(load.address_bits))

    @property
    def window(self) -> int:
        """Where the load window begins."""
        return 1 << (self.address_bits - 1)

    @property
    def window_words(self) -> int:
        """Words of the load window."""
        return self.window // WORD

    @property
    def load_first(self) -> int:
        """The first load address."""
        return self.load.first

    @property
    def load_end(self) -> int:
        """One beyond the last load address, that of the checksum."""
        return self.load.check + 1


def _byte_bits(word_bits: int) -> int:
    """Address bits in bytes, of address bits in words."""
    return word_bits + (WORD - 1).bit_length()


def _registers(description: Description) -> list[Register]:
    fingerprint = int(description.fingerprint[:8], 16)
    outputs = 1 if description.output.of == "class" else description.outputs
    found: list[Register] = []

    def add(name: str, about: str, *fields: Field) -> None:
        register = Register(name=name, about=about, offset=len(found) * WORD, fields=fields)
        assert sum(field.bits for field in fields) <= BUS_BITS
        found.append(register)

    def whole(name: str, about: str, value: int) -> None:
        add(name, about, Field(name="value", about=about, access="constant", bits=32, value=value))

    whole("id", "What this is: WORD in ASCII.", MAGIC)
    whole("version", "Version of this register map.", VERSION)
    whole("design", "First 32 bits of the design's fingerprint, as in its sidecar.", fingerprint)
    sizes = (
        ("inputs", "Channels of a step of x.", description.network.inputs),
        ("outputs", "Values of a result: 1 where it is a class.", outputs),
    )
    add(
        "sizes",
        "Sizes of the network.",
        *(
            Field(name=name, about=about, access="constant", bits=16, value=value)
            for name, about, value in sizes
        ),
    )
    add(
        "control",
        "What software asks for.",
        Field(
            name="load",
            about="Keep the load window open. It opens when no sequence is under way, and no "
            "sequence begins before it is closed.",
            access="control",
        ),
    )
    add(
        "status",
        "What the hardware is doing.",
        Field(
            name="load_open",
            about="The load window is open; 0 again when what was written to it is loaded.",
            access="status",
        ),
        Field(name="busy", about="A sequence is under way.", access="status"),
        Field(
            name="loaded",
            about="Since the last reset a program was loaded, to its end: the window was closed "
            "after it, and its checksum, if it has one, was right. A reset clears this, but keeps "
            "what was loaded.",
            access="status",
        ),
        Field(
            name="check_failed",
            about="The checksum of the last load was not that of the words that were written: "
            "load the whole image again, in its order. The next load or a reset clears this.",
            access="status",
        ),
    )
    for name, about, access in (
        ("irq_status", "What happened; write 1 to clear.", "event"),
        ("irq_enable", "Which of it is to raise the interrupt.", "control"),
    ):
        add(
            name,
            about,
            *(Field(name=event, about=text, access=access) for event, text in EVENTS.items()),  # type: ignore[arg-type]
        )
    add(
        "counters",
        "What is done to the counters, which follow.",
        Field(name="clear", about="Put all of them to 0.", access="pulse"),
    )
    for name, about in COUNTERS.items():
        about += " Wraps at 2^32."
        add(name, about, Field(name="value", about=about, access="status", bits=BUS_BITS))
    return found
