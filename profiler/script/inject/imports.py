"""Acts right after a module was imported, whenever the script does so; imports nothing itself."""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import ModuleType

    Action = Callable[[ModuleType], None]


class ImportHooks(importlib.abc.MetaPathFinder):
    """Finds nothing itself: it lets the other finders find, and acts when what they found was executed."""

    def __init__(self) -> None:
        self._actions: dict[str, list[Action]] = {}
        self._looking: set[str] = set()

    def install(self) -> None:
        """Begin."""
        sys.meta_path.insert(0, self)

    def after(self, name: str, action: Action) -> None:
        """Call `action` with a module right after it is imported; at once if it is.

        To be called before the script begins: a module that is being imported would be missed.
        """
        self._actions.setdefault(name, []).append(action)
        if (module := sys.modules.get(name)) is not None:
            action(module)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Find a module that is waited for, by the other finders."""
        if fullname not in self._actions or fullname in self._looking:
            return None
        self._looking.add(fullname)
        try:
            spec = importlib.util.find_spec(fullname)
        except (ImportError, ValueError):
            return None
        finally:
            self._looking.discard(fullname)
        if spec is None or spec.loader is None or not hasattr(spec.loader, "exec_module"):
            return None
        actions = self._actions[fullname]
        execute = spec.loader.exec_module

        def execute_and_act(module: ModuleType) -> None:
            execute(module)
            for action in actions:
                action(module)

        spec.loader.exec_module = execute_and_act  # type: ignore[method-assign]
        return spec
