"""Every alert that can be raised is explained to the operator, and nothing else is."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CODE = re.compile(r"[A-Z][A-Z_]+")
RAISES = {"Alert", "Trouble"}  # whose first argument is a code


def constants(tree: ast.Module) -> dict[str, str]:
    """Return the names that a module gives to texts."""
    found = {}
    for node in tree.body:
        if isinstance(node, ast.Assign):
            target, value = node.targets[0], node.value
            pairs = zip(target.elts, value.elts, strict=True) if _are_tuples(target, value) else [(target, value)]
            found |= {
                one.id: other.value
                for one, other in pairs
                if isinstance(one, ast.Name) and isinstance(other, ast.Constant) and isinstance(other.value, str)
            }
    return found


def _are_tuples(target: ast.expr, value: ast.expr) -> bool:
    return isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple)


def told(tree: ast.Module) -> Iterator[ast.expr]:
    """Yield what is given as a code: `extra={"alert": …}`, `alert=…`, `Alert(…)`, `Trouble(…)`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Dict):
            yield from (v for k, v in zip(node.keys, node.values, strict=True) if getattr(k, "value", 0) == "alert")
        elif isinstance(node, ast.keyword) and node.arg == "alert":
            yield node.value
        elif isinstance(node, ast.Call) and getattr(node.func, "id", "") in RAISES and node.args:
            yield node.args[0]


def codes() -> set[str]:
    found = set()
    for app in ("feed", "traders", "markets", "kalshimm"):
        for path in (ROOT / app).rglob("*.py"):
            tree = ast.parse(path.read_text())
            names = constants(tree)
            for value in told(tree):
                text = value.value if isinstance(value, ast.Constant) else names.get(getattr(value, "id", ""), "")
                if isinstance(text, str) and CODE.fullmatch(text):
                    found.add(text)
    return found | {"CAME_BACK", "GREW", "STRANGE"}  # of traders.core.livealerts, which are told from a table


def explained() -> set[str]:
    section = (ROOT / "docs" / "operations.md").read_text().partition("## Alerts")[2]
    rows = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    return {code for cell in rows for code in re.findall(r"`([A-Z_]+)`", cell)}


def test_each_alert_is_explained_to_the_operator() -> None:
    assert len(codes()) > 40
    assert explained() == codes()
