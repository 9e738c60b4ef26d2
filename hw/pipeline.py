"""Pipelines: stages with named fields that advance together.

A field is a value, or a list or dict of fields. In stage 1 the field x = `{"i": [a, b]}` has the
registers `s1_x_i_0` and `s1_x_i_1`. `Pipeline.net` names combinational values within a stage.
"""

from collections.abc import Callable
from typing import Any

from amaranth.hdl import Module, Signal, Value
from amaranth.lib import data


class Pipeline:
    """Stages that advance while `advance` is high. deep: `Stage.apart` inserts a stage."""

    def __init__(self, m: Module, advance: Value, *, deep: bool) -> None:
        self.m, self.advance, self.deep = m, advance, deep

    def begin(self, valid: Value, **fields: Any) -> "Stage":
        """Stage 0: the inputs, not registered."""
        return Stage(self, 0, valid, fields)

    def net(self, name: str, field: Any) -> Any:
        """Name the nets of a combinational field."""
        return _each(name, field, self._net)

    def _net(self, name: str, value: Any) -> Any:
        net = _signal(name, value)
        self.m.d.comb += net.eq(value)
        return net


class Stage:
    """One stage: `valid`, and its fields as attributes.

    `valid` is registered whenever the pipeline advances. Fields are registered only with valid
    data, so that an empty stage does not toggle.
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
        """High in a cycle in which this stage passes valid data to the next one."""
        if self._moves is None:
            moves = self.pipeline.advance & self.valid
            self._moves = self.pipeline.net(f"s{self.number}_moves", moves)
        return self._moves

    def next(self, *carried: str, **computed: Any) -> "Stage":
        """The next stage, which registers the carried and the computed fields."""
        fields = {name: self.fields[name] for name in carried} | computed
        return self._next(fields)

    def apart(self, **computed: Any) -> "Stage":
        """Add computed fields.

        In the short pipeline they belong to this stage. The deep pipeline inserts a stage that
        registers them with all other fields.
        """
        if self.pipeline.deep:
            return self._next(self.fields | computed)
        later = Stage(self.pipeline, self.number, self.valid, self.fields | computed)
        later._moves = self._moves
        return later

    def looked_up(self, **entries: Any) -> tuple["Stage", list[Any]]:
        """Wait for memory reads that this stage issued.

        Returns a stage and the entries, which are valid in the stage after it. The deep pipeline
        inserts a stage, which registers the entries.
        """
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
    """The same field, with `make` applied to each value."""
    if isinstance(field, list):
        return [_each(f"{name}_{n}", value, make) for n, value in enumerate(field)]
    if isinstance(field, dict):
        return {key: _each(f"{name}_{key}", value, make) for key, value in field.items()}
    return make(name, field)


def _signal(name: str, value: Any) -> Any:
    """A signal of the value's shape."""
    shape = value.shape() if isinstance(value, data.View) else Value.cast(value).shape()
    return Signal(shape, name=name)
