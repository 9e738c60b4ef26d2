"""Scaling between technology nodes.

Source: A. Stillmaker and B. Baas, "Scaling equations for the accurate prediction of CMOS device
performance from 180 nm to 7 nm", Integration 58 (2017), 74-81.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

NODES: dict[int, tuple[float, tuple[float, ...], tuple[float, ...], float]] = {
    180: (1.8, (0, 97.09, -356.7, 406.5), (0, 24.64, -17.98), 1.0),
    130: (1.3, (-76.65, 334.9, -493.4, 275.8), (7.171, -6.709, 2.904), 0.34),
    90: (1.2, (-60.34, 262.5, -384.2, 210.9), (4.762, -4.781, 2.092), 0.15),
    65: (1.1, (-53.3, 230.4, -333.9, 178.6), (3.755, -4.398, 1.975), 0.08),
    45: (1.0, (-501.6, 1567, -1619, 566.1), (1.018, -0.3107, 0.1539), 0.053),
    32: (0.9, (-1047, 2982, -2797, 873.5), (0.8367, -0.4341, 0.1701), 0.025),
    20: (0.9, (0, 34.63, -66.37, 41.15), (0.373, -0.1582, 0.04104), 0.011),
    16: (0.85, (0, 24.8, -47.52, 28.87), (0.2958, -0.1241, 0.03024), 0.01),
    14: (0.8, (-40.66, 109.2, -100.6, 35.92), (0.2363, -0.09675, 0.02239), 0.0093),
    10: (0.75, (-34.95, 93.65, -85.99, 30.4), (0.2068, -0.09311, 0.02375), 0.0055),
    7: (0.7, (-28.58, 76.6, -70.26, 24.69), (0.1776, -0.09097, 0.02447), 0.0032),
}
"""Models by node (nm): nominal voltage, polynomials of delay and energy in the voltage, area.

Polynomials start with the highest power. Area is relative to 180 nm. If a node has two models, this
is the high-performance one.
"""


@dataclass(frozen=True)
class Factors:
    """Factors for energy, delay and area of a circuit in another node."""

    energy: float
    delay: float
    area: float


def scale(source: float, target: float) -> Factors:
    """Factors from one node (nm) to another, each at its nominal voltage.

    Between listed nodes values are interpolated: their logarithm is linear in that of the node.
    Raises ValueError outside the listed range.
    """
    return Factors(
        *(_at(target, of) / _at(source, of) for of in (node_energy, node_delay, node_area))
    )


def _polynomial(coefficients: tuple[float, ...], volts: float) -> float:
    value = 0.0
    for coefficient in coefficients:
        value = value * volts + coefficient
    return value


def node_energy(node: int, volts: float | None = None) -> float:
    """Energy factor of a listed node, at its nominal voltage or another (V)."""
    nominal, _, coefficients, _ = NODES[node]
    return _polynomial(coefficients, volts or nominal)


def node_delay(node: int, volts: float | None = None) -> float:
    """Delay factor of a listed node, at its nominal voltage or another (V)."""
    nominal, coefficients, _, _ = NODES[node]
    return _polynomial(coefficients, volts or nominal)


def nominal(node: float) -> float:
    """Nominal voltage of a node (V), interpolated between listed nodes."""
    return _at(node, lambda listed: NODES[listed][0])


def node_area(node: int) -> float:
    """Area factor of a listed node, relative to 180 nm."""
    return NODES[node][3]


def _at(node: float, of: Callable[[int], float]) -> float:
    below = max((listed for listed in NODES if listed <= node), default=None)
    above = min((listed for listed in NODES if listed >= node), default=None)
    if below is None or above is None:
        raise ValueError(f"{node} nm is not in {min(NODES)}..{max(NODES)} nm")
    if below == above:
        return of(below)
    part = math.log(node / below) / math.log(above / below)
    return float(of(below) ** (1 - part) * of(above) ** part)
