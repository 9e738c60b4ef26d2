"""What a spec is, and how a fault is put into the block that it is about."""

import inspect
import sys
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.formal.engine import Scene


@dataclass(frozen=True)
class Spec:
    """What a block is claimed to do.

    block: The class, or a function that makes logic.
    build: Fills a scene with the block, made with the class that it is given, and claims.
    cases: Sizes and kinds that it is proved for; the arguments of `build` by name.
    mutants: Faults by name: a piece of the source of the block's module, and what replaces it.
    fault_in: The case that mutants are refuted in, if it is not the first one.
    seconds: Time for a proof.
    depths: Cycles by claim, by case: claims that are not proved for all times, but for so many
        cycles.
    """

    block: Any
    build: Callable[..., None]
    cases: Mapping[str, Mapping[str, Any]]
    mutants: Mapping[str, tuple[str, str]]
    fault_in: Mapping[str, str] = field(default_factory=dict)
    seconds: int = 60
    depths: Mapping[str, Mapping[str, int]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """That of the block, and of what is said about it."""
        return f"{self.block.__name__}.{self.build.__name__}"

    def scene(self, case: str, mutant: str | None = None) -> Callable[[Scene], None]:
        """A function that fills a scene, with a fault in the block if there is one."""
        block = self.block if mutant is None else with_fault(self.block, *self.mutants[mutant])
        return lambda scene: self.build(scene, block, **self.cases[case])

    def case_of(self, mutant: str) -> str:
        """The case that a mutant is refuted in."""
        return self.fault_in.get(mutant, next(iter(self.cases)))


SPECS: dict[str, Spec] = {}


def spec(
    block: Any,
    *,
    cases: Mapping[str, Mapping[str, Any]],
    mutants: Mapping[str, tuple[str, str]],
    **options: Any,
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Make a function a spec."""

    def keep(build: Callable[..., None]) -> Callable[..., None]:
        made = Spec(block, build, cases, mutants, **options)
        assert made.name not in SPECS and mutants, made.name
        SPECS[made.name] = made
        return build

    return keep


def with_fault(block: Any, before: str, after: str) -> Any:
    """A class, or a function, in whose source `before`, which is there once, is `after`.

    The source is that of the module of the class, or of a class that it is derived from.
    """
    classes = getattr(block, "__mro__", (block,))  # a function has none
    own = [cls.__module__ for cls in classes if cls.__module__.startswith("hw.")]
    counts = {name: inspect.getsource(sys.modules[name]).count(before) for name in own}
    assert [n for n in counts.values() if n] == [1], (before, counts)
    (name,) = (name for name, count in counts.items() if count)
    made = _module(name, inspect.getsource(sys.modules[name]).replace(before, after))
    if name != block.__module__:
        kept = sys.modules[name]
        sys.modules[name] = made
        try:
            made = _module(block.__module__, inspect.getsource(sys.modules[block.__module__]))
        finally:
            sys.modules[name] = kept
    return getattr(made, block.__name__)


def _module(name: str, source: str) -> types.ModuleType:
    module = types.ModuleType(name)
    module.__file__ = f"<{name} with a fault>"
    exec(compile(source, module.__file__, "exec"), module.__dict__)
    return module
