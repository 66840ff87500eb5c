"""What modules take with any number of tokens, counted on tensors without numbers.

The tensors are those of torch's meta device which say that they are on the CPU: nothing is computed
or allocated, and everything that depends on the device, such as the kernel of attention or the size
of chunks, is as it is there.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from fractions import Fraction
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensorMode,
)

from noether_core.any_attention import AnyAttention
from noether_core.costs import Costs, Count
from noether_core.errors import NoetherError
from noether_core.nn.consumption import Consumption, TooManyCallsError
from noether_core.plugins.registry import Registry
from noether_core.schemas.modules.attention import AttentionConfig

MOST_CALLS = 10_000
"""Operations of torch in a call that is counted as a whole; each takes a third of a millisecond."""

MOST_CALLS_OF_FIT = 100_000
"""Operations of torch in all calls through which a polynomial goes."""

TOO_MANY = f"it takes more than {MOST_CALLS:,} operations of torch"
"""Why a call is not counted as a whole."""

MOST_MEASURED = 4_096
"""Tokens up to which a call that needs numbers is computed."""

_FEWEST = 1_024
"""Tokens of the smallest call through which a polynomial goes."""

_EIGHTHS = (4, 5, 6, 7, 8)
"""Sizes of these calls, in eighths of the largest: a polynomial goes through the first three."""

_THROUGH = 3

_MOST_GROWTH = 5
"""How many times the operations of a call twice as many tokens may take."""

_LARGEST_INTEGER = 2**63

_COORDINATES = 3
"""Coordinates of positions where the config does not say how many there are."""

Prepare = Callable[[nn.Module, int], Callable[[], object]]
"""Makes what a call with so many tokens needs, which is not counted; returns the call, which is."""


class Rehearsal(NamedTuple):
    """A module, and calls of it that are to be counted."""

    make: Callable[[], nn.Module]
    forward: Prepare
    training: Prepare

    basis: str
    """What is called, and how, in words."""

    samples: int = 1
    """Samples in a call of the training."""


def costs_of_attention(
    config: AttentionConfig, tokens: Sequence[int], *, registry: Registry | None = None
) -> Costs:
    """Return what the attention of a config takes, called as `AnyAttention` calls it.

    One sample in single precision; tokens are of one group, with positions and without a mask or
    a context. In training they get gradients too, as within a model.

    Args:
        config: The config.
        tokens: For which numbers of tokens.
        registry: Where the type is looked up; the process-wide one where it is None.
    """
    coordinates = getattr(config, "input_dim", None) or _COORDINATES

    def make() -> nn.Module:
        return AnyAttention(config, input_dim=coordinates, registry=registry)

    def prepare(module: nn.Module, tokens: int, *, is_training: bool) -> Callable[[], object]:
        module.train(is_training)
        x = torch.rand(1, tokens, config.hidden_dim, requires_grad=is_training)
        positions = torch.rand(1, tokens, coordinates)

        def call() -> object:
            with torch.set_grad_enabled(is_training):
                y: Tensor = module(x, positions=positions)
                if is_training:
                    y.sum().backward()  # type: ignore[no-untyped-call]
                return y

        return call

    rehearsal = Rehearsal(
        make,
        forward=lambda module, tokens: prepare(module, tokens, is_training=False),
        training=lambda module, tokens: prepare(module, tokens, is_training=True),
        basis="one sample through the attention alone, in float32 on a CPU",
    )
    return count(rehearsal, tokens)


def count(rehearsal: Rehearsal, tokens: Sequence[int], *, may_fit: bool = True) -> Costs:
    """Return what a module takes for each number of tokens; what cannot be counted says why.

    Args:
        rehearsal: The module and its calls.
        tokens: For which numbers of tokens.
        may_fit: Whether a polynomial may give what takes too many operations to be counted.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the module; its callers get them when it runs
        try:
            with torch.device("meta"):
                module = rehearsal.make()
        except Exception as error:  # noqa: BLE001  a plugin may raise anything
            return Costs(basis=rehearsal.basis, error=f"cannot be made: {_reason(error)}")
        parameters = list(module.parameters())
        counter = _Counter(rehearsal, module, may_fit=may_fit)
        return Costs(
            parameters=sum(each.numel() for each in parameters),
            parameter_bytes=sum(each.nbytes for each in parameters),
            basis=rehearsal.basis,
            counts=tuple(
                counter.count(part, number) for number in tokens for part in ("forward", "training")
            ),
        )


