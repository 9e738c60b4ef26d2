"""All specs."""

from tests.formal import arithmetic, arrays, bus, gates, loading, serial, streams
from tests.formal.spec import SPECS

__all__ = ["SPECS", "arithmetic", "arrays", "bus", "gates", "loading", "serial", "streams"]
