"""Naming a deployer so that another process can find it and call its ``delete``.

What is written is where its class is, and its plain attributes, without what sounds secret. It is made again as unpickling
would: no constructor runs, so that a moved file or a missing option does not stand in the way of deleting.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any

from fmbench.errors import FmbenchError

__all__ = ["bare", "can_delete", "class_name", "file_of", "find_class", "identify", "is_reviving", "revive"]

_SOUNDS_SECRET = re.compile(r"key|token(?!iz)|secret|passw|pwd|credential|auth|bearer|signature|cookie", re.IGNORECASE)
_NAME_OF_A_VARIABLE = re.compile(r"_env$")
_USER_IN_URL = re.compile(r"://[^/@\s]+@")
PATH = "path:"
_reviving = False


def is_reviving() -> bool:
    """Whether a program is being imported only to find its deployer; it must start no run then."""
    return _reviving


def can_delete(deployer: Any) -> bool:
    """Whether a deployer says how to delete what it made."""
    return callable(getattr(deployer, "delete", None))


def class_name(cls: type) -> str:
    """A class by its module and its name there."""
    return f"{cls.__module__}:{cls.__qualname__}"


def file_of(cls: type) -> str | None:
    """The file that a class is from, where it is from one."""
    file = getattr(sys.modules.get(cls.__module__), "__file__", None)
    return None if file is None else str(Path(file).absolute())


def identify(deployer: Any) -> dict[str, Any] | None:
    """A deployer as JSON; ``None`` where no other process could find its class: it is a function's, or a notebook's."""
    cls = type(deployer)
    file = file_of(cls)
    if "<locals>" in cls.__qualname__ or (file is None and cls.__module__ == "__main__"):
        return None
    return {
        "class": class_name(cls),
        "file": file,
        "attributes": {name: value for name, value in _attributes(deployer) if not _is_secret(name, value)},
    }


def revive(identity: Mapping[str, Any] | None, *, besides: Path | None = None) -> Any:
    """The deployer again, enough of it to delete.

    Args:
        identity: As ``identify`` gave it.
        besides: A folder from which no code is taken: the run's own, which may have come from somebody else.

    Raises:
        FmbenchError: its class cannot be found.
    """
    if identity is None:
        raise FmbenchError("its deployer's class cannot be found from outside its run: a function's own, or a notebook's")
    deployer = bare(find_class(identity["class"], identity.get("file"), besides=besides))
    for name, value in identity.get("attributes", {}).items():
        object.__setattr__(deployer, name, _unpacked(value))
    return deployer


def bare(cls: Any) -> Any:
    """A deployer of a class with nothing but its defaults."""
    deployer = cls.__new__(cls)
    for name, value in _defaults(cls).items():
        object.__setattr__(deployer, name, value)
    return deployer


def find_class(name: str, file: str | None, *, besides: Path | None = None) -> Any:
    """The class by the name of its module, or in its file where the module is not to be imported."""
    module_name, _, qualname = name.partition(":")
    try:
        module = sys.modules.get(module_name) if module_name != "__main__" else None
        found = _by_name(module_name) if module is None else module
        for part in qualname.split("."):
            found = getattr(found, part)
    except Exception as error:  # noqa: BLE001 - a module may raise anything when it is imported
        found = _in_file(module_name, qualname, file, besides, error)
    return found


def _by_name(module: str) -> Any:
    if module == "__main__":
        raise ImportError("the program's own module has no name to import it by")
    return importlib.import_module(module)


def _in_file(module_name: str, qualname: str, file: str | None, besides: Path | None, error: Exception) -> Any:
    if file is None or not Path(file).is_file():
        raise FmbenchError(f"its deployer, {module_name}:{qualname}, cannot be imported: {error}") from error
    path = Path(file).resolve()
    if _is_strange(path, besides):
        raise FmbenchError(f"its deployer is in {file}, which is not taken for code: it is the run's own or not yours")
    root = path.parents[module_name.count(".")] if path.name != "__init__.py" else path.parents[module_name.count(".") + 1]
    if str(root) not in sys.path:
        sys.path.append(str(root))
    try:
        found = _loaded(module_name, path)
        for part in qualname.split("."):
            found = getattr(found, part)
    except Exception as second:
        raise FmbenchError(f"its deployer, {qualname} in {file}, cannot be imported: {second}") from second
    return found


def _is_strange(path: Path, besides: Path | None) -> bool:
    theirs = hasattr(os, "getuid") and path.stat().st_uid not in {os.getuid(), 0}
    return theirs or (besides is not None and path.is_relative_to(besides.resolve()))


def _loaded(name: str, path: Path) -> Any:
    """A file as a module; a program's own file under another name than ``__main__``, so that it starts nothing."""
    global _reviving  # noqa: PLW0603 - one import at a time
    known = "__fmbench_main__" if name == "__main__" else name
    spec = importlib.util.spec_from_file_location(known, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules.setdefault(known, module)
    _reviving = True
    try:
        spec.loader.exec_module(module)
    finally:
        _reviving = False
    return module


def _attributes(deployer: Any) -> Iterator[tuple[str, Any]]:
    hidden: set[str] = set()
    names = list(getattr(deployer, "__dict__", {}))
    if is_dataclass(deployer):
        hidden = {field.name for field in fields(deployer) if not field.repr}
        names += [field.name for field in fields(deployer) if field.name not in names]
    for name in names:
        value = _packed(getattr(deployer, name, ...))
        if value is not ... and name not in hidden:
            yield name, value


def _defaults(cls: Any) -> dict[str, Any]:
    """What a dataclass's fields are by themselves; ``None`` where they must be given."""
    if not is_dataclass(cls):
        return {}
    return {field.name: None if field.default is MISSING else field.default for field in fields(cls)}


def _packed(value: Any) -> Any:
    """A value as JSON, or ``...`` where it is none; mappings are none, since environments are."""
    if isinstance(value, Path):
        return {PATH: str(value.absolute())}
    if isinstance(value, list | tuple):
        items = [_packed(item) for item in value]
        return ... if ... in items else items
    return value if value is None or type(value) in {bool, int, float, str} else ...


def _unpacked(value: Any) -> Any:
    if isinstance(value, dict) and list(value) == [PATH]:
        return Path(value[PATH])
    return tuple(map(_unpacked, value)) if isinstance(value, list) else value


def _is_secret(name: str, value: Any) -> bool:
    named = _SOUNDS_SECRET.search(name) is not None and not _NAME_OF_A_VARIABLE.search(name)
    texts = value if isinstance(value, list) else [value]
    return named or any(isinstance(text, str) and _USER_IN_URL.search(text) for text in texts)
