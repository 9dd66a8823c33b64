"""Lazy loading: rooms load names on first access, other modules list what they define."""

import ast
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lazy_loader


def attach_stub(package: str, file: str) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """`__getattr__`, `__dir__` and `__all__` of a package, from the stub beside it.

    The stub imports what other rooms may use; where it has an `__all__`, that is what is public.

    Parameters
    ----------
    package, file
        `__name__` and `__file__` of the package.
    """
    load, _, offered = lazy_loader.attach_stub(package, file)
    public = offered
    for node in ast.parse(Path(file).with_suffix(".pyi").read_bytes()).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            public = ast.literal_eval(node.value)
    return load, lambda: list(public), public


def defined_in(file: str) -> Callable[[], list[str]]:
    """`__dir__` of a module without a stub: the names that it defines, not those that it imports.

    Parameters
    ----------
    file
        `__file__` of the module.
    """

    def names() -> list[str]:
        bound: set[str] = set()
        for node in ast.parse(Path(file).read_bytes()).body:
            match node:
                case ast.FunctionDef() | ast.ClassDef():
                    bound.add(node.name)
                case ast.Assign():
                    bound.update(target.id for target in node.targets if isinstance(target, ast.Name))
                case ast.AnnAssign(target=ast.Name() as target) | ast.TypeAlias(name=target):
                    bound.add(target.id)
        return sorted(name for name in bound if not name.startswith("_"))

    return names
