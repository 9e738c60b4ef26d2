"""Networks from PyTorch modules, read in the order in which their parts are called."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from golden.errors import WordlineError
from golden.frontends.chain import COARSE, INSTEAD, Foreign, Layer, Linear, assemble

SILENT = (
    *(nn.Dropout, nn.Identity, nn.Flatten, nn.Softmax, nn.LogSoftmax, nn.Sigmoid),
    *(nn.ModuleList, nn.ModuleDict, nn.Sequential),
)
"""Accepted modules without weights: in a trained network they do not change the class."""

TRIED = (2, 5)
"""Sequences and steps of the input with which a module is called to find the order of its parts."""

Part = tuple[str, nn.Module]


def from_module(module: nn.Module) -> Foreign:
    """Read a network from a PyTorch module.

    The module must be one chain of `nn.LSTM` or `nn.RNN` layers in one direction, with optional
    `nn.Linear` layers before, between and after them. The order is recorded during a call with x,
    or with x and lengths. If the module cannot be called like this, its parts are read in the order
    of its attributes. Whether it computes anything else is checked later, on calibration sequences
    (`golden.frontends.convert`).

    Raises WordlineError if a part cannot be mapped.
    """
    source = type(module).__name__
    _check_parts(module, source)
    parts = _called(module) or _written(module, source)
    if not any(isinstance(part, nn.LSTM | nn.RNN) for _, part in parts):
        own = ", ".join([*module.state_dict()][:6]) or "none"
        raise WordlineError(
            f"{source} has no recurrent layer (nn.LSTM or nn.RNN); its tensors are {own}."
        )
    chain: list[Layer | Linear] = []
    names, kinds = [], set()
    for name, part in parts:
        own_parts = _linear(part) if isinstance(part, nn.Linear) else _recurrent(part)
        for own, tensor in part.named_parameters():
            if not bool(torch.isfinite(tensor).all()):
                where = f"{name}.{own}".lstrip(".")
                raise WordlineError(f"{source}: {where} holds a number that is not finite.")
        chain += own_parts
        if not isinstance(part, nn.Linear):
            kinds.add("lstm" if isinstance(part, nn.LSTM) else "rnn")
        names += [f"{name or source}[{n}]" for n in range(len(own_parts))]
        if len(own_parts) == 1:
            names[-1] = name or source
    types = [parameter.dtype for parameter in module.parameters()]
    return assemble(
        source,
        kinds,
        chain,
        chain=tuple(names),
        run=lambda x: _outputs(module, x),
        why_not=f"{source} cannot be called with x, or x and lengths",
        computes=max(types, key=lambda kind: COARSE.get(kind, 0), default=torch.float32),
        activation="tanh",
    )


def _written(module: nn.Module, source: str) -> list[Part]:
    """Parts in the order of the module's attributes, for a module that cannot be called.

    Raises WordlineError if a nonlinearity is in front of one of them.
    """
    parts: list[Part] = []
    nonlinear = ""
    for name, part in module.named_modules():
        if isinstance(part, nn.Softmax | nn.LogSoftmax | nn.Sigmoid):
            nonlinear = f"{name}: {type(part).__name__}"
        elif _is_part(part):
            if nonlinear:
                raise WordlineError(
                    f"{source} cannot be mapped: it has a nonlinearity ({nonlinear}) in front of "
                    f"{name}; train the network without it."
                )
            parts.append((name, part))
    return parts


def _is_part(part: nn.Module) -> bool:
    return isinstance(part, nn.LSTM | nn.RNN | nn.Linear)


def _linear(part: nn.Linear) -> list[Layer | Linear]:
    bias = None if part.bias is None else part.bias.detach().cpu()
    return [Linear(part.weight.detach().cpu(), bias)]


def _recurrent(part: Any) -> list[Layer | Linear]:
    """Layers of an `nn.LSTM` or `nn.RNN`."""

    def tensor(name: str) -> Tensor:  # an attribute alone where it is pruned or normalised
        found: Tensor = getattr(part, name).detach().cpu()
        return found

    layers: list[Layer | Linear] = []
    for n in range(part.num_layers):
        ih, hh = tensor(f"weight_ih_l{n}"), tensor(f"weight_hh_l{n}")
        bias = torch.zeros(len(ih), dtype=torch.float64)
        if part.bias:
            bias = bias + tensor(f"bias_ih_l{n}") + tensor(f"bias_hh_l{n}")
        layers.append(Layer(ih, hh, bias))
    return layers


def _check_parts(module: nn.Module, source: str) -> None:
    for name, part in module.named_modules():
        where = f"{source} ({name}: {type(part).__name__})" if name else source
        if isinstance(part, nn.GRU | nn.GRUCell):
            _refuse(where, "GRU")
        if isinstance(part, nn.LSTM | nn.RNN):
            if part.bidirectional:
                _refuse(where, "bidirectional")
            if part.proj_size:
                _refuse(where, "projection")
            if getattr(part, "nonlinearity", "tanh") != "tanh":
                _refuse(where, "relu")
        elif not isinstance(part, (nn.Linear, *SILENT)):
            own = [f"{name}.{n}".lstrip(".") for n, _ in part.named_parameters(recurse=False)]
            if own or not list(part.children()):
                what = f"parameters of its own, {own[0]}" if own else f"a {type(part).__name__}"
                raise WordlineError(
                    f"{where} cannot be mapped: it has {what}; the accelerator computes nn.LSTM or "
                    f"nn.RNN layers, and nn.Linear in front of or behind them. Train the network "
                    f"without it."
                )


def _refuse(where: str, what: str) -> None:
    raise WordlineError(f"{where} cannot be mapped ({what}): {INSTEAD[what]}.")


def _called(module: nn.Module) -> list[Part]:
    """Parts in the order in which the module calls them; empty if it cannot be called."""
    parts = [(name, part) for name, part in module.named_modules() if _is_part(part)]
    calls: list[Part] = []

    def note(name: str, part: nn.Module) -> Any:
        return part.register_forward_hook(lambda *_: calls.append((name, part)))

    hooks = [note(name, part) for name, part in parts]
    try:
        for size in dict.fromkeys(getattr(p, "in_features", 0) or p.input_size for _, p in parts):
            for own in _arguments(module, torch.zeros(*TRIED, size)):
                calls.clear()
                if _call(module, own) is not None:
                    return calls
        return []
    finally:
        for hook in hooks:
            hook.remove()


def _outputs(module: nn.Module, x: Tensor) -> list[Tensor]:
    """Outputs of the module for x (sequences, steps, inputs), one for each way to call it.

    The sequences are the first axis.
    """
    found = []
    sequences, steps = x.shape[:2]
    for arguments in _arguments(module, x):
        scores = _scores(_call(module, arguments))
        if scores is None:
            continue
        if scores.dim() == 3 and scores.shape[:2] == (steps, sequences):
            scores = scores.transpose(0, 1)
        found.append(scores)
    return found


def _arguments(module: nn.Module, x: Tensor) -> list[tuple[Tensor, ...]]:
    """Ways to call a module: x alone, or x and lengths, in both orders of sequences and steps.

    The order of the first recurrent layer comes first.
    """
    recurrent = next((p for p in module.modules() if isinstance(p, nn.LSTM | nn.RNN)), None)
    first = recurrent is None or recurrent.batch_first
    kind = next((p.dtype for p in module.parameters()), x.dtype)
    x = x.to(kind)
    lengths = torch.full(x.shape[:1], x.shape[1])
    layouts = [x if batch_first else x.transpose(0, 1) for batch_first in (first, not first)]
    return [arguments for own in layouts for arguments in ((own,), (own, lengths))]


def _call(module: nn.Module, arguments: tuple[Tensor, ...]) -> Any:
    """Output of a module in evaluation mode; None if the call fails."""
    modes = [(part, part.training) for part in module.modules()]
    try:
        with torch.no_grad():
            return module.eval()(*arguments)
    except Exception:  # a module may raise any exception for what it does not expect
        return None
    finally:
        for part, training in modes:
            part.training = training


def _scores(output: Any) -> Tensor | None:
    """Scores in a module's output: a tensor, the first one of several, or one of a dictionary."""
    if isinstance(output, Tensor):
        return output
    if isinstance(output, Mapping):
        known = [name for name in ("logits", "scores", "output", "out", "y") if name in output]
        values: Sequence[Any] = [output[name] for name in known] or [*output.values()]
    elif isinstance(output, tuple | list):
        values = output
    else:
        return getattr(output, "logits", None)
    return next((value for value in values if isinstance(value, Tensor)), None)
