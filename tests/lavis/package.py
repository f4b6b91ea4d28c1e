"""The salesforce-lavis package read as text: which names it registers, and what the config of each one says.

Nothing of it is imported: names and the paths of configs stand in its source as plain values, the rest in its YAML.
"""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml


class Registered(NamedTuple):
    """A name of LAVIS's registry, and its configs: type or form -> path within the package."""

    name: str
    configs: dict[str, str]


def find_package() -> Path | None:
    """The folder of the installed package, or None."""
    found = importlib.util.find_spec("lavis")
    return Path(found.origin).parent if found and found.origin else None


def models(package: Path) -> list[Registered]:
    """The architectures, in the order in which `model_zoo` prints them."""
    return _registered(package, "models", "register_model", "PRETRAINED_MODEL_CONFIG_DICT")


def datasets(package: Path) -> list[Registered]:
    """The datasets, by name."""
    return sorted(_registered(package, "datasets/builders", "register_builder", "DATASET_CONFIG_DICT"))


def config(package: Path, path: str) -> dict[str, Any]:
    """A config file."""
    document = yaml.safe_load((package / path).read_text(encoding="utf-8"))
    assert isinstance(document, dict)
    return document


def _registered(package: Path, folder: str, decorator: str, attribute: str) -> list[Registered]:
    """The names that the modules register which a folder's ``__init__`` imports, in that order."""
    tables: dict[str, dict[str, str]] = {}
    found: dict[str, Registered] = {}
    for module in _imported(package, folder):
        for definition in ast.parse(module.read_text(encoding="utf-8")).body:
            if not isinstance(definition, ast.ClassDef):
                continue
            table = _table(definition, attribute)
            bases = [base.id for base in definition.bases if isinstance(base, ast.Name)]
            inherited = next((tables[base] for base in bases if base in tables), {})
            tables[definition.name] = inherited if table is None else table
            for name in reversed(list(_names(definition, decorator))):  # decorators apply from below
                found.setdefault(name, Registered(name, tables[definition.name]))
    return list(found.values())


def _imported(package: Path, folder: str) -> Iterator[Path]:
    source = (package / folder / "__init__.py").read_text(encoding="utf-8")
    for statement in ast.parse(source).body:
        if isinstance(statement, ast.ImportFrom) and (statement.module or "").startswith("lavis."):
            path = package.parent / (statement.module or "").replace(".", "/")
            yield path.with_suffix(".py") if path.with_suffix(".py").is_file() else path / "__init__.py"


def _table(definition: ast.ClassDef, attribute: str) -> dict[str, str] | None:
    for statement in definition.body:
        if isinstance(statement, ast.Assign) and any(
            isinstance(target, ast.Name) and target.id == attribute for target in statement.targets
        ):
            table = ast.literal_eval(statement.value)
            assert isinstance(table, dict)
            return table
    return None


def _names(definition: ast.ClassDef, decorator: str) -> Iterator[str]:
    for applied in definition.decorator_list:
        if isinstance(applied, ast.Call) and isinstance(applied.func, ast.Attribute) and applied.func.attr == decorator:
            yield ast.literal_eval(applied.args[0])
