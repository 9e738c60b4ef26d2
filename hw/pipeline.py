"""Pipelines: stages with named fields, which one signal moves.

A field is a value, or a list or a dict of fields: `{"i": [..., ...]}` has the nets `s1_i_0` and
`s1_i_1` in the registers of stage 1. What is computed within a stage is named by `Pipeline.net`.
"""

from collections.abc import Callable
from typing import Any

from amaranth.hdl import Module, Signal, Value
from amaranth.lib import data


class Pipeline:
    """Stages that move together, when `advance` is high. deep: `Stage.apart` adds a stage."""

    def __init__(self, m: Module, advance: Value, *, deep: bool) -> None:
        self.m, self.advance, self.deep = m, advance, deep

    def begin(self, valid: Value, **fields: Any) -> "Stage":
        """Stage 0: what comes in, in no register."""
        return Stage(self, 0, valid, fields)

    def net(self, name: str, field: Any) -> Any:
        """A field that is computed, as nets of its name."""
        return _each(name, field, self._net)

    def _net(self, name: str, value: Any) -> Any:
        net = _signal(name, value)
        self.m.d.comb += net.eq(value)
        return net


class Stage:
    """What is known in one cycle: `valid`, and fields, each an attribute.

    `valid` follows whenever the pipeline moves; the fields only with what is valid, so that a stage
    that has nothing to do is still.
    """

    def __init__(
        self, pipeline: Pipeline, number: int, valid: Value, fields: dict[str, Any]
    ) -> None:
        self.pipeline, self.number, self.valid, self.fields = pipeline, number, valid, fields
        self._moves: Value | None = None

    def __getattr__(self, name: str) -> Any:
        try:
            return self.__dict__["fields"][name]
        except KeyError:
            raise AttributeError(f"stage {self.number} has no field {name!r}") from None

    @property
    def moves(self) -> Value:
        """What is in this stage goes on to the next one in this cycle."""
        if self._moves is None:
            moves = self.pipeline.advance & self.valid
            self._moves = self.pipeline.net(f"s{self.number}_moves", moves)
        return self._moves

    def next(self, *carried: str, **computed: Any) -> "Stage":
        """The next stage, with these fields of this one, and with what this one computed."""
        fields = {name: self.fields[name] for name in carried} | computed
        return self._next(fields)

    def apart(self, **computed: Any) -> "Stage":
        """All fields, and what was computed from them: in the deep pipeline a stage of their own;
        in the short one this stage goes on with them."""
        if self.pipeline.deep:
            return self._next(self.fields | computed)
        later = Stage(self.pipeline, self.number, self.valid, self.fields | computed)
        later._moves = self._moves
        return later

    def looked_up(self, **entries: Any) -> tuple["Stage", list[Any]]:
        """The stage after which entries are there that a memory was asked for in this one; and the
        entries. In the deep pipeline they wait for that in registers, a stage longer."""
        if not self.pipeline.deep:
            return self, [*entries.values()]
        later = self._next(self.fields)
        return later, [later._held(name, entry) for name, entry in entries.items()]

    def _next(self, fields: dict[str, Any]) -> "Stage":
        m, number = self.pipeline.m, self.number + 1
        valid = Signal(name=f"s{number}_valid")
        with m.If(self.pipeline.advance):
            m.d.sync += valid.eq(self.valid)
        held = {name: self._held(name, field) for name, field in fields.items()}
        return Stage(self.pipeline, number, valid, held)

    def _held(self, name: str, field: Any) -> Any:
        """Registers of the next stage."""
        return _each(f"s{self.number + 1}_{name}", field, self._register)

    def _register(self, name: str, value: Any) -> Any:
        register = _signal(name, value)
        with self.pipeline.m.If(self.moves):
            self.pipeline.m.d.sync += register.eq(value)
        return register


def _each(name: str, field: Any, make: Callable[[str, Any], Any]) -> Any:
    """The same field, made of other values."""
    if isinstance(field, list):
        return [_each(f"{name}_{n}", value, make) for n, value in enumerate(field)]
    if isinstance(field, dict):
        return {key: _each(f"{name}_{key}", value, make) for key, value in field.items()}
    return make(name, field)


def _signal(name: str, value: Any) -> Any:
    """A signal for a value of its shape."""
    shape = value.shape() if isinstance(value, data.View) else Value.cast(value).shape()
    return Signal(shape, name=name)
