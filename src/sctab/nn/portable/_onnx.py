"""Operators that record an ONNX graph instead of computing.

Needs `onnx`, which is optional: `pip install 'sctab[onnx]'`. This is the only module that imports it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sctab.errors import require
from sctab.nn.portable._masks import MOST_STEPS, SHORTEST_STRIP, TOLERANCE, mask_of

onnx: Any = require("onnx", extra="onnx")
onnx_helper: Any = require("onnx.helper", extra="onnx")
numpy_helper: Any = require("onnx.numpy_helper", extra="onnx")

OPSET = 18
"""Version of the operators: the first whose reductions all take their axes as an input; runtimes have it since 2023."""
_IR_VERSION = 8
_ROWS = "n_obs"
Operand = Any
"""A :class:`Symbol`, a number, or an array of numbers."""


class Symbol:
    """A value of a graph, `(n_obs, n)`, with the arithmetic operators of Python."""

    __array_ufunc__ = None  # NumPy leaves operators to this class

    def __init__(self, graph: OnnxOperators, name: str) -> None:
        self.graph, self.name = graph, name

    def __add__(self, other: Operand) -> Symbol:
        return self.graph.node("Add", self, other)

    def __radd__(self, other: Operand) -> Symbol:
        return self.graph.node("Add", other, self)

    def __sub__(self, other: Operand) -> Symbol:
        return self.graph.node("Sub", self, other)

    def __rsub__(self, other: Operand) -> Symbol:
        return self.graph.node("Sub", other, self)

    def __mul__(self, other: Operand) -> Symbol:
        return self.graph.node("Mul", self, other)

    def __rmul__(self, other: Operand) -> Symbol:
        return self.graph.node("Mul", other, self)

    def __truediv__(self, other: Operand) -> Symbol:
        return self.graph.node("Div", self, other)

    def __rtruediv__(self, other: Operand) -> Symbol:
        return self.graph.node("Div", other, self)

    def __neg__(self) -> Symbol:
        return self.graph.node("Neg", self)

    def __gt__(self, other: Operand) -> Symbol:
        return self.graph.node("Greater", self, other)


class OnnxOperators:
    """See :class:`~sctab.nn.portable._masks.MaskOperators`; each call adds nodes to a graph.

    Parameters
    ----------
    n_inputs
        Width of the logits of masks.
    """

    def __init__(self, n_inputs: int) -> None:
        self._n_inputs = n_inputs
        self._nodes: list[Any] = []
        self._constants: dict[Any, tuple[str, NDArray[Any]]] = {}
        self._n_names = 0

    def node(self, operator: str, *operands: Operand, **attributes: Any) -> Symbol:
        """Add a node with one output."""
        names = [operand.name if isinstance(operand, Symbol) else self._constant(operand) for operand in operands]
        output = self._new_name()
        node = onnx_helper.make_node(operator, names, [output], name=output, **attributes)  # some runtimes need names of nodes
        self._nodes.append(node)
        return Symbol(self, output)

    def model(self, inputs: Mapping[str, int], outputs: Mapping[str, Symbol], widths: Mapping[str, int]) -> bytes:
        """Serialise the graph.

        Parameters
        ----------
        inputs
            Number of columns of each input.
        outputs
            Values that the graph gives, by name.
        widths
            Number of columns of each output.
        """
        nodes = [
            *self._nodes,
            *(onnx_helper.make_node("Identity", [value.name], [name], name=name) for name, value in outputs.items()),
        ]
        graph = onnx_helper.make_graph(
            nodes,
            "sctab",
            [_rows_of(name, width) for name, width in inputs.items()],
            [_rows_of(name, widths[name]) for name in outputs],
            [numpy_helper.from_array(array, name) for name, array in self._constants.values()],
        )
        operators = [onnx_helper.make_opsetid("", OPSET)]
        model = onnx_helper.make_model(graph, opset_imports=operators, ir_version=_IR_VERSION, producer_name="sctab")
        onnx.checker.check_model(model)
        written: bytes = model.SerializeToString()
        return written

    def input(self, name: str) -> Symbol:
        """An input of the graph."""
        return Symbol(self, name)

    def matmul(self, x: Operand, weight: Operand) -> Symbol:
        return self.node("MatMul", x, weight)

    def columns(self, x: Operand, start: int, stop: int) -> Symbol:
        return self.node("Slice", x, _integers(start), _integers(stop), _integers(1))

    def beside(self, x: Operand, other: Operand) -> Symbol:
        return self.node("Concat", x, other, axis=1)

    def zeros(self, like: Operand, n: int) -> Symbol:
        n_rows = self.node("Shape", like, start=0, end=1)
        return self.node("ConstantOfShape", self.node("Concat", n_rows, _integers(n), axis=0))

    def sigmoid(self, x: Operand) -> Symbol:
        return self.node("Sigmoid", x)

    def relu(self, x: Operand) -> Symbol:
        return self.node("Relu", x)

    def log(self, x: Operand) -> Symbol:
        return self.node("Log", x)

    def exp(self, x: Operand) -> Symbol:
        return self.node("Exp", x)

    def log1p(self, x: Operand) -> Symbol:
        """Logarithm of one plus what is at least zero, as exact as that of a larger number (Kahan's correction of the rounded sum)."""
        rounded = 1.0 + x
        is_more = rounded > 1.0
        return self.where(is_more, self.log(rounded) * x / self.where(is_more, rounded - 1.0, 1.0), x)

    def sum(self, x: Operand) -> Symbol:
        return self.node("ReduceSum", x, _integers(1), keepdims=1)

    def largest(self, x: Operand) -> Symbol:
        return self.node("ReduceMax", x, _integers(1), keepdims=1)

    def where(self, is_so: Operand, x: Operand, other: Operand) -> Symbol:
        return self.node("Where", is_so, x, other)

    def clip(self, x: Operand, low: float, high: float) -> Symbol:
        return self.node("Clip", x, low, high)

    def count_positive(self, x: Operand) -> Symbol:
        return self.sum(self.node("Cast", x > 0.0, to=onnx.TensorProto.FLOAT))

    def squared_distances(self, x: Operand, points: Operand) -> Symbol:
        difference = self.node("Unsqueeze", x, _integers(1)) - points
        return self.node("ReduceSum", difference * difference, _integers(2), keepdims=0)

    def entmax15(self, logits: Operand) -> Symbol:
        return mask_of(self, logits, is_entmax=True)

    def sparsemax(self, logits: Operand) -> Symbol:
        return mask_of(self, logits, is_entmax=False)

    def strip_maxima(self, x: Operand, n_strips: int) -> Symbol:
        width = self._n_inputs // n_strips
        if width < SHORTEST_STRIP:
            return x
        in_strips = n_strips * width
        strips = self.node("Reshape", self.columns(x, 0, in_strips), _integers(-1, n_strips, width))
        maxima = self.node("ReduceMax", strips, _integers(1), keepdims=0)
        if in_strips == self._n_inputs:
            return maxima
        return self.node(
            "Concat", maxima, self.columns(x, in_strips, self._n_inputs), axis=1
        )  # the rest may hold the largest of all

    def ascend(self, step: Callable[[Symbol], Symbol], start: Operand) -> Symbol:
        outer, self._nodes = self._nodes, []
        n_steps, is_rising, tau = (self._new_name() for _ in range(3))
        raised = step(Symbol(self, tau))
        goes_on = self.node("ReduceMax", raised - Symbol(self, tau), keepdims=0) > TOLERANCE
        body = onnx_helper.make_graph(
            self._nodes,
            "step",
            [
                onnx_helper.make_tensor_value_info(n_steps, onnx.TensorProto.INT64, []),
                onnx_helper.make_tensor_value_info(is_rising, onnx.TensorProto.BOOL, []),
                _rows_of(tau, 1),
            ],
            [onnx_helper.make_tensor_value_info(goes_on.name, onnx.TensorProto.BOOL, []), _rows_of(raised.name, 1)],
        )
        self._nodes = outer
        return self.node("Loop", np.array(MOST_STEPS), np.array(True), start, body=body)  # noqa: FBT003

    def _new_name(self) -> str:
        self._n_names += 1
        return f"v{self._n_names}"

    def _constant(self, value: float | NDArray[Any]) -> str:
        """The name of a constant; weights that are used twice are stored once."""
        array = value if isinstance(value, np.ndarray) else np.asarray(value, dtype=np.float32)
        key = (array.dtype.str, array.shape, array.tobytes()) if array.size < _SMALL else id(value)
        if key not in self._constants:
            self._constants[key] = self._new_name(), array  # which is kept, so that no other one gets its id
        return self._constants[key][0]


_SMALL = 16


def _integers(*values: int) -> NDArray[np.int64]:
    return np.array(values, dtype=np.int64)


def _rows_of(name: str, width: int) -> Any:
    return onnx_helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [_ROWS, width])
