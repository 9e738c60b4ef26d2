"""Networks from PyTorch's state_dicts: parts by the names of their tensors, and their order.

A state_dict has no graph. If the sizes of the parts fit in one order only, that is the order.
Otherwise recurrent layers are in the order of the dictionary, if that is the order in which they
were made or if their names differ in numbers alone. If a matrix still fits in several places, the
file is rejected unless the order is given. So is a matrix without bias that may read the input: it
may be an embedding table.
"""

import itertools
import re
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import torch
from torch import Tensor

from golden.errors import WordlineError
from golden.frontends.chain import INSTEAD, Foreign, Layer, Linear, assemble

KINDS = {4: "lstm", 1: "rnn"}
"""Kind of a cell by its number of gates."""

REAL = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
"""Types of weights; PyTorch computes little in others."""

RECURRENT = re.compile(r"(.*?)(weight_ih|weight_hh|weight_hr|bias_ih|bias_hh)_l(\d+)(_reverse)?")

MOST = 100_000
"""Maximum steps of the search for an order; what it does not find by then is ambiguous."""

SHOWN = 3
"""Maximum orders that a message proposes."""

STRANGE = {
    "_orig": "it is pruned; make that permanent with torch.nn.utils.prune.remove, and save again",
    "_mask": "it is pruned; make that permanent with torch.nn.utils.prune.remove, and save again",
    "parametrizations": "it is parametrised; call torch.nn.utils.parametrize."
    "remove_parametrizations on it, and save again",
    "_raw": "its weights are dropped at random (AWD); save them under PyTorch's names",
    "packed_params": "it is quantised; save the float network",
    "running_mean": "it is a normalisation layer; train the network without",
    "analog": "it is an analog tile; save the network's weights in nn.LSTM and nn.Linear layers",
}
"""Explanations for tensors that cannot be mapped, by a part of their names."""


class _Part:
    """Recurrent layers of one module, or a matrix."""

    def __init__(self, name: str, layers: Sequence[Layer | Linear], kinds: set[str]) -> None:
        self.name, self.layers, self.kinds = name, layers, kinds

    @property
    def recurrent(self) -> bool:
        return bool(self.kinds)

    @property
    def perhaps_a_table(self) -> bool:
        """Whether it may be the weights of an `nn.Embedding`, which have no bias."""
        (own, *_) = self.layers
        return isinstance(own, Linear) and own.bias is None


def from_state_dict(
    tensors: Mapping[str, Any],
    source: str = "the state_dict",
    *,
    made: bool = True,
    order: Sequence[str] | None = None,
    inputs: int | None = None,
) -> Foreign:
    """Read a network from the tensors of a module.

    made: Whether the tensors are in the order in which the module's parts were made, as PyTorch
        saves them.
    order: Names of the parts, starting at the input.
    inputs: Channels of the network's input, if known.

    Raises WordlineError if a part cannot be mapped, or if the order is ambiguous.
    """
    parts = _parts(tensors, source)
    if not any(part.recurrent for part in parts):
        raise WordlineError(
            f"{source} has no recurrent layer (no weight_ih_l0); its tensors are "
            f"{', '.join([*tensors][:6]) or 'none'}."
        )
    kinds = set().union(*(part.kinds for part in parts))
    if len(kinds) == 1:
        parts = _ordered(parts, source, made, order, inputs)
    names = [
        f"{name}[{n}]" if len(part.layers) > 1 else name
        for part in parts
        for name in (part.name or next(iter(part.kinds), "linear"),)
        for n in range(len(part.layers))
    ]
    return assemble(
        source,
        kinds,
        [layer for part in parts for layer in part.layers],
        chain=tuple(names),
        why_not="a state_dict has no graph; check the order of its parts",
    )


