"""Do something when a module is imported, and nothing before."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from importlib.abc import Loader
    from importlib.machinery import ModuleSpec
    from types import ModuleType

    Action = Callable[[ModuleType], object]


class Watcher:
    """A finder that finds nothing itself: it lets the others find a module, and acts around its execution."""

    def __init__(self) -> None:
        self._before: dict[str, list[Action]] = {}
        self._after: dict[str, list[Action]] = {}
        self._busy: set[str] = set()

    def before(self, name: str, action: Action) -> None:
        """Do this just before a module's code is run."""
        self._before.setdefault(name, []).append(action)

    def after(self, name: str, action: Action) -> None:
        """Do this when a module's code has been run, before its importer goes on."""
        self._after.setdefault(name, []).append(action)

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Have a watched module found by the other finders; None for any other module, as if this were not here."""
        if (name not in self._before and name not in self._after) or name in self._busy:
            return None
        self._busy.add(name)  # some other finders ask all of them again
        try:
            for finder in sys.meta_path:
                find = None if finder is self else getattr(finder, "find_spec", None)
                spec: ModuleSpec | None = find(name, path, target) if find is not None else None
                if spec is not None:
                    self._act_around(spec)
                    return spec
        finally:
            self._busy.discard(name)
        return None

    def _act_around(self, spec: ModuleSpec) -> None:
        loader, name = spec.loader, spec.name
        if not _is_own(loader):
            tell(name, "it is loaded in a way that cannot be watched")
            return
        assert loader is not None
        execute = loader.exec_module

        def exec_module(module: ModuleType) -> None:
            for action in self._before.get(name, ()):
                _try(action, module)
            execute(module)
            for action in self._after.get(name, ()):
                _try(action, module)

        # The loader stays what it is, for all who ask it for resources, sources or code.
        loader.exec_module = exec_module  # type: ignore[method-assign]


def _is_own(loader: Loader | None) -> bool:
    """Whether this loader serves one module only, so that its method may be replaced."""
    if loader is None or isinstance(loader, type) or type(loader).__name__ == "zipimporter":
        return False
    return hasattr(loader, "exec_module") and hasattr(loader, "__dict__")


def _try(action: Action, module: ModuleType) -> None:
    try:
        action(module)
    except Exception as error:  # noqa: BLE001 - the user's program goes on without it
        tell(module.__name__, repr(error))


def tell(name: str, what: str) -> None:
    """Tell that a library is used as it came."""
    if sys.stderr is not None:
        sys.stderr.write(f"assetmgr run: {name} is left as it is: {what}\n")
