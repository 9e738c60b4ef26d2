"""Level tables: where the few levels of a cell lie (docs/contract.md, 3 and 12).

Levels need not be equally spaced, because not all are equally important to the network: this idea
is from Yan, Ahn and Duan (CASES 2017). We could read only the abstract of how they place them; the
methods here are ours. Each takes an array's weights and returns differential conductance codes that
a device can hold. Neighbouring codes are far enough apart to be distinguished after programming.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Literal, get_args

import torch
from pydantic import Field, Strict
from torch import Tensor

from golden.effects import Fraction, deviation
from golden.errors import WordlineError
from golden.validation import Int, frozen

Method = Literal["uniform", "lloyd-max", "k-means", "pruning"]
METHODS: tuple[Method, ...] = get_args(Method)

IMPORTANT: tuple[Method, ...] = ("k-means", "pruning")
"""Methods that weight the error of each weight by its importance."""

CLIPS = tuple(n / 4 for n in range(4, 21))
"""Candidates of full scale, in standard deviations of an array's weights; the best one is used."""

POINTS = 8
"""Pruning starts from this many points per level, if they fit."""


@frozen
class Levels:
    """How training finds the level table of each array.

    method:     "uniform": equally spaced at the scale of least mean squared error; an even number
                may have one level more on one side of 0, to have 0 too. "lloyd-max":
                least mean squared error of the weights. "k-means": the same, each weight's error
                weighted by its importance, the mean squared gradient of the loss. "pruning": from
                many equally spaced points the cheapest one is removed, in that measure, until
                `count` remain.
    count:      Levels per table; default: as many as `device.weight_bits` allows.
    symmetric:  Whether the table is symmetric around 0. An even count has no level at 0; a table of
                one level less, with 0, is taken where its error is smaller.
    separation: Minimum distance of neighbours in standard deviations of programming noise, the
                root mean square of the two.
    noise:      That noise: a device model of `golden.effects.DEVICES`, or a constant fraction of
                full scale.
    """

    method: Method = "k-means"
    count: Annotated[Int, Field(ge=2, le=256)] | None = None
    symmetric: bool = False
    separation: Annotated[float, Strict(), Field(ge=0, le=100)] = 0.0
    noise: Literal["pcm", "reram"] | Fraction = 0.0

    def __post_init__(self) -> None:
        if self.separation and not self.noise:
            raise ValueError(
                f"levels.separation = {self.separation} counts deviations of programming noise, "
                f"but levels.noise = {self.noise}; set it to 'pcm', 'reram' or a fraction of full "
                f"scale, or separation to 0"
            )


@dataclass(frozen=True)
class Table:
    """A level table and its scale.

    levels: Differential codes, ascending.
    clip: The largest code, in standard deviations of the weights.
    error: Mean squared error, weighted as the method does, in squares of that deviation. Only
        `place` sets it, else NaN.
    """

    levels: tuple[int, ...]
    clip: float
    error: float = math.nan


def place(weights: Tensor, importance: Tensor, how: Levels, count: int, most: int) -> Table:
    """Find a table of at most `count` levels for weights in standard deviations.

    The outermost level is at full scale, to use the device's whole range. There are fewer levels if
    more would be too close.

    importance: Importance of each weight, at least 0, for the methods in IMPORTANT.
    most: Largest conductance code.

    Raises WordlineError if not even two levels fit.
    """
    counted = importance if how.method in IMPORTANT else torch.ones_like(weights)
    if not float(counted.sum()) > 0:
        counted = torch.ones_like(weights)  # for example the head of an untrained network
    apart = spacing(how, candidates(most))
    find = {"uniform": _uniform, "pruning": _pruned}.get(how.method, _least)
    best: Table | None = None
    for clip in CLIPS:
        cost = _Cost(weights * most / clip, counted, most)
        for levels in find(cost, apart, count, symmetric=how.symmetric):
            error = cost.of(levels) * (clip / most) ** 2
            if best is None or error < best.error:
                best = Table(levels, clip, error)
    if best is None:
        raise WordlineError(
            f"levels.separation = {how.separation} leaves no room for two levels between -{most} "
            f"and {most}; lower it."
        )
    return best


