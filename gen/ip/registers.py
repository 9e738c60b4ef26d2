"""Register map for software: C header, Markdown, SystemRDL, JSON.

The source is `hw.bus.registers`, which also defines the logic.
"""

from typing import Any

from hw.bus.registers import BUS_BITS, Field, Register, RegisterMap


def c_header(map_: RegisterMap) -> str:
    """C header: WORDLINE_<REGISTER> is an offset, WORDLINE_<REGISTER>_<FIELD> a mask.

    All designs have the same names, so a C file can include the header of one of them.
    """
    of = map_.description
    own = f"WORDLINE_REGS_OF_{_identifier(of.name).upper()}_{of.fingerprint[:8].upper()}"
    lines = [
        f"/* Registers of {map_.description.name}: offsets in bytes, masks of fields. */",
        "#ifndef WORDLINE_REGS_H",
        "#define WORDLINE_REGS_H",
        f"#define {own}",
        "",
    ]
    width = max(len(_macro(r, f)) for r in map_.registers for f in r.fields) + 1

    def define(name: str, value: int, about: str, digits: int = 3) -> None:
        text = f"#define {name:<{width}}0x{value:0{digits}x}u"
        lines.append(f"{text} /* {about} */")

    for register in map_.registers:
        define(_macro(register), register.offset, register.about)
        for field, low in placed(register):
            if field.bits < BUS_BITS:
                define(_macro(register, field), mask(field, low), field.about, 8)
            if field.access == "constant":
                define(f"{_macro(register, field)}_IS", field.value << low, "what it holds", 8)
    lines.append("")
    define("WORDLINE_WINDOW", map_.window, "the load window: a word for each load address", 8)
    define("WORDLINE_LOAD_FIRST", map_.load_first, "the first load address", 8)
    define("WORDLINE_LOAD_END", map_.load_end, "one beyond the last load address", 8)
    define("WORDLINE_LOAD_CHECK", map_.load.check, "the load address of the checksum", 8)
    lines += ["", f"#elif !defined({own})"]
    lines += ['#error "the registers of another design are included already: one design a file"']
    lines += ["#endif"]
    return "\n".join(lines) + "\n"


def markdown(map_: RegisterMap) -> str:
    """Register map as a Markdown page."""
    lines = [
        f"# Registers of `{map_.description.name}`",
        "",
        f"AXI4-Lite, {BUS_BITS} bits of data, {map_.address_bits} of address. Words are read and",
        "written whole, at addresses that are multiples of 4.",
        "",
        "| Offset | Register | Bits | Field | Access | Reset | |",
        "|---|---|---|---|---|---|---|",
    ]
    for register in map_.registers:
        for field, low in placed(register):
            high = low + field.bits - 1
            bits = f"{high}:{low}" if field.bits > 1 else f"{low}"
            reset = f"0x{field.value:x}" if field.access != "status" else "-"
            row = (f"0x{register.offset:03x}", f"`{register.name}`", bits, f"`{field.name}`")
            lines.append("| " + " | ".join((*row, field.access, reset, field.about)) + " |")
    lines += [
        "",
        f"From 0x{map_.window:x} on: the load window, a word for each address of the load map in",
        "the sidecar. It can only be written, and that while `status.load_open` is 1.",
        "",
        "Access: constant, nobody writes it; status, the hardware does; control, software does;",
        "pulse, software writes 1 and it is 1 for a cycle; event, the hardware sets it, software",
        "clears it by writing 1. Bits that have no name read as 0; writing them has no effect.",
        "",
        "| Answer | To |",
        "|---|---|",
        "| OKAY | what is right |",
        "| SLVERR | a write of less than a word; an address that is not a multiple of 4 |",
        "| SLVERR | a write to a register that can only be read |",
        "| SLVERR | a read of the load window, and a write to it while it is closed |",
        "| DECERR | an address where there is nothing |",
        "",
        "What is answered with an error has no effect.",
    ]
    return "\n".join(lines) + "\n"


_RDL = {
    "constant": "sw = r; hw = na",
    "status": "sw = r; hw = w",
    "control": "sw = rw; hw = r",
    "pulse": "sw = w; hw = r; singlepulse",
    "event": "sw = rw; hw = w; onwrite = woclr; hwset",
}


def systemrdl(map_: RegisterMap) -> str:
    """Register map in SystemRDL 2.0 (Accellera), with the load window as a memory."""
    lines = [f"addrmap {_identifier(map_.description.name)} {{", ""]
    lines += [f"  default regwidth = {BUS_BITS};", ""]
    for register in map_.registers:
        lines += ["  reg {", f'    desc = "{register.about}";']
        for field, low in placed(register):
            reset = "" if field.access == "status" else f" = {field.bits}'h{field.value:x}"
            lines += [
                f'    field {{ {_RDL[field.access]}; desc = "{field.about}"; }}',
                f"      {field.name}[{low + field.bits - 1}:{low}]{reset};",
            ]
        lines += [f"  }} {register.name} @ 0x{register.offset:x};", ""]
    lines += [
        "  external mem {",
        '    desc = "The load window.";',
        f"    mementries = {map_.window_words}; memwidth = {BUS_BITS}; sw = w;",
        f"  }} load_window @ 0x{map_.window:x};",
        "};",
    ]
    return "\n".join(lines) + "\n"


def sidecar(map_: RegisterMap) -> dict[str, Any]:
    """Register map for the JSON sidecar."""
    return {
        "address_bits": map_.address_bits,
        "window": map_.window,
        "load_first": map_.load_first,
        "load_end": map_.load_end,
        "load_check": map_.load.check,
        "registers": {
            register.name: {
                "offset": register.offset,
                "writable": register.writable,
                "fields": {
                    field.name: {
                        "low": low,
                        "width": field.bits,
                        "access": field.access,
                        **({} if field.access == "status" else {"value": field.value}),
                    }
                    for field, low in placed(register)
                },
            }
            for register in map_.registers
        },
    }


def placed(register: Register) -> list[tuple[Field, int]]:
    """Fields of a register, each with its lowest bit."""
    found, low = [], 0
    for field in register.fields:
        found.append((field, low))
        low += field.bits
    return found


def mask(field: Field, low: int) -> int:
    """Mask of a field in its register."""
    return ((1 << field.bits) - 1) << low


def _macro(register: Register, field: Field | None = None) -> str:
    names = [register.name] + ([field.name] if field and field.name != "value" else [])
    return "_".join(["WORDLINE", *names]).upper()


def _identifier(name: str) -> str:
    return f"wordline_{name.replace('-', '_')}"
