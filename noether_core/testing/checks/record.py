"""What the record says of the module itself."""

from __future__ import annotations

import inspect

from noether_core.errors import shown
from noether_core.schemas import AttentionConfig
from noether_core.testing import calls
from noether_core.testing.failures import CheckFailed
from noether_core.testing.subject import Subject, config_of


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
    """`forward` has the signature of its interface: the same arguments in the same order, all
    optional ones by name.
    """
    forward = inspect.signature(type(subject.raw_module(subject.config())).forward)
    _, *parameters = forward.parameters.values()
    bare = [parameter.replace(annotation=inspect.Parameter.empty) for parameter in parameters]
    got = str(inspect.Signature(bare)).strip("()")
    wanted = calls.SIGNATURES[subject.variant.interface]
    if got != wanted:
        raise CheckFailed(
            f"{subject.type}: forward takes ({got}), and the interface {subject.variant.interface!r} is ({wanted})"
        )