def candidates(most: int) -> Tensor:
    """Codes that a level may have, ascending: all codes, or 255 per side on finer devices.

    Finer steps than 1/255 hardly change the best table.
    """
    steps = min(most, 255)
    positive = (torch.arange(steps + 1) * most + steps // 2) // steps
    return torch.cat([-positive[1:].flip(0), positive])


def spacing(how: Levels, codes: Tensor) -> Tensor:
    """Minimum distance of every two levels of `codes`, shape (n, n), in codes.

    The last one of the codes (n,) is full scale. A weight is a pair with one device at 0; its
    variance is the sum of both devices' variances.
    """
    most = float(codes[-1])
    g = codes.double().abs() / most
    square = (deviation(how.noise, g) ** 2 + deviation(how.noise, 0 * g) ** 2) * most**2
    return (how.separation * ((square[:, None] + square) / 2).sqrt()).clamp(min=1.0)


def _least(
    cost: "_Cost", apart: Tensor, count: int, *, symmetric: bool
) -> Iterator[tuple[int, ...]]:
    """Yield the tables of least error, one for each condition on the ends.

    The lowest or the highest level is at full scale. A symmetric table is found with and without 0.

    The best table of k levels that ends at a code is that code and the best table of k - 1 levels
    that ends below it, by dynamic programming as in Wang and Song's k-means in one dimension (R
    Journal 3/2, 2011). So there are no local minima, and neighbours that are too close are
    excluded.
    """
    codes, most = cost.codes, cost.most
    counted = cost.folded() if symmetric else cost
    pairs = torch.where(codes[None] - codes[:, None] >= apart, counted.pairs(), torch.inf)
    below, above = counted.ends()

    def only(code: int, values: Tensor) -> Tensor:
        """Keep the value of one code; exclude the others."""
        return torch.where(codes == code, values, torch.inf)

    if not symmetric:
        for first, last in ((below, only(most, above)), (only(-most, below), above)):
            yield from _chain(first, pairs, last, range(2, count + 1), codes)
        return
    # Positive half of the table, from 0 or from a level far enough from its mirror image.
    fits = (codes > 0) & (2 * codes >= apart.flip(0).diagonal())
    mirrored = torch.where(fits, below, torch.inf)
    for first, levels in ((mirrored, count // 2), (only(0, below), (count + 1) // 2)):
        for half in _chain(first, pairs, only(most, above), range(1, levels + 1), codes):
            yield tuple(sorted({*half, *(-code for code in half)}))


def _chain(
    first: Tensor, pairs: Tensor, last: Tensor, counts: range, codes: Tensor
) -> Iterator[tuple[int, ...]]:
    """Yield the chain of `codes` with the least total cost, if there is one.

    first: Cost of each code as the first.
    pairs: Cost of each pair of codes as neighbours.
    last: Cost of each code as the last.
    counts: Allowed numbers of codes.
    """
    totals, before = [first], []
    for _ in range(counts[-1] - 1):
        total, neighbour = (totals[-1][:, None] + pairs).min(0)
        totals.append(total)
        before.append(neighbour)
    ends = torch.stack(totals) + last
    ends[: counts[0] - 1] = torch.inf
    if not bool(ends.isfinite().any()):
        return
    further, number = divmod(int(ends.argmin()), ends.shape[1])
    chain = [number]
    for neighbour in reversed(before[:further]):
        chain.append(int(neighbour[chain[-1]]))
    yield tuple(codes[chain[::-1]].tolist())


def _uniform(
    cost: "_Cost", apart: Tensor, count: int, *, symmetric: bool
) -> Iterator[tuple[int, ...]]:
    """Yield the equally spaced tables of 2 to `count` levels.

    An even number of levels that are symmetric around 0 has none at 0. Unless tables must be
    symmetric, there are also those with 0 and one level more on one side.
    """
    last = len(cost.codes) - 1
    found = [_equally_spaced(levels, last) for levels in range(2, count + 1)]
    if not symmetric:
        for levels in range(4, count + 1, 2):
            whole = _equally_spaced(levels + 1, last)
            found += [whole[:-1], whole[1:]]
    for chosen in found:
        table = cost.codes[chosen]
        if bool((table.diff() >= apart[chosen[:-1], chosen[1:]]).all()):
            yield tuple(table.tolist())


def _equally_spaced(points: int, last: int) -> list[int]:
    """`points` integers from 0 to `last`, equally spaced up to rounding, symmetric."""
    left = [n * last // (points - 1) for n in range((points + 1) // 2)]
    return left + [last - n for n in reversed(left[: points // 2])]


def _pruned(
    cost: "_Cost", apart: Tensor, count: int, *, symmetric: bool
) -> Iterator[tuple[int, ...]]:
    """Yield a table of equally spaced points from which the cheapest are removed one by one.

    A symmetric table loses pairs.
    """
    pairs = cost.pairs().numpy()
    points = min(POINTS * count, 2 * cost.most // math.ceil(float(apart.max())) + 1)
    if symmetric:
        points -= 1 - points % 2  # odd, so that 0 is a point
    if points < 2:
        return
    last = len(cost.codes) - 1
    left = _equally_spaced(points, last)

    def missed(point: int) -> float:
        """Cost of removing a point."""
        n = left.index(point)
        a, b, c = left[n - 1 : n + 2]
        return float(pairs[a, c] - pairs[a, b] - pairs[b, c])

    while len(left) > max(2, count):
        inner = left[1:-1]
        if not symmetric:
            left.remove(min(inner, key=missed))
            continue
        # Remove pairs, or 0 if an even number of levels is to remain. `last - p` mirrors p.
        may_go = (p for p in inner if 2 * p > last or (2 * p == last and count % 2 == 0))
        costs = {p: sum(missed(q) for q in {p, last - p}) for p in may_go}
        least = min(costs, key=costs.__getitem__)
        left = [p for p in left if p not in (least, last - least)]
    yield tuple(cost.codes[left].tolist())


class _Cost:
    """Squared error of weights (in codes) rounded to the nearest level, weighted by `counted`."""

    def __init__(self, weights: Tensor, counted: Tensor, most: int) -> None:
        self.most, self.codes = most, candidates(most)
        self.counted = counted = (counted / counted.sum()).double().flatten()
        self.weights = weights = weights.double().flatten()
        # Sums over the weights below each half code: all levels and all boundaries are half codes.
        cell = (2 * (weights + most)).floor().clamp(-1, 4 * most).long() + 1
        sums = [
            torch.zeros(4 * most + 2, dtype=torch.float64)
            .index_add(0, cell, counted * weights**power)
            .cumsum(0)
            for power in range(3)
        ]
        self.below = torch.stack([torch.zeros(3, dtype=torch.float64), *torch.stack(sums, 1)])

    def between(self, start: Tensor, end: Tensor, level: Tensor) -> Tensor:
        """Error at `level` of the weights from half code `start` up to, not including, `end`."""
        n, first, second = (self.below[end] - self.below[start]).unbind(-1)
        return second - 2 * level * first + level**2 * n

    def pairs(self) -> Tensor:
        """Error of the weights between two neighbouring levels, shape (codes, codes)."""
        low, high = self.codes[:, None], self.codes[None]
        middle = low + high + 2 * self.most + 1
        return self.between(self.half(low), middle, low) + self.between(
            middle, self.half(high), high
        )

    def ends(self) -> tuple[Tensor, Tensor]:
        """Error of the weights below the lowest and above the highest level, (codes,) each."""
        at, codes = self.half(self.codes), self.codes
        last = torch.tensor(len(self.below) - 1)
        return self.between(torch.tensor(0), at, codes), self.between(at, last, codes)

    def folded(self) -> "_Cost":
        """The same with the magnitudes of the weights."""
        return _Cost(self.weights.abs(), self.counted, self.most)

    def half(self, codes: Tensor) -> Tensor:
        """Index into `below` of the weights from a code on."""
        return 2 * (codes + self.most) + 1

    def of(self, levels: tuple[int, ...]) -> float:
        """Error of all weights."""
        table = torch.tensor(levels)
        bounds = table[1:] + table[:-1] + 2 * self.most + 1
        start = torch.cat([torch.tensor([0]), bounds])
        end = torch.cat([bounds, torch.tensor([len(self.below) - 1])])
        return float(self.between(start, end, table).sum())