def _parts(tensors: Mapping[str, Any], source: str) -> list[_Part]:
    """Parts in the order of their first tensors."""
    recurrent: dict[str, dict[int, dict[str, Tensor]]] = {}
    rest: dict[str, dict[str, Tensor]] = {}
    names: dict[str, None] = {}
    for name, tensor in tensors.items():
        if not isinstance(name, str):
            raise WordlineError(f"{source} has the key {name!r}, no name; save model.state_dict().")
        _check_tensor(name, tensor, tensors, source)
        found = RECURRENT.fullmatch(name)
        if found is None:
            own, _, what = name.rpartition(".")
            if what not in ("weight", "bias"):
                _strange(name, source)
            rest.setdefault(own, {})[what] = tensor.detach().cpu()
        else:
            prefix, part, number, reverse = found.groups()
            if reverse:
                _refuse(f"{source} ({name})", "bidirectional")
            if part == "weight_hr":
                _refuse(f"{source} ({name})", "projection")
            own = prefix.removesuffix(".")
            layers = recurrent.setdefault(own, {})
            layers.setdefault(int(number), {})[part] = tensor.detach().cpu()
        names[own] = None
    parts = []
    for name in names:
        if name in recurrent and name in rest:
            _strange(f"{name}.{next(iter(rest[name]))}".lstrip("."), source)
        if name in rest:
            parts.append(_Part(name, [_linear(name, rest[name], source)], set()))
            continue
        missing = {*range(max(recurrent[name]) + 1)} - {*recurrent[name]}
        if missing:
            prefix = f"{name}." if name else ""
            raise WordlineError(
                f"{source} has {prefix}weight_ih_l{max(recurrent[name])}, but not "
                f"{prefix}weight_ih_l{min(missing)}: a layer is missing; save the whole network."
            )
        stack, kinds = [], set()
        for number, given in sorted(recurrent[name].items()):
            where = f"{source} ({name + '.' if name else ''}weight_ih_l{number})"
            gates, layer = _layer(given, where)
            stack.append(layer)
            kinds.add(KINDS[gates])
        parts.append(_Part(name, stack, kinds))
    return parts


def _check_tensor(name: str, tensor: Any, tensors: Mapping[str, Any], source: str) -> None:
    if isinstance(tensor, Tensor) and not tensor.is_quantized:
        if tensor.layout != torch.strided or tensor.device.type == "meta":
            _strange(name, source, "sparse, or without values")
        if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
            raise WordlineError(
                f"{source}: {name} has shape {tuple(tensor.shape)}, which is more than its file "
                f"holds (it repeats numbers); save it as tensor.contiguous()."
            )
        if not tensor.is_floating_point():
            _strange(name, source)
        if tensor.dtype not in REAL:
            _strange(name, source, f"{tensor.dtype}")
        if not bool(torch.isfinite(tensor.float()).all()):
            raise WordlineError(f"{source}: {name} holds a number that float32 cannot hold.")
        return
    inner = [
        key
        for key, value in tensors.items()
        if isinstance(value, Mapping) and any("weight_ih" in str(own) for own in value)
    ]
    if inner:
        raise WordlineError(
            f"{source} holds more than a state_dict; save the one under {inner[0]!r} alone: "
            f"torch.save(torch.load(PATH)[{inner[0]!r}], OTHER)."
        )
    what = f"a {type(tensor).__name__}, no tensor"
    _strange(name, source, what if not isinstance(tensor, Tensor) else "quantised")


def _strange(name: str, source: str, what: str = "") -> NoReturn:
    """Reject a tensor."""
    for mark, instead in STRANGE.items():
        if name.endswith(mark) if mark.startswith("_") else mark in name:
            raise WordlineError(f"{source}: {name} cannot be mapped: {instead}.")
    if re.fullmatch(r"(.*\.)?(weight|bias)_(ih|hh)", name):
        raise WordlineError(
            f"{source}: {name} is an nn.LSTMCell's or nn.RNNCell's; save its tensors as an "
            f"nn.LSTM's, {name}_l0."
        )
    if re.fullmatch(r"(.*\.)?\w+_[gv]", name):
        raise WordlineError(
            f"{source}: {name} is of weight_norm; call torch.nn.utils.remove_weight_norm, and save "
            f"again."
        )
    raise WordlineError(
        f"{source}: {name} is {what or 'of no recurrent or linear layer'}; give the state_dict of "
        f"a network of nn.LSTM or nn.RNN and nn.Linear layers, and nothing else."
    )


def _layer(parts: Mapping[str, Tensor], where: str) -> tuple[int, Layer]:
    """Number of gates, and the layer of these tensors; biases may be missing."""
    ih, hh = parts.get("weight_ih"), parts.get("weight_hh")
    whole = ih is not None and hh is not None and ih.dim() == hh.dim() == 2
    if ih is None or hh is None or not whole or len(ih) != len(hh) or not ih.numel():
        shapes = {name: tuple(tensor.shape) for name, tensor in parts.items()}
        raise WordlineError(
            f"{where} is no recurrent layer: its tensors are {shapes}; save the network again."
        )
    gates, odd = divmod(len(hh), max(1, hh.shape[1]))
    if gates == 3 and not odd:
        _refuse(where, "GRU")
    if odd or gates not in KINDS:
        raise WordlineError(
            f"{where} has {len(hh)} rows for {hh.shape[1]} units; an LSTM has 4 gates, an RNN 1."
        )
    bias = torch.zeros(len(ih), dtype=torch.float64)
    if ("bias_ih" in parts) != ("bias_hh" in parts):
        there, lacks = sorted(("bias_ih", "bias_hh"), key=parts.__contains__, reverse=True)
        raise WordlineError(
            f"{where} has {there}, but no {lacks}; PyTorch saves both or none: save it again."
        )
    for name in ("bias_ih", "bias_hh"):
        own = parts.get(name, torch.zeros(len(ih)))
        if own.shape != bias.shape:
            raise WordlineError(
                f"{where}: {name} has shape {tuple(own.shape)}, not ({len(ih)},); save it again."
            )
        bias = bias + own
    return gates, Layer(ih, hh, bias)


