"""What the record says of the module itself."""

from __future__ import annotations

import inspect

from noether_core.errors import shown
from noether_core.schemas import AttentionConfig
from noether_core.testing import calls
from noether_core.testing.failures import CheckFailed
from noether_core.testing.subject import Subject, config_of, declared_by


def check_construction(subject: Subject) -> None:
    """A module is made of its config alone, of its own class or a generic one of its type, and
    keeps it.
    """
    config, name = subject.config(), subject.variant.module.partition(":")[2]
    generic = AttentionConfig(**{"type": subject.type, **subject.given()})
    for given, kind in ((config, "its config"), (generic, "a generic AttentionConfig of its type")):
        try:
            kept = config_of(subject.made_directly(given))
        except Exception as error:
            raise CheckFailed(
                f"{subject.type}: {name} cannot be made of {kind}: {type(error).__name__}: {error}; "
                "call structure(config, ItsConfig) first"
            ) from error
        if kept != config:
            raise CheckFailed(
                f"{subject.type}: {name} made of {kind} keeps {shown(kept)} as its config, wanted {shown(config)}"
            )


def check_signature(subject: Subject) -> None:
    """`forward` declares arguments of its interface and no others, each as the interface does."""
    interface = subject.variant.interface
    declared = declared_by(subject.raw_module(subject.config()))
    known = (*calls.REQUIRED[interface], *calls.OPTIONAL[interface])
    for name, parameter in declared.items():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            raise CheckFailed(
                f"{subject.type}: forward takes {parameter}, which hides what it honours; "
                "declare each argument by its name, and nothing else"
            )
        if name not in known:
            raise CheckFailed(
                f"{subject.type}: forward declares {name}, which is no argument of the interface "
                f"{interface!r}: ({calls.signature_of(interface)}); make it an option of the config"
            )

    bare = [value.replace(annotation=inspect.Parameter.empty) for value in declared.values()]
    got = str(inspect.Signature(bare)).strip("()")
    chosen = [name for name in calls.OPTIONAL[interface] if name in declared]
    wanted = calls.signature_of(interface, chosen)
    if got != wanted:
        raise CheckFailed(
            f"{subject.type}: forward takes ({got}), wanted ({wanted}) for the interface "
            f"{interface!r}"
        )


def check_capabilities(subject: Subject) -> None:
    """The record promises the optional arguments that `forward` declares, and no others."""
    interface, promised = subject.variant.interface, subject.variant.capabilities
    declared = declared_by(subject.raw_module(subject.config()))
    problems = []
    for argument, capability in calls.OPTIONAL[interface].items():
        if argument in declared and capability not in promised:
            problems.append(
                f"forward declares {argument}, the record does not promise it; "
                f"add {capability!r} to its capabilities, or drop the argument"
            )
        if argument not in declared and capability in promised:
            problems.append(
                f"the record promises {capability!r}, forward does not declare {argument}; "
                "honour it, or drop the capability"
            )

    arguments = {*calls.OPTIONAL[interface].values(), *calls.REQUIRED[interface]}
    problems += [
        f"the record promises {capability!r}, which the interface {interface!r} has no argument for"
        for capability in promised
        if capability not in arguments | calls.OF_RESULTS
    ]
    if problems:
        raise CheckFailed(f"{subject.type}: " + "\n".join(problems))
