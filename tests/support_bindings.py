"""Which names of TensorRT the code uses, read from the code, and which its bindings have.

The bindings' names lie in `runtime/bindings`, written by `tools/binding_names.py`: tests need no
wheel. A use is followed as far as the code says what an object is: from `trt`, through what its
calls return, into variables. Where an object comes from elsewhere, its name tells, see `NAMED`.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
BINDINGS = Path(__file__).parent / "runtime" / "bindings"
FOLDERS = ("runtime/semmix_rt/engines/trt", "export/semmix_export/tensorrt")
MODULE = ""
"""The library itself, as the kind of an expression."""

NAMED = {
    "trt": MODULE,
    "config": "IBuilderConfig",
    "engine": "ICudaEngine",
    "context": "IExecutionContext",
    "_cache": "IRuntimeCache",
}
"""What arguments and attributes of these names hold, in the modules that use `trt`."""

UNTOLD = {
    "Runtime.deserialize_cuda_engine": "ICudaEngine",
    "ICudaEngine.create_execution_context": "IExecutionContext",
    "OnnxParser.get_error": "ParserError",
}
"""What calls return of which the bindings do not tell it."""


def bindings(name: str) -> dict[str, str]:
    """Every name of a library, such as `Builder.reset`, with the class it is or returns, if told.

    A class itself stands for what calling it gives.
    """
    found: dict[str, str] = {}
    for line in (BINDINGS / name).read_text().splitlines():
        place, _, members = line.partition(":")
        found[place] = place
        for member in members.split():
            own, _, kind = member.partition("=")
            # A value of an enumeration, or a class within, is told by its own line.
            found.setdefault(f"{place}.{own}", kind)
    return found | UNTOLD


def users() -> list[Path]:
    """The modules that use the library."""
    paths = (path for folder in FOLDERS for path in sorted((ROOT / folder).glob("*.py")))
    return [path for path in paths if _mentions(ast.parse(path.read_text()))]


def uses(source: str, known: dict[str, str]) -> list[str]:
    """Names of the library that a module uses, such as `IBuilderConfig.clear_flag`.

    Args:
        source: the module's.
        known: `bindings` to follow what calls return.
    """
    reader = _Reader(known)
    reader.visit(ast.parse(source))
    return sorted(reader.found)


def _mentions(tree: ast.AST) -> bool:
    return any(isinstance(node, ast.Name) and node.id == "trt" for node in ast.walk(tree))


class _Reader(ast.NodeVisitor):
    """Visits statements in their order; a function's variables are forgotten at its end."""

    def __init__(self, known: dict[str, str]) -> None:
        self.found: set[str] = set()
        self._known = known
        self._kinds: dict[str, str | None] = dict(NAMED)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        before = dict(self._kinds)
        self.generic_visit(node)
        self._kinds = before

    def visit_Assign(self, node: ast.Assign) -> None:
        self.generic_visit(node)
        for target, value in _pairs(node.targets[0], node.value):
            if isinstance(target, ast.Name):
                kind = self._kind(value)
                self._kinds[target.id] = NAMED.get(target.id) if kind is None else kind

    def visit_Attribute(self, node: ast.Attribute) -> None:
        self._kind(node)
        self.generic_visit(node)

    def _kind(self, node: ast.expr) -> str | None:
        """The class of an expression as the library calls it, or None."""
        if isinstance(node, ast.Name):
            return self._kinds.get(node.id)
        if isinstance(node, ast.Call):
            return self._kind(node.func)
        if not isinstance(node, ast.Attribute) or node.attr.startswith("__"):
            return None
        owner = self._kind(node.value)
        if owner is None:
            return NAMED.get(node.attr) if node.attr != "trt" else None
        name = f"{owner}.{node.attr}".lstrip(".")
        self.found.add(name)
        return self._known.get(name) or None


def _pairs(target: ast.expr, value: ast.expr) -> Iterable[tuple[ast.expr, ast.expr]]:
    """Targets with their values, also of `a, b = c, d`."""
    if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
        return zip(target.elts, value.elts, strict=True)
    return iter([(target, value)])


def all_uses(known: dict[str, str]) -> Iterator[tuple[str, str]]:
    """Each module's file name with each name it uses."""
    for path in users():
        for name in uses(path.read_text(), known):
            yield path.name, name
