"""From a name to the files of a plugin package; the templates lie beside this file."""

from __future__ import annotations

import keyword
import pkgutil
import re
import sys
from collections.abc import Mapping
from string import Template
from typing import Final, NamedTuple

_DISTRIBUTION: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")
_TYPE: Final = re.compile(r"[a-z][a-z0-9]*(?:_[a-z0-9]+)*")
_OURS: Final = frozenset(
    {"noether_core", "noether_plugins", "noether_attention", "noether", "tests"}
)

INTERFACES: Final = ("self", "cross", "tokens")
"""The interfaces for which there is a template."""

_FILES: Final = {
    ".gitignore": "package/gitignore",
    ".github/workflows/tests.yml": "package/ci.yml",
}
"""Files of every package, and the templates that they are made from."""

_FILES_OF_VARIANT: Final = {
    "pyproject.toml": "package/pyproject.toml",
    "README.md": "package/README.md",
    "example.yaml": "package/example.yaml",
    "src/{package}/__init__.py": "package/hook.py",
    "src/{package}/config.py": "package/config.py",
    "src/{package}/module.py": "{interface}/module.py",
    "tests/test_{type}.py": "{interface}/test.py",
}

_FILES_OF_TASK: Final = {
    "pyproject.toml": "task/pyproject.toml",
    "README.md": "task/README.md",
    "example.yaml": "task/example.yaml",
    "src/{package}/__init__.py": "task/hook.py",
    "src/{package}/config.py": "task/config.py",
    "src/{package}/task.py": "task/task.py",
    "tests/test_{type}.py": "task/test.py",
}

_CAPABILITIES: Final = {
    "self": ("attn_mask", "key_padding_mask", "rope", "permutation", "deterministic"),
    "cross": ("attn_mask", "key_padding_mask", "rope", "permutation", "deterministic"),
    "tokens": ("key_padding_mask", "rope", "permutation", "deterministic"),
}

_SUMMARIES: Final = {
    "self": "Every token attends to every other, with logits made sharper.",
    "cross": "Every token attends to the tokens of another set, with logits made sharper.",
    "tokens": "The tokens of each group attend to that group, with logits made sharper.",
}


class Names(NamedTuple):
    """What a package and its variant, or its task, are called."""

    distribution: str
    """What pip installs: ``acme-foo``."""

    package: str
    """What Python imports: ``acme_foo``."""

    type: str
    """What configs write: ``acme_foo``."""

    @property
    def module(self) -> str:
        """The class of the module: ``AcmeFooAttention``."""
        return f"{_in_capitals(self.type.removesuffix('_attention'))}Attention"

    @property
    def task(self) -> str:
        """What the class of the task starts with: ``AcmeFoo`` of ``AcmeFooTask``."""
        return _in_capitals(self.type.removesuffix("_task"))


def _in_capitals(type: str) -> str:
    return "".join(word[:1].upper() + word[1:] for word in type.split("_"))


def names_of(distribution: str, type: str | None = None) -> Names:
    """Return what everything is called.

    Args:
        distribution: The name of the package, as pip takes it.
        type: The name of the variant or task; that of the Python package where it is None.

    Raises:
        ValueError: If one of them cannot be such a name.
    """
    if not _DISTRIBUTION.fullmatch(distribution):
        raise ValueError(
            f"{distribution!r} cannot be the name of a package: use ASCII letters, digits, "
            "'-', '_' and '.', with a letter or digit at both ends"
        )
    package = re.sub(r"[-_.]+", "_", distribution).lower()
    if not package.isidentifier() or keyword.iskeyword(package):
        raise ValueError(
            f"{distribution!r} cannot be imported as {package!r}: "
            "take no keyword, and a letter at the start"
        )
    if package in _OURS or package in sys.stdlib_module_names:
        raise ValueError(
            f"{distribution!r} would hide the package {package!r}; choose another name"
        )
    chosen = package if type is None else type
    if not _TYPE.fullmatch(chosen) or keyword.iskeyword(chosen):
        raise ValueError(
            f"{chosen!r} cannot be a type: use lower-case ASCII words, joined by '_', "
            "with a letter at the start"
        )
    return Names(distribution, package, chosen)


def files_of(names: Names, interface: str, *, version: str, api_version: int) -> dict[str, str]:
    """Return the files of a package that provides a variant, by their paths within it.

    Args:
        names: What everything is called.
        interface: How the module is called; one of `INTERFACES`.
        version: The version of Noether that the package needs at least.
        api_version: The version of the plugin contract that it is written for.
    """
    values = {
        **names._asdict(),
        "name": names.module,
        "interface": interface,
        "capabilities": ", ".join(f'"{capability}"' for capability in _CAPABILITIES[interface]),
        "summary": _SUMMARIES[interface],
        "version": version,
        "api_version": api_version,
    }
    return _made({**_FILES, **_FILES_OF_VARIANT}, names, values)


def files_of_task(names: Names, *, version: str, api_version: int) -> dict[str, str]:
    """Return the files of a package that provides a task, as `files_of` those of a variant."""
    values = {
        **names._asdict(),
        "name": names.task,
        "version": version,
        "api_version": api_version,
    }
    return _made({**_FILES, **_FILES_OF_TASK}, names, values)


def _made(files: Mapping[str, str], names: Names, values: Mapping[str, object]) -> dict[str, str]:
    """Return files by their paths, each made from its template."""
    made = {
        file.format(**values): _filled(template.format(**values), values)
        for file, template in files.items()
    }
    return made | {f"src/{names.package}/py.typed": ""}


def _filled(template: str, values: Mapping[str, object]) -> str:
    # not open: this package may lie in an archive
    content = pkgutil.get_data(__name__, f"{template}.template") or b""
    return Template(content.decode()).substitute(values)
