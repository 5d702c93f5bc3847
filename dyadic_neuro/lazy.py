"""Public names that are imported when first used, so that importing the package stays cheap."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def attach(package: str, sources: Mapping[str, str]) -> Callable[[str], Any]:
    """Return a module `__getattr__` (PEP 562) that finds each public name in the module `sources` gives for it.

    A name whose source is `package.name` is that submodule itself.
    """

    def find(name: str) -> Any:  # noqa: ANN401  (a module attribute can be anything)
        if name not in sources:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module = import_module(sources[name])
        value = module if sources[name] == f"{package}.{name}" else getattr(module, name)
        setattr(sys.modules[package], name, value)  # found once, an ordinary attribute from then on
        return value

    return find
