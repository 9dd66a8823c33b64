"""Boosted trees as plain arrays that are checked before XGBoost sees them: it trusts what it reads."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

_DEEPEST = 16
"""Levels of nesting in XGBoost's format; it needs 7."""
_NO_PARENT = 2**31 - 1
_NUMBERS = {"i": ">i1", "U": ">u1", "I": ">i2", "l": ">i4", "L": ">i8", "d": ">f4", "D": ">f8"}
_CONSTANTS = {"T": True, "F": False, "Z": None}
_OF_A_NODE = {
    "left": "left_children",
    "right": "right_children",
    "feature": "split_indices",
    "threshold": "split_conditions",
    "default_left": "default_left",
    "gain": "loss_changes",
    "hessian": "sum_hessian",
    "weight": "base_weights",
}
"""Arrays over nodes, and what XGBoost calls them."""


@dataclass(frozen=True)
class Trees:
    """Trees of one round after another, in each one per class; nodes of a tree from the root on, each behind its parent."""

    sizes: NDArray[np.int32]
    """Nodes of each tree, `(n_trees,)`."""
    left: NDArray[np.int32]
    """Left child of each node in its tree, -1 for a leaf, `(n_nodes,)`; as all that follows up to `weight`."""
    right: NDArray[np.int32]
    feature: NDArray[np.int32]
    """Input that a node looks at."""
    threshold: NDArray[np.float32]
    """Values below it go left; of a leaf its value."""
    default_left: NDArray[np.uint8]
    """True if a missing value goes left."""
    gain: NDArray[np.float32]
    hessian: NDArray[np.float32]
    weight: NDArray[np.float32]
    base: NDArray[np.float32]
    """Initial value of the sum over trees: one number, or one per class."""
    written_by: NDArray[np.int32]
    """Version of XGBoost, three numbers, and whether it found `base` by itself."""

    def check(self, n_features: int, n_classes: int) -> None:
        """Refuse trees that cannot be evaluated.

        Raises
        ------
        ValueError
            If they are damaged.
        """
        sizes, n_nodes = self.sizes.astype(np.int64), len(self.left)
        if not len(sizes) or len(sizes) % n_classes or sizes.min() < 1 or sizes.sum() != n_nodes:
            raise ValueError("the number of trees or of their nodes is wrong")
        if any(getattr(self, name).shape != (n_nodes,) for name in _OF_A_NODE):
            raise ValueError("the arrays of nodes differ in length")
        if len(self.base) not in {1, n_classes} or len(self.written_by) != 4 or self.written_by.min() < 0:
            raise ValueError("what trees are added to is not known")
        first = np.repeat(sizes.cumsum() - sizes, sizes)
        place, last = np.arange(n_nodes) - first, np.repeat(sizes, sizes) - 1
        inner = self.left != -1
        children = np.stack([self.left[inner], self.right[inner]]).astype(np.int64)
        if (self.right[~inner] != -1).any() or (children <= place[inner]).any() or (children > last[inner]).any():
            raise ValueError("a node has a child that does not follow it in its tree")
        parents = np.bincount((children + first[inner]).ravel(), minlength=n_nodes)
        if (parents != (place > 0)).any():
            raise ValueError("a node does not have one parent")
        if (self.feature < 0).any() or (self.feature >= n_features).any():
            raise ValueError(f"a node looks at an input that is not one of {n_features}")
        if (self.default_left > 1).any():
            raise ValueError("a node sends missing values nowhere")
        if not all(
            np.isfinite(values).all()
            for name in ("threshold", "gain", "hessian", "weight", "base")
            if (values := getattr(self, name)).size
        ):
            raise ValueError("a number is NaN or infinite")

    @classmethod
    def from_ubjson(cls, content: bytes) -> Self:
        """Read what XGBoost writes (:meth:`check` it next).

        Raises
        ------
        ValueError
            If it is not a model of trees, one per round and class, or is damaged.
        """
        try:
            return cls._from_model(_Reader(content).value())
        except (AttributeError, IndexError, KeyError, OverflowError, TypeError, struct.error) as error:
            raise ValueError(f"they are not a model of XGBoost ({type(error).__name__}: {error})") from error

    @classmethod
    def _from_model(cls, model: Mapping[str, Any]) -> Self:
        learner = model["learner"]
        booster, parameters = learner["gradient_booster"], learner["learner_model_param"]
        trees, n_classes = booster["model"]["trees"], int(parameters["num_class"])
        if booster["name"] != "gbtree" or learner["objective"]["name"] != "multi:softprob" or n_classes < 1:
            raise ValueError("they are not trees that vote on classes")
        if [int(i) for i in booster["model"]["tree_info"]] != [i % n_classes for i in range(len(trees))]:
            raise ValueError("there is not one tree per round and class")
        for tree in trees:
            if len(tree["categories"]) or np.any(tree["split_type"]) or tree["tree_param"]["size_leaf_vector"] not in {"0", "1"}:
                raise ValueError("a tree splits by categories or has leaves of several numbers")
            if len({len(tree[name]) for name in _OF_A_NODE.values()}) != 1:
                raise ValueError("the arrays of a tree differ in length")
        nodes = {
            name: np.concatenate([np.asarray(tree[theirs]) for tree in trees]).astype(ARRAYS[name], casting="same_kind")
            for name, theirs in _OF_A_NODE.items()
        }
        found_base = int(parameters.get("boost_from_average", "1"))
        return cls(
            sizes=np.array([len(tree["left_children"]) for tree in trees], dtype=np.int32),
            **nodes,
            base=np.array([float(number) for number in parameters["base_score"].strip("[]").split(",")], dtype=np.float32),
            written_by=np.array([*[int(number) for number in model["version"]][:3], found_base], dtype=np.int32),
        )

    def to_ubjson(self, n_features: int, n_classes: int) -> bytearray:
        """Write checked trees as XGBoost reads them."""
        base = [np.format_float_scientific(number) for number in self.base]
        ends = self.sizes.cumsum()
        trees = [
            self._tree(i, int(end - size), int(end), n_features) for i, (size, end) in enumerate(zip(self.sizes, ends, strict=True))
        ]
        n_trees = len(trees)
        booster = {
            "gbtree_model_param": {"num_parallel_tree": "1", "num_trees": str(n_trees)},
            "iteration_indptr": list(range(0, n_trees + 1, n_classes)),
            "tree_info": [i % n_classes for i in range(n_trees)],
            "trees": trees,
        }
        model = {
            "learner": {
                "attributes": {},
                "feature_names": [],
                "feature_types": [],
                "gradient_booster": {"model": booster, "name": "gbtree"},
                "learner_model_param": {
                    "base_score": base[0] if len(base) == 1 else f"[{','.join(base)}]",
                    "boost_from_average": str(self.written_by[3]),
                    "num_class": str(n_classes),
                    "num_feature": str(n_features),
                    "num_target": "1",
                },
                "objective": {"name": "multi:softprob", "softmax_multiclass_param": {"num_class": str(n_classes)}},
            },
            "version": [int(number) for number in self.written_by[:3]],
        }
        out = bytearray()
        _write(model, out)
        return out

    def _tree(self, number: int, start: int, stop: int, n_features: int) -> dict[str, Any]:
        arrays = {theirs: getattr(self, name)[start:stop] for name, theirs in _OF_A_NODE.items()}
        size = stop - start
        parents = np.full(size, _NO_PARENT, dtype=np.int32)
        inner = np.flatnonzero(arrays["left_children"] != -1)
        for side in ("left_children", "right_children"):
            parents[arrays[side][inner]] = inner
        nothing = {name: np.zeros(0, dtype=np.int32) for name in ("categories", "categories_nodes")}
        nothing |= {name: np.zeros(0, dtype=np.int64) for name in ("categories_segments", "categories_sizes")}
        parameters = {"num_deleted": "0", "num_feature": str(n_features), "num_nodes": str(size), "size_leaf_vector": "1"}
        others = {"id": number, "parents": parents, "split_type": np.zeros(size, dtype=np.uint8), "tree_param": parameters}
        return arrays | nothing | others