def _linear(name: str, parts: Mapping[str, Tensor], source: str) -> Linear:
    weight, bias = parts.get("weight"), parts.get("bias")
    if weight is None or weight.dim() != 2 or not weight.numel():
        own = next(iter(parts))
        shape = tuple(parts[own].shape)
        raise WordlineError(
            f"{source}: {name}.{own} with shape {shape} is of no linear layer; the accelerator "
            f"computes nn.LSTM or nn.RNN and nn.Linear layers. Train the network without it."
        )
    if bias is not None and bias.shape != weight.shape[:1]:
        raise WordlineError(
            f"{source}: the bias of {name} has shape {tuple(bias.shape)}, not ({len(weight)},); "
            f"save it again."
        )
    return Linear(weight, bias)


def _ordered(
    parts: list[_Part],
    source: str,
    made: bool,
    order: Sequence[str] | None,
    inputs: int | None,
) -> list[_Part]:
    """Parts in the network's order.

    Raises WordlineError if the order is ambiguous.
    """
    known = {part.name: part for part in parts}
    if order is not None:
        if sorted(order) != sorted(known):
            raise WordlineError(
                f"--order {','.join(order)} does not name the parts of {source}; they are: "
                f"{','.join(known)}."
            )
        return [known[name] for name in order]
    if len(parts) == 1:
        return parts
    layers = [part for part in parts if part.recurrent]
    numbers = len({re.sub(r"\d+", "", part.name) for part in layers}) == 1
    if numbers:
        counted = sorted(layers, key=lambda part: [int(n) for n in re.findall(r"\d+", part.name)])
        if made and counted != layers:  # the two contradict each other
            made = numbers = False
        layers = counted
    first = None if inputs is None else [p for p in parts if p.layers[0].inputs == inputs] or None
    known_order = layers if made or numbers else ()
    try:
        tried = ((first, known_order), (first, ()), (None, known_order), (None, ()))
        fits = next(filter(None, (_orders(parts, *own) for own in tried)), [])
    except _TooManyError:
        raise WordlineError(
            f"{source} has {len(parts)} parts, too many to find their order by their sizes; say "
            f"it: --order {','.join(known)}, if that is the order in which they are computed."
        ) from None
    if not fits:
        return parts
    table = next((p for p in parts if p.perhaps_a_table and _reads_x(p, fits)), None)
    if len(fits) > 1 or table is not None:
        orders = " or ".join(",".join(part.name for part in own) for own in fits[:SHOWN])
        why = (
            f"{table.name}.weight has no bias, and may be the table of an nn.Embedding"
            if len(fits) == 1 and table is not None
            else "its sizes fit in several orders"
        )
        raise WordlineError(
            f"{source} does not say in which order its parts are computed ({why}); say it: "
            f"--order {orders}."
        )
    return [*fits[0]]


class _TooManyError(Exception):
    pass


def _orders(
    parts: Sequence[_Part], first: Sequence[_Part] | None = None, layers: Sequence[_Part] = ()
) -> list[list[_Part]]:
    """Orders in which each part reads what the one before it computes, at most `SHOWN` + 1.

    first: What may come first. Default: any part.
    layers: The order of recurrent parts. Default: any.
    Raises _TooManyError after `MOST` steps.
    """
    found: list[list[_Part]] = []
    steps = 0

    def extend(chain: list[_Part], rest: list[_Part]) -> None:
        nonlocal steps
        steps += 1
        if steps > MOST:
            raise _TooManyError
        if not rest:
            found.append(chain)
        following = next((part for part in layers if part in rest), None)
        for part in rest:
            if len(found) > SHOWN:
                return
            if chain and chain[-1].layers[-1].units != part.layers[0].inputs:
                continue
            if not chain and first is not None and part not in first:
                continue
            if part.recurrent and following not in (None, part):
                continue
            extend([*chain, part], [other for other in rest if other is not part])

    if all(a.units == b.inputs for part in parts for a, b in itertools.pairwise(part.layers)):
        extend([], [*parts])
    return found


def _reads_x(part: _Part, fits: Sequence[Sequence[_Part]]) -> bool:
    """Whether a matrix has one column per input of the network, as an embedding table may have."""
    return any(own[0].layers[0].inputs == part.layers[0].inputs for own in fits)


def _refuse(where: str, what: str) -> NoReturn:
    raise WordlineError(f"{where} cannot be mapped ({what}): {INSTEAD[what]}.")