class _Taken(NamedTuple):
    """What a call took."""

    operations: int
    bytes: int
    calls: int

    @property
    def facts(self) -> dict[str, Any]:
        """Return what a count says of it."""
        return {"operations": _storable(self.operations), "bytes": _storable(self.bytes)}


def _storable(number: int) -> float:
    """Return a number as documents hold it: one of 64 bits, or a float."""
    return number if number < _LARGEST_INTEGER else float(number)


class _Counter:
    """Counts calls of one module, which it takes the numbers from."""

    def __init__(self, rehearsal: Rehearsal, module: nn.Module, *, may_fit: bool) -> None:
        self._rehearsal = rehearsal
        self._may_fit = may_fit
        self._module = module
        # What others made with numbers, and a module keeps, is taken without them.
        self._mode = FakeTensorMode(allow_non_fake_inputs=True)
        _move(module, self._mode)
        self._fits: dict[str, _Fit] = {}

    def count(self, part: Literal["forward", "training"], tokens: int) -> Count:
        """Return what a call takes; why it is not known, if it cannot be counted."""
        samples = self._rehearsal.samples if part == "training" else 1
        facts: dict[str, Any] = {"tokens": tokens, "part": part, "samples": samples}
        try:
            taken = self._take(part, tokens, most_calls=MOST_CALLS)
        except TooManyCallsError:
            return self._fitted(part, facts) if self._may_fit else _not_counted(facts, TOO_MANY)
        except (DataDependentOutputException, DynamicOutputShapeException) as error:
            return self._measured(part, facts, _reason(error))
        except Exception as error:  # noqa: BLE001  a plugin may raise anything
            return _not_counted(facts, _reason(error))
        return Count(**facts, **taken.facts)

    def _take(self, part: str, tokens: int, *, most_calls: int) -> _Taken:
        return self._called(self._module, self._mode, part, tokens, most_calls=most_calls)

    def _called(
        self,
        module: nn.Module,
        mode: AbstractContextManager[object],
        part: str,
        tokens: int,
        *,
        most_calls: int | None = None,
    ) -> _Taken:
        is_training = part == "training"
        prepare = self._rehearsal.training if is_training else self._rehearsal.forward
        with mode, _gradients_of(module):
            call = prepare(module, tokens)
            with Consumption(most_calls=most_calls) as consumption:
                _ = call()
        return _Taken(consumption.operations, consumption.bytes, consumption.calls)

    def _measured(self, part: str, facts: dict[str, Any], reason: str) -> Count:
        """Return what a call takes whose form depends on numbers, with random ones."""
        if facts["tokens"] > MOST_MEASURED:
            return _not_counted(facts, reason)
        try:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(0)
                taken = self._called(self._rehearsal.make(), nullcontext(), part, facts["tokens"])
        except Exception as error:  # noqa: BLE001  a plugin may raise anything
            return _not_counted(facts, _reason(error))
        return Count(
            **facts,
            **taken.facts,
            how="measured",
            detail=f"with random numbers, since {reason}",
        )

    def _fitted(self, part: str, facts: dict[str, Any]) -> Count:
        """Return what a call takes that computes tokens chunk by chunk, too many chunks to count.

        Then everything in it is a polynomial of the tokens, from some number of chunks on. It goes
        through three counts, two more prove it, and it must say itself that there are too many
        operations to be counted as a whole: else it is that of fewer tokens, computed at once.
        """
        left, largest = MOST_CALLS_OF_FIT, _FEWEST
        before: _Taken | None = None
        fit = self._fits.get(part)
        if fit is not None and fit.at(facts["tokens"]).calls > MOST_CALLS:
            return fit.count(facts)
        try:
            while largest < facts["tokens"]:
                taken = self._take(part, largest, most_calls=left)
                left -= taken.calls
                if before is not None and _has_chunks(before, taken):
                    sizes = [largest * eighths // 8 for eighths in _EIGHTHS]
                    counts = [before, taken]
                    for size in sizes[1:-1]:
                        counts.insert(-1, self._take(part, size, most_calls=left))
                        left -= counts[-2].calls
                    fit = _Fit(sizes, counts)
                    if fit.is_exact and fit.at(facts["tokens"]).calls > MOST_CALLS:
                        self._fits[part] = fit
                        return fit.count(facts)
                largest, before = 2 * largest, taken
        except TooManyCallsError:
            pass
        return _not_counted(facts, f"{TOO_MANY}, and no polynomial goes through counts at fewer")


class _Fit:
    """Polynomials of at most the second degree through the first three counts."""

    def __init__(self, sizes: Sequence[int], counts: Sequence[_Taken]) -> None:
        self._sizes, self._counts = sizes, counts

    @property
    def is_exact(self) -> bool:
        """Whether they go through the other counts too, to the last digit."""
        others = zip(self._sizes[_THROUGH:], self._counts[_THROUGH:], strict=True)
        return all(self.at(size) == counted for size, counted in others)

    def at(self, tokens: int) -> _Taken:
        """Return their values."""
        by_kind = zip(*self._counts[:_THROUGH], strict=True)
        sizes = self._sizes[:_THROUGH]
        return _Taken(*(round(_lagrange(sizes, values, tokens)) for values in by_kind))

    def count(self, facts: dict[str, Any]) -> Count:
        """Return the count of a larger call."""
        sizes = [f"{size:,}" for size in self._sizes]
        through, proofs = ", ".join(sizes[:_THROUGH]), " and ".join(sizes[_THROUGH:])
        taken = self.at(facts["tokens"])
        return Count(
            **facts,
            **taken.facts,
            how="fitted",
            detail=(
                f"by the polynomial through counts at {through} tokens, exact at {proofs}; "
                "a last chunk of tokens that is not full makes it less exact by a chunk"
            ),
        )


def _has_chunks(half: _Taken, whole: _Taken) -> bool:
    """Return whether calls of twice the tokens may take chunks of one size.

    Their number doubles, or grows by four; more where the larger call alone has chunks.
    """
    return half.calls < whole.calls < _MOST_GROWTH * half.calls


def _lagrange(xs: Sequence[int], ys: Sequence[int], x: int) -> Fraction:
    """Return the value at *x* of the polynomial through all points."""
    total = Fraction(0)
    for i, (own, y) in enumerate(zip(xs, ys, strict=True)):
        term = Fraction(y)
        for j, other in enumerate(xs):
            if j != i:
                term *= Fraction(x - other, own - other)
        total += term
    return total


def _not_counted(facts: dict[str, Any], reason: str) -> Count:
    return Count(**facts, how="not counted", detail=f"cannot be counted: {reason}")


def _reason(error: Exception) -> str:
    """Return in words why a call cannot be counted, or a module not made."""
    if isinstance(error, (DataDependentOutputException, DynamicOutputShapeException)):
        return f"its form depends on numbers ({error.func}), and what is counted has none"
    if isinstance(error, NoetherError):
        return " ".join(str(error).split())
    first = (str(error).splitlines() or [""])[0]
    return f"{type(error).__name__}: {first}".removesuffix(": ")


def _move(module: nn.Module, mode: FakeTensorMode) -> None:
    """Let all tensors of a module without memory say that they are on the CPU."""
    moved: dict[int, tuple[Tensor, Tensor]] = {}  # the old ones too, whose ids are theirs so long

    def on_cpu(tensor: Tensor) -> Tensor:
        if id(tensor) not in moved:
            plain = tensor.detach()
            made: Tensor
            if plain.device.type == "meta":
                made = mode.fake_tensor_converter.from_meta_and_device(
                    mode, plain, torch.device("cpu")
                )
            else:
                made = mode.from_tensor(plain)
            if isinstance(tensor, nn.Parameter):
                made = nn.Parameter(made, requires_grad=tensor.requires_grad)
            moved[id(tensor)] = tensor, made
        return moved[id(tensor)][1]

    for part in module.modules():
        holders: tuple[dict[str, Any], ...] = (part._parameters, part._buffers, vars(part))  # noqa: SLF001  no setter keeps what is shared
        for tensors in holders:
            for name, value in list(tensors.items()):
                if isinstance(value, Tensor):
                    tensors[name] = on_cpu(value)


@contextmanager
def _gradients_of(module: nn.Module) -> Iterator[None]:
    """Let parameters have no gradients before, and none behind."""
    module.zero_grad(set_to_none=True)
    yield
    module.zero_grad(set_to_none=True)