ARRAYS = {item.name: str(item.type).split("np.")[1].rstrip("]") for item in fields(Trees)}
"""Every array of trees, and the type of its numbers."""


class _Reader:
    """Universal Binary JSON (https://ubjson.org), as far as XGBoost writes it."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.at = 0

    def value(self, kind: str | None = None, depth: int = 0) -> Any:
        kind = kind or chr(self._take(1)[0])
        if kind in _NUMBERS:
            return self._numbers(kind, 1)[0].item()
        if kind in _CONSTANTS:
            return _CONSTANTS[kind]
        if kind == "S":
            return self._string()
        if depth == _DEEPEST:
            raise ValueError("they are nested too deeply")
        if kind == "{":
            values: dict[str, Any] = {}
            while not self._skips("}"):
                key = self._string()
                values[key] = self.value(depth=depth + 1)
            return values
        if kind == "[":
            return self._array(depth)
        raise ValueError(f"they have a value of unknown type {kind!r}")

    def _array(self, depth: int) -> Any:
        kind = chr(self._take(1)[0]) if self._skips("$") else None
        if self._skips("#"):
            length = self._length()
            return self._numbers(kind, length) if kind is not None else [self.value(depth=depth + 1) for _ in range(length)]
        values: list[Any] = []
        while not self._skips("]"):
            values.append(self.value(depth=depth + 1))
        return values

    def _numbers(self, kind: str, length: int) -> NDArray[Any]:
        dtype = np.dtype(_NUMBERS[kind])
        return np.frombuffer(self._take(length * dtype.itemsize), dtype=dtype)

    def _length(self) -> int:
        length = self.value()
        if not isinstance(length, int) or isinstance(length, bool) or not 0 <= length <= len(self.content):
            raise ValueError("they have an array of impossible length")
        return length

    def _string(self) -> str:
        return self._take(self._length()).decode("utf-8")

    def _take(self, length: int) -> bytes:
        taken = self.content[self.at : self.at + length]
        if len(taken) != length:
            raise ValueError("they end too early")
        self.at += length
        return taken

    def _skips(self, mark: str) -> bool:
        if self.content[self.at : self.at + 1] != mark.encode():
            return False
        self.at += 1
        return True


def _write(value: Any, out: bytearray) -> None:
    match value:
        case dict():
            out += b"{"
            for key, each in value.items():
                _write_text(key, out)
                _write(each, out)
            out += b"}"
        case np.ndarray():
            kind = next(kind for kind, dtype in _NUMBERS.items() if np.dtype(dtype) == value.dtype.newbyteorder(">"))
            out += f"[${kind}#".encode()
            _write(len(value), out)
            out += value.astype(_NUMBERS[kind]).tobytes()
        case list():
            out += b"[#"
            _write(len(value), out)
            for each in value:
                _write(each, out)
        case str():
            out += b"S"
            _write_text(value, out)
        case int():
            out += b"L" + struct.pack(">q", value)


def _write_text(text: str, out: bytearray) -> None:
    content = text.encode()
    _write(len(content), out)
    out += content
