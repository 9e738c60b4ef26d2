"""Register map: one source for the logic (hw/bus/control.py) and for software.

`gen.ip.registers` writes it as C, Markdown and SystemRDL.
"""

from dataclasses import dataclass
from typing import Literal

from golden.description import Description
from hw.loadmap import LoadMap

BUS_BITS = 32
"""Bits of a register, and of a word of the load window."""

WORD = BUS_BITS // 8
"""Bytes of a register, and of a word of the load window."""

MAGIC = int.from_bytes(b"WORD", "big")
"""Value of the register `id`."""

VERSION = 2
"""Version of this map: it changes whenever software would notice."""

Access = Literal["constant", "status", "control", "pulse", "event"]
"""Who writes a field.

constant: nobody. status: the hardware. control: software. pulse: software, for one cycle. event:
the hardware sets it, software clears it by writing 1.
"""


@dataclass(frozen=True, kw_only=True)
class Field:
    """Bits of a register with the same access.

    value: Value of a constant field.
    """

    name: str
    about: str
    access: Access
    bits: int = 1
    value: int = 0


@dataclass(frozen=True, kw_only=True)
class Register:
    """Fields from bit 0 up; the bits above them read as 0."""

    name: str
    about: str
    offset: int
    fields: tuple[Field, ...]

    @property
    def writable(self) -> bool:
        """Whether software may write it."""
        return any(field.access in ("control", "pulse", "event") for field in self.fields)


COUNTERS = {
    "cycles": "Clock cycles.",
    "busy_cycles": "Cycles with a sequence in flight.",
    "steps": "Steps accepted.",
    "sequences": "Sequences whose last result was accepted.",
    "input_stalls": "Cycles with s_axis_tvalid high and s_axis_tready low.",
    "input_waits": "Cycles with s_axis_tready high and s_axis_tvalid low.",
    "output_stalls": "Cycles with m_axis_tvalid high and m_axis_tready low.",
}
"""Counters and their descriptions."""

EVENTS = {
    "done": "The last result of a sequence was accepted.",
    "load_open": "The load window has opened.",
    "frame_error": "A packet of x ended within a step; the code of 0 filled the rest of the step.",
}
"""Events that can raise the interrupt, by the names of their bits, and their descriptions."""


class RegisterMap:
    """Registers of a design, and the place of its load window.

    Addresses are in bytes. Registers fill the lower half from 0. The load window is the upper half:
    the word at `window + WORD * a` is address a of the load map.
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
        """Address of the load window."""
        return 1 << (self.address_bits - 1)

    @property
    def window_words(self) -> int:
        """Words of the load window."""
        return self.window // WORD

    @property
    def load_first(self) -> int:
        """First load address."""
        return self.load.first

    @property
    def load_end(self) -> int:
        """One past the last load address, which is that of the checksum."""
        return self.load.check + 1


def _byte_bits(word_bits: int) -> int:
    """Bits of a byte address, from those of a word address."""
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

    whole("id", "Identification: WORD in ASCII.", MAGIC)
    whole("version", "Version of this register map.", VERSION)
    whole("design", "First 32 bits of the design's fingerprint, as in its sidecar.", fingerprint)
    sizes = (
        ("inputs", "Channels of x.", description.network.inputs),
        ("outputs", "Values per result: 1 for a class.", outputs),
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
        "Commands of software.",
        Field(
            name="load",
            about="1 keeps the load window open. It opens when no sequence is in flight; no "
            "sequence begins before it closes.",
            access="control",
        ),
    )
    add(
        "status",
        "State of the hardware.",
        Field(
            name="load_open",
            about="The load window is open. 0 again when everything written to it is loaded.",
            access="status",
        ),
        Field(name="busy", about="A sequence is in flight.", access="status"),
        Field(
            name="loaded",
            about="A whole program was loaded since the last reset: the window was closed after "
            "it, and its checksum, if present, matched. A reset clears this bit but keeps the "
            "program.",
            access="status",
        ),
        Field(
            name="check_failed",
            about="The checksum of the last load did not match the words written: load the whole "
            "image again, in its order. The next load or a reset clears this bit.",
            access="status",
        ),
    )
    for name, about, access in (
        ("irq_status", "Events; write 1 to clear.", "event"),
        ("irq_enable", "Events that raise the interrupt.", "control"),
    ):
        add(
            name,
            about,
            *(Field(name=event, about=text, access=access) for event, text in EVENTS.items()),  # type: ignore[arg-type]
        )
    add(
        "counters",
        "Control of the counters below.",
        Field(name="clear", about="Set all counters to 0.", access="pulse"),
    )
    for name, about in COUNTERS.items():
        about += " Wraps at 2^32."
        add(name, about, Field(name="value", about=about, access="status", bits=BUS_BITS))
    about = "Signature of the words of the last load, as they were received; 0 after a reset."
    add("signature", about, Field(name="value", about=about, access="status", bits=BUS_BITS))
    return found
