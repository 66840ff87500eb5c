"""What ``noether show --picture`` draws: which tokens attend to which, in a file or right here."""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING, Final

from noether_core.cli.choosing import kind_of
from noether_core.cli.output import print_error, print_line, print_text

if TYPE_CHECKING:
    from rich.console import Console

    from noether_core.influence import Influence
    from noether_core.influence.terminal import Style
    from noether_core.schemas.modules.attention import AttentionConfig

_HERE: Final = True
"""What ``--picture`` stands for where it names no file: the terminal."""

_WIDEST = 80
"""Columns of a picture right here, where there is room for them."""

_IN_EXPERIMENTS: Final = "attention"
"""Where the config stands in what ``noether run`` takes."""

_SAVED: Final = ".safetensors"

_GOOD, _PROBLEMS, _USAGE = 0, 1, 2


def add_picture_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--picture``, and what goes with it."""
    parser.add_argument(
        "overrides",
        metavar="OPTION=VALUE",
        nargs="*",
        help="with --picture: values before those of the example or the file, num_slices=8",
    )
    options = parser.add_argument_group("pictures of attention")
    options.add_argument(
        "--picture",
        metavar="FILE",
        nargs="?",
        type=_picture_file,
        const=_HERE,
        help="draw which tokens attend to which, measured by derivatives on a small example, for "
        "a type, a config file or a saved module: into FILE, .svg or .png, or without FILE here",
    )
    options.add_argument(
        "--at", metavar="PATH", help="where the config stands in its file, such as model.attention"
    )
    options.add_argument("--seed", type=_seed, metavar="N", help="draws weights and tokens; 0")
    options.add_argument(
        "--overwrite", action="store_true", help="replace FILE where it is there already"
    )


def _picture_file(name: str) -> str:
    """Return the name of a picture; a type behind ``--picture`` is none."""
    from noether_core.influence.picture import kind_of as kind_of_picture

    try:
        kind_of_picture(name)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{error}; write TYPE before --picture") from error
    return name


def _seed(text: str) -> int:
    """Return a seed that torch takes."""
    seed = int(text)
    if not 0 <= seed < 2**63:
        raise argparse.ArgumentTypeError(f"expected an integer from 0 to 2**63 - 1, got {text}")
    return seed


def show_picture(options: argparse.Namespace) -> int:
    """Draw what is asked for; return the exit status."""
    refusal = _refusal(options)
    if refusal is not None:
        print_error(f"noether show: {refusal}")
        return _USAGE
    file = options.picture
    if file is not _HERE and os.path.lexists(file) and not options.overwrite:
        other = "name another file, or say --overwrite"
        print_error(f"noether show: {file}: is there already; {other}")
        return _PROBLEMS

    _check_installed(needs_matplotlib=file is not _HERE)
    if file is _HERE:
        _print_picture(options)
        return _GOOD
    return _write_picture(options, file)


def _write_picture(options: argparse.Namespace, file: str) -> int:
    """Draw into a file; return the exit status."""
    from noether_core.influence import draw

    folder = os.path.dirname(os.path.abspath(file))
    if not os.path.isdir(folder):  # what is found out after the derivatives is found out late
        print_error(f"noether show: {file}: there is no folder {folder}")
        return _PROBLEMS
    found = _found(options, tokens=None)
    try:
        draw(found, file)
    except OSError as error:
        print_error(f"noether show: {file}: cannot be written: {error.strerror or error}")
        return _PROBLEMS
    print_line(f"{file}: {found.type} of {found.provider}")
    return _GOOD


def refuse_stray_options(options: argparse.Namespace) -> str | None:
    """Return why options of pictures are wrong where none is wanted; None where there are none."""
    given = {
        "OPTION=VALUE": options.overrides,
        "--at": options.at is not None,
        "--seed": options.seed is not None,
        "--overwrite": options.overwrite,
    }
    stray = [name for name, is_given in given.items() if is_given]
    return f"{', '.join(stray)}: only with --picture" if stray else None


def _refusal(options: argparse.Namespace) -> str | None:
    """Return why there is no picture of what is named, or of that kind; None where there is."""
    name = options.type
    if options.json:
        return "--json: --picture draws, and prints no data; leave one of them out"
    if _is_config(name):
        return None
    if options.at is not None:
        return f"--at: {name} is no config file"
    if not name.endswith(_SAVED):
        return _refusal_of_type(name, is_task=options.task)
    if options.overrides:
        return f"{name}: a saved module has its options; leave out {options.overrides[0]!r}"
    return None


def _refusal_of_type(name: str, *, is_task: bool) -> str | None:
    """Return why there is no picture of a type: it is no variant's; None where there is one."""
    from noether_core.plugins.metadata import VARIANTS
    from noether_core.plugins.registry import registry

    known = registry()
    only = "there are pictures of types of attention, config files and saved modules alone"
    is_path = os.sep in name or os.path.isdir(name)
    if is_path and not (known.has(name) or known.tasks.has(name)):
        return f"{name}: {only}"
    if kind_of(name, known, is_task=is_task).kind is not VARIANTS:
        return f"{name}: is a task; {only}"
    return None


