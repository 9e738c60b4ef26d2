"""Verilog statements from the processes and registers of a netlist."""

import textwrap
from collections.abc import Iterable, Sequence

from gen.verilog.expressions import Expressions, bare, constant, grouped
from gen.verilog.netlist import Register
from gen.verilog.rtlil import Assign, Part, Signal, Statements, Switch, joined, width

FEW = 3
"""Maximum number of cases that are written as a ?: expression."""

LINE = 100
"""Maximum length of a line, in characters."""

Arm = tuple[str, Statements]
"""A condition ("" for else) and the statements of that branch."""


class StatementWriter:
    """Writes the statements of a module as lines."""

    def __init__(self, expressions: Expressions) -> None:
        self.expressions = expressions

    def target(self, target: Signal) -> str:
        """Text of an assignment's target."""
        wires, names = self.expressions.module.wires, self.expressions.names
        texts = []
        for part in target:
            at = f"{part.high}:{part.low}" if part.width > 1 else f"{part.low}"
            whole = part.width == wires[part.wire].width
            texts.append(names[part.wire] if whole else f"{names[part.wire]}[{at}]")
        return texts[0] if len(texts) == 1 else f"{{{', '.join(texts)}}}"

    def chosen(self, statements: Statements) -> str | None:
        """A process as one assignment with ?:; None if it does not fit."""
        aims = {s.target for s in statements if isinstance(s, Assign)}
        if len(aims) != 1 or not isinstance(statements[0], Assign):
            return None
        bits = width(statements[0].target)
        value = self.expressions.signal(statements[0].value, bits)
        for statement in statements[1:]:
            if isinstance(statement, Assign):
                return None
            arms = self._arms(statement)
            arms = self._conditions(statement) if arms is None else arms
            if arms is None:
                return None
            texts = []
            for condition, inner in arms:
                if [s.target for s in inner if isinstance(s, Assign)] != [*aims] or len(inner) > 1:
                    return None  # it assigns something else too
                own = self.expressions.signal(inner[0].value, bits)
                if not condition:
                    value = own
                    break
                texts.append(f"{grouped(condition)} ? {own} : ")
            if len(texts) == 1 and (own, value) == ("1'b1", "1'b0") and arms[0][0]:
                value = grouped(arms[0][0])
            else:
                value = "".join(texts) + value
        return (
            f"{self.target(statements[0].target)} = {bare(value)}"
            if len(value) < 2 * LINE
            else None
        )

    def lines(self, statements: Iterable[Assign | Switch], arrow: str) -> list[str]:
        """Lines of consecutive statements. arrow: Assignment operator, "=" or "<="."""
        found: list[str] = []
        for statement in _merged(statements):
            if isinstance(statement, Assign):
                value = self._value(statement)
                found += wrapped(f"{self.target(statement.target)} {arrow} {bare(value)};")
            elif any(inner for _, inner in statement.cases):
                arms = self._arms(statement)
                found += self._case(statement, arrow) if arms is None else self._if(arms, arrow)
        return found

    def _value(self, statement: Assign) -> str:
        """Text of an assigned value; states by name."""
        bits = statement.value[0].bits if len(statement.value) == 1 else ""
        named = self.expressions.state(statement.target, bits)
        return named or self.expressions.signal(statement.value, width(statement.target))

    def _conditions(self, switch: Switch) -> list[Arm] | None:
        """A case statement as comparisons; None if it has a default, don't-cares or many cases."""
        if width(switch.value) == 1 or not all(patterns for patterns, _ in switch.cases):
            return None
        value = self.expressions.signal(switch.value)
        arms: list[Arm] = []
        for patterns, inner in switch.cases:
            if any("-" in pattern for pattern in patterns):
                return None
            equal = [f"{value} == {self._label(switch, pattern)}" for pattern in patterns]
            if inner:
                arms.append((" || ".join(equal), inner))
        return arms if len(arms) <= FEW else None

    def _label(self, switch: Switch, pattern: str) -> str:
        return self.expressions.state(switch.value, pattern) or constant(pattern)

    def _arms(self, switch: Switch) -> list[Arm] | None:
        """The cases as an if chain; None unless each tests a single bit."""
        if not all(part.wire for part in switch.value):
            return None
        bits = [Part(p.wire, n, n) for p in switch.value for n in range(p.high, p.low - 1, -1)]
        arms: list[Arm] = []
        for patterns, statements in switch.cases:
            if not patterns:
                arms.append(("", statements))
                continue
            if len(patterns) > 1 or patterns[0].count("-") != len(patterns[0]) - 1:
                return None
            at = next(n for n, bit in enumerate(patterns[0]) if bit != "-")
            arms.append((self.expressions.condition(bits[at], patterns[0][at]), statements))
        while arms and not arms[-1][1]:
            arms.pop()
        return arms

    def _if(self, arms: Sequence[Arm], arrow: str) -> list[str]:
        """Lines of an if chain."""
        arms = self._flattened(arms)
        bodies = [self.lines(inner, arrow) for _, inner in arms]
        heads = [
            " ".join(filter(None, ["else" if n else "", f"if ({own})" if own else ""]))
            for n, (own, _) in enumerate(arms)
        ]
        short = [f"{head} {body[0]}" for head, body in zip(heads, bodies, strict=True) if body]
        if len(short) == len(arms) and all(
            len(body) == 1 and len(line) < LINE - 16 and _is_assignment(inner)
            for body, line, (_, inner) in zip(bodies, short, arms, strict=True)
        ):
            return short
        found = []
        for n, (head, body) in enumerate(zip(heads, bodies, strict=True)):
            found += [f"{'end ' if n else ''}{head} begin", *(f"  {line}" for line in body)]
        return [*found, "end"]

    def _flattened(self, arms: Sequence[Arm]) -> list[Arm]:
        """Merge an if inside else into else-if, and an if inside a lone if into one condition."""
        found = [*arms]
        while found:
            condition, inner = found[-1]
            only = inner[0] if len(inner) == 1 else None
            nested = self._arms(only) if isinstance(only, Switch) else None
            if not nested:
                return found
            one = len(found) == len(nested) == 1 and nested[0][0]
            if condition and not one:
                return found
            if condition:
                nested = [(f"{grouped(condition)} && {grouped(nested[0][0])}", nested[0][1])]
            found[-1:] = nested
        return found

    def _case(self, switch: Switch, arrow: str) -> list[str]:
        few = self._conditions(switch)
        if few is not None and len(few) == 1:
            return self._if(few, arrow)
        patterns_of = [pattern for patterns, _ in switch.cases for pattern in patterns]
        free = any("-" in pattern for pattern in patterns_of)
        otherwise = not all(patterns for patterns, _ in switch.cases)
        found = [f"case{'z' if free else ''} ({bare(self.expressions.signal(switch.value))})"]
        skipped = False
        for patterns, inner in switch.cases:
            labels = [
                self.expressions.state(switch.value, pattern) or _pattern(pattern)
                for pattern in patterns
            ]
            label = ", ".join(labels) or "default"
            body = self.lines(inner, arrow)
            if len(body) == 1:
                found.append(f"  {label}: {body[0]}")
            elif body:
                found += [f"  {label}: begin", *(f"    {line}" for line in body), "  end"]
            elif otherwise or free:
                found.append(f"  {label}: ;")
            else:
                skipped = True
        whole = len({*patterns_of}) == 2 ** width(switch.value) and not free and not skipped
        return [*found, *([] if whole or otherwise else ["  default: ;"]), "endcase"]

    def clocked(self, registers: Sequence[Register]) -> list[str]:
        """Clocked processes; registers with the same conditions share one."""
        groups: dict[object, list[Statements]] = {}
        for register in registers:
            groups.setdefault(_shape(register.statements), []).append(register.statements)
        found: list[str] = []
        for members in groups.values():
            body = self._with_reset(_together(members))
            if len(body) == 1 and len(body[0]) < LINE - 24:
                found.append(f"always @(posedge clk) {body[0]}")
            elif body:
                found += ["always @(posedge clk) begin", *(f"  {line}" for line in body), "end"]
        return found

    def _with_reset(self, statements: Statements) -> list[str]:
        """The statements with the reset moved from the end to the front."""
        last = statements[-1] if statements else None
        if (
            isinstance(last, Switch)
            and [part.wire for part in last.value] == ["rst"]
            and [patterns for patterns, _ in last.cases] == [("1",)]
        ):
            arms = [("rst", last.cases[0][1]), ("", statements[:-1])]
            return self._if([arm for arm in arms if arm[1]], "<=")
        return self.lines(statements, "<=")


