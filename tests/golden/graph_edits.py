"""Random edits of an ONNX graph: edges moved, operators put in or left out, outputs exchanged;
attributes, states, weights and outputs changed."""

import copy
import random

import numpy as np
import onnx
from onnx import GraphProto, NodeProto, TensorProto, helper, numpy_helper

NODE = helper.make_node


class Editor:
    """A graph that is edited, and what was done to it."""

    def __init__(self, graph: GraphProto, seed: int) -> None:
        self.graph, self.random, self.done = graph, random.Random(seed), []
        del graph.value_info[:]

    def edit(self, times: int) -> None:
        """Edits of any kind."""
        kinds = [
            *(self.move_edge, self.exchange_outputs, self.exchange_inputs, self.attribute),
            *(self.state, self.weight, self.leave_out, self.output, self.permute),
            *[self.put_in] * 4,
        ]
        for _ in range(times):
            kind = self.random.choice(kinds)
            try:
                kind()
            except (IndexError, ValueError, StopIteration):  # this graph has nothing to do it to
                continue
            self.done.append(kind.__name__)

    @property
    def tensors(self) -> list[str]:
        made = [name for node in self.graph.node for name in node.output if name]
        return [value.name for value in self.graph.input] + made

    def constant(self, value: object) -> str:
        name = f"constant{len(self.graph.initializer)}"
        self.graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def real(self, value: object) -> str:
        return self.constant(np.asarray(value, np.float32))

    def whole(self, value: object) -> str:
        return self.constant(np.asarray(value, np.int64))

    def recurrent(self) -> NodeProto:
        return self.random.choice([n for n in self.graph.node if n.op_type in ("LSTM", "RNN")])

    def replace(self, nodes: list[NodeProto]) -> None:
        kept = [copy.deepcopy(node) for node in nodes]
        del self.graph.node[:]
        self.graph.node.extend(kept)

    def move_edge(self) -> None:
        node = self.random.choice(self.graph.node)
        names = [*self.tensors, *(tensor.name for tensor in self.graph.initializer), ""]
        node.input[self.random.randrange(len(node.input))] = self.random.choice(names)

    def exchange_inputs(self) -> None:
        node = self.random.choice([n for n in self.graph.node if len(n.input) > 1])
        a, b = self.random.sample(range(len(node.input)), 2)
        node.input[a], node.input[b] = node.input[b], node.input[a]

    def exchange_outputs(self) -> None:
        node = self.recurrent()
        names = [*node.output]
        names += [f"{names[0]}_{n}" for n in range(len(names), 2 + (node.op_type == "LSTM"))]
        self.random.shuffle(names)
        node.output[:] = names

    def attribute(self) -> None:
        own = {
            "direction": ["reverse", "bidirectional"],
            "clip": [0.1],
            "input_forget": [1],
            "layout": [1],
            "activations": [["Tanh", "Tanh", "Tanh"], ["sigmoid", "tanh", "tanh"], ["Relu"]],
            "hidden_size": [3, 5],
        }
        name = self.random.choice([*own])
        node, new = self.recurrent(), helper.make_attribute(name, self.random.choice(own[name]))
        kept = [attribute for attribute in node.attribute if attribute.name != name]
        del node.attribute[:]
        node.attribute.extend([*kept, new])

    def state(self) -> None:
        """Another length, first state or peephole."""
        node, choose = self.recurrent(), self.random.choice
        names = [*node.input]
        names += [""] * ((8 if node.op_type == "LSTM" else 6) - len(names))
        units = next(t.dims[-1] for t in self.graph.initializer if t.name == names[2])
        which = self.random.randrange(4, len(names))
        if which == 4:
            names[4] = self.constant(np.full(3, choose((3, 5)), np.int32))
        else:
            size = (1, 3, units) if which < 7 else (1, 3 * units)
            names[which] = self.real(np.full(size, choose((0, 1))))
        node.input[:] = names

    def weight(self) -> None:
        tensor = self.random.choice(self.graph.initializer)
        values = numpy_helper.to_array(tensor).copy()
        if values.dtype.kind != "f":
            values += self.random.choice((-1, 1))
        elif self.random.random() < 0.5:
            values *= np.float32(1.5)
        elif self.random.random() < 0.5:
            values = values.reshape(self.random.sample(values.shape, values.ndim))
        else:
            values.flat[self.random.randrange(values.size)] = self.random.choice(
                (0, np.nan, np.inf)
            )
        tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))

    def permute(self) -> None:
        """Rows of a layer's weights in another order."""
        name = self.recurrent().input[1]
        (tensor,) = (t for t in self.graph.initializer if t.name == name)
        values = numpy_helper.to_array(tensor)
        rows = self.random.sample(range(values.shape[1]), values.shape[1])
        tensor.CopyFrom(numpy_helper.from_array(values[:, rows], name))

    def leave_out(self) -> None:
        node = self.random.choice(self.graph.node)
        gone, instead = node.output[0], node.input[0]
        self.replace([other for other in self.graph.node if other is not node])
        for other in self.graph.node:
            other.input[:] = [instead if name == gone else name for name in other.input]

    def output(self) -> None:
        dims = [None] * self.random.choice((2, 3))
        value = helper.make_tensor_value_info(
            self.random.choice(self.tensors), TensorProto.FLOAT, dims
        )
        if self.random.random() < 0.5:
            del self.graph.output[:]
        if value.name not in [other.name for other in self.graph.output]:
            self.graph.output.insert(0, value)

    def put_in(self) -> None:
        """An operator on an edge."""
        at = self.random.randrange(len(self.graph.node))
        node = self.graph.node[at]
        which = self.random.choice((0, 0, 0, self.random.randrange(len(node.input))))
        if not node.input[which]:
            raise ValueError
        y = f"put_in{len(self.tensors)}"
        new = self.operator(node.input[which], y)
        node.input[which] = y
        nodes = [*self.graph.node]
        self.replace([*nodes[:at], *new, *nodes[at:]])

    def operator(self, x: str, y: str) -> list[NodeProto]:
        """Operators that make y of x."""
        choose = self.random.choice
        axis, one = choose((0, 1, 2, -1)), choose((1, 2, -1, 0.5, 0))
        pads = [0] * 6
        pads[self.random.randrange(6)] = choose((1, -1))
        part = choose(((-1, -(2**40), -1), (0, 2**40, 2), (1, 2**40, 1), (0, -1, 1), (0, 2**40, 1)))
        kinds = {
            **{kind: (x,) for kind in SIMPLE},
            **{kind: (x, self.real(one)) for kind in ("Mul", "Add", "Sub", "Div", "Pow", "Max")},
            "Slice": (x, *(self.whole([value]) for value in (*part[:2], axis, part[2]))),
            "Concat": (x, x),
            "Reshape": (x, self.whole(choose(([0, 0, -1], [-1], [0, -1], [1, 0, -1])))),
            "Gather": (x, self.whole(choose((0, -1, [0], [1, 0], [-1])))),
            "Clip": (x, self.real(-0.5), self.real(0.5)),
            "Squeeze": (x, self.whole([axis])),
            "Unsqueeze": (x, self.whole([axis])),
            "CumSum": (x, self.whole(axis)),
            "Pad": (x, self.whole(pads)),
            "Expand": (x, self.whole(choose(([1], [2, 1, 1])))),
            "Tile": (x, self.whole([choose((1, 2)) for _ in range(3)])),
            "LayerNormalization": (x, self.real([1])),
        }
        moves = ("Slice", "Concat", "Gather", "Pad", "Tile", "Transpose", "Reshape", "Expand")
        kind = choose([*kinds, *moves, "square", "whole", "shared", "branch", "rounded"])
        if kind == "square":
            return [NODE("Mul", [x, x], [y])]
        if kind == "branch":
            return [NODE("Add", [x, choose(self.tensors)], [y])]
        if kind == "shared":
            return [NODE("Div", [self.real(1), x], [y])]
        if kind == "whole":
            made = NODE("Cast", [x], [f"{y}_int"], to=TensorProto.INT64)
            return [made, NODE("Cast", [f"{y}_int"], [y], to=TensorProto.FLOAT)]
        if kind == "rounded":
            given = [self.real(0.1), self.constant(np.int8(0))]
            made = NODE("QuantizeLinear", [x, *given], [f"{y}_q"])
            return [made, NODE("DequantizeLinear", [f"{y}_q", *given], [y])]
        more = {
            "Transpose": {"perm": self.random.sample(range(3), 3)},
            "Concat": {"axis": axis},
            "Gather": {"axis": axis},
            "Flatten": {"axis": abs(axis)},
            "ReduceMean": {"axes": [axis], "keepdims": choose((0, 1))},
            "ReduceMax": {"axes": [axis], "keepdims": choose((0, 1))},
        }
        return [NODE(kind, kinds[kind], [y], **more.get(kind, {}))]


SIMPLE = (
    *("Relu", "Tanh", "Sigmoid", "Softmax", "LogSoftmax", "Neg", "Identity", "Abs", "Dropout"),
    *("Transpose", "Flatten", "ReduceMean", "ReduceMax", "Round", "Erf"),
)


def edited(content: bytes, seed: int) -> tuple[bytes, list[str]]:
    """Another file, and what was done."""
    model = onnx.ModelProto.FromString(content)
    editor = Editor(model.graph, seed)
    editor.edit(editor.random.choice((1, 1, 1, 2, 3)))
    return model.SerializeToString(), editor.done