def _is_config(name: str) -> bool:
    """Return whether a config file is meant, by its suffix."""
    from noether_core.structuring.documents import FORMATS

    return os.path.splitext(name)[1].lower() in FORMATS


def _check_installed(*, needs_matplotlib: bool) -> None:
    """Refuse to start without what is needed in the end."""
    from importlib.util import find_spec

    from noether_core.errors import MissingExtraError

    needed = {"torch": "torch"} | ({"matplotlib": "run"} if needs_matplotlib else {})
    for package, extra in needed.items():
        if find_spec(package) is None:
            raise MissingExtraError("noether show --picture", package, extra)


def _found(options: argparse.Namespace, tokens: int | None) -> Influence:
    """Return what acts on what in the module that is named."""
    from noether_core.influence import influence
    from noether_core.influence.measuring import TOKENS

    seed, number = options.seed or 0, TOKENS if tokens is None else tokens
    if options.type.endswith(_SAVED):
        from noether_core.saving.loading import load_module

        return influence(load_module(options.type), tokens=number, seed=seed)
    if _is_config(options.type):
        from noether_core.structuring.load import load

        config = load(options.type, at=_place_of_config(options), overrides=options.overrides)
        return influence(config, tokens=number, seed=seed)
    return influence(_config_of_type(options), tokens=number, seed=seed)


def _place_of_config(options: argparse.Namespace) -> str | None:
    """Return where the config stands in its file: where it is said to, or in an experiment."""
    from noether_core.structuring.documents import read

    if options.at is not None:
        return str(options.at)
    data = read(options.type).data
    is_experiment = isinstance(data, dict) and "type" not in data and _IN_EXPERIMENTS in data
    return _IN_EXPERIMENTS if is_experiment else None


def _config_of_type(options: argparse.Namespace) -> AttentionConfig:
    """Return the example of a type, scaled to something that shows, with the options given."""
    from noether_core.influence.examples import options_that_show
    from noether_core.plugins.registry import registry
    from noether_core.schemas.modules.attention import AttentionConfig
    from noether_core.schemas.unstructure import unstructure
    from noether_core.structuring.documents.reading import parse
    from noether_core.structuring.documents.writing import write
    from noether_core.structuring.paths import override
    from noether_core.structuring.structure import structure_document

    variant = registry().get(options.type)
    data = unstructure(variant.config(**options_that_show(variant)), defaults=False)
    text = write({**data, "type": options.type}, "json")
    document = override(parse(text, "json", file=f"example of {options.type}"), options.overrides)
    return structure_document(document, AttentionConfig)


def _print_picture(options: argparse.Namespace) -> None:
    from rich.console import Console

    from noether_core.influence import text
    from noether_core.influence.terminal import tokens_that_fit

    console = Console()
    style = _style(console, is_plain=options.plain)
    drawn = text(_found(options, tokens_that_fit(style)), style)
    if not style.has_colour:
        print_text(drawn)
        return
    from rich.text import Text

    # Rich says the colours in as many as the terminal knows.
    console.print(Text.from_ansi(drawn), soft_wrap=True)


def _style(console: Console, *, is_plain: bool) -> Style:
    """Return what standard output can show; without a terminal no escape codes."""
    from noether_core.influence.terminal import Style

    is_terminal = console.is_terminal and not is_plain
    has_blocks = _can_encode("░▒▓█▀▄│─┼")
    has_colour = is_terminal and not console.no_color and console.color_system in _MANY_COLOURS
    width = min(console.width, _WIDEST) if console.is_terminal else _WIDEST
    return Style(width, has_colour and has_blocks, has_blocks)


_MANY_COLOURS = ("256", "truecolor")
"""Systems of colours, as rich calls them, in which shades can be told apart."""


def _can_encode(marks: str) -> bool:
    try:
        marks.encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True