def _is_assignment(statements: Statements) -> bool:
    return not any(isinstance(statement, Switch) for statement in statements)


def _pattern(bits: str) -> str:
    return f"{len(bits)}'b{bits.replace('-', '?')}"


def _merged(statements: Iterable[Assign | Switch]) -> Statements:
    """Merge assignments of adjacent parts whose values are adjacent too."""
    found: list[Assign | Switch] = []
    for statement in statements:
        last = found[-1] if found else None
        if isinstance(last, Assign) and isinstance(statement, Assign):
            for above, below in ((statement, last), (last, statement)):
                target = joined((*above.target, *below.target))
                value = joined((*above.value, *below.value))
                if len(target) == 1 and len(value) == 1:
                    found[-1] = statement = Assign(target, value)
                    break
            else:
                found.append(statement)
        else:
            found.append(statement)
    return tuple(found)


def _shape(statements: Iterable[Assign | Switch]) -> tuple[object, ...]:
    """The conditions of statements, without their assignments."""
    return tuple(
        "assign" if isinstance(s, Assign) else (s.value, tuple((p, _shape(i)) for p, i in s.cases))
        for s in statements
    )


def _together(members: Sequence[Statements]) -> Statements:
    """Merge statements with the same conditions."""
    found: list[Assign | Switch] = []
    for row in zip(*members, strict=True):
        if isinstance(row[0], Assign):
            found += row
        else:
            switches = [s for s in row if isinstance(s, Switch)]
            cases = zip(*(s.cases for s in switches), strict=True)
            joint = tuple((c[0][0], _together([inner for _, inner in c])) for c in cases)
            found.append(Switch(row[0].value, joint))
    return tuple(found)


def wrapped(line: str) -> list[str]:
    """Wrap a line to the maximum length."""
    return textwrap.wrap(
        line, LINE - 2, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False
    )
