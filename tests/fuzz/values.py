"""Odd values, and structured data with odd values in it."""

import copy
import random
from typing import Any

NUMBERS = (
    *(0, 1, -1, 2, 3, 7, 8, 15, 16, 63, 64, 255, 256, 1000, 4095, 4096, 4097, 65_535, 65_536),
    *(2**31 - 1, 2**31, 2**32, 2**53, 2**63 - 1, 2**63, 2**64, -(2**63), 10**30, 10**300),
)

NAMES = (
    *("", "x", "../x", "../../x", "/etc/passwd", "/dev/zero", "a/b", "a\\b", ".", "..", "~", "-x"),
    *(
        "a b",
        "a;b",
        "$(id)",
        "a\nb",
        "a\x00b",
        "\x1b[31mred",
        "ä",
        "\u202e",
        "\U0001f600",
        "x" * 41,
    ),
    *(
        "x" * 41,
        "x" * 3000,
        "a" * 300 + ".npz",
        "none.npz",
        "../none.npz",
        "%n%s",
        "{}",
        "[bold]x[/bold]",
    ),
)

REALS = (0.0, -0.0, 0.5, 1.0, -1.0, 1e-300, 1e300, float("nan"), float("inf"), float("-inf"))


def odd(draw: random.Random) -> Any:
    """Any value of TOML or JSON."""
    what = draw.randrange(9)
    if what < 3:
        return draw.choice(NUMBERS)
    if what == 3:
        return draw.choice(NAMES)
    if what == 4:
        return draw.choice(REALS)
    if what == 5:
        return draw.choice((True, False))
    if what == 6:
        return [odd(draw) for _ in range(draw.choice((0, 1, 2, 9)))]
    if what == 7:
        return {draw.choice(NAMES): odd(draw) for _ in range(draw.choice((0, 1, 2)))}
    return draw.choice((NUMBERS, REALS))[0:1] * draw.choice((1, 9, 3000))


def near(value: Any, draw: random.Random) -> Any:
    """A value of the same type, near or far from a given one."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        small = (value + 1, value - 1, value * 2, value // 2, draw.randint(0, 16))
        return draw.choice(small) if draw.random() < 0.7 else draw.choice(NUMBERS)
    if isinstance(value, float):
        return draw.choice((value * 2, value / 3, -value, *REALS))
    if isinstance(value, str):
        return draw.choice((value[:-1], value + "x", value.upper(), *NAMES))
    if isinstance(value, list) and value:
        own = list(value)
        at = draw.randrange(len(own))
        what = draw.randrange(4)
        if what == 0:
            own[at] = near(own[at], draw)
        elif what == 1:
            own *= draw.choice((2, 9))
        elif what == 2:
            del own[at]
        else:
            own.insert(at, odd(draw))
        return own
    return odd(draw)


def places(data: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Paths of all values in nested dicts and lists."""
    found = [path] if path else []
    if isinstance(data, dict):
        for key, value in data.items():
            found += places(value, (*path, key))
    elif isinstance(data, list):
        for n, value in enumerate(data[:20]):
            found += places(value, (*path, n))
    return found


def changed(data: Any, draw: random.Random) -> Any:
    """A copy of nested data with a value changed, deleted, moved or added."""
    own = copy.deepcopy(data)
    known = places(own)
    path = draw.choice(known)
    inside = own
    for key in path[:-1]:
        inside = inside[key]
    key, what = path[-1], draw.random()
    if what < 0.55:
        inside[key] = near(inside[key], draw)
    elif what < 0.75:
        inside[key] = odd(draw)
    elif what < 0.85:
        del inside[key]
    elif isinstance(inside, dict):
        name = draw.choice((*NAMES, *(str(own[-1]) for own in known)))
        inside[name] = odd(draw) if draw.random() < 0.5 else copy.deepcopy(inside[key])
    else:
        inside.append(odd(draw))
    return own
