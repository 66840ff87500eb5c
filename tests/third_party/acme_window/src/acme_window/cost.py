"""The command ``noether acme-window-cost``: what a window saves."""

from __future__ import annotations

import argparse

from noether_core import hookimpl


@hookimpl
def noether_command(parser: argparse.ArgumentParser) -> None:
    """Describe the command."""
    parser.description = (
        "Print how many pairs of query and key a window leaves, against full attention."
    )
    parser.add_argument(
        "--tokens", type=_count, required=True, metavar="N", help="length of the sequence"
    )
    parser.add_argument(
        "--window", type=_count, required=True, metavar="W", help="tokens seen on either side"
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print the number of pairs; return 0."""
    left, every = pairs(options.tokens, options.window), options.tokens**2
    print(f"{left:,} of {every:,} pairs of query and key ({left / every:.1%})")
    return 0


def pairs(tokens: int, window: int) -> int:
    """Return how many pairs of tokens are at most *window* positions apart.

    Each token with itself is one.
    """
    reach = min(window, tokens - 1)
    return tokens + reach * (2 * tokens - reach - 1)


def _count(text: str) -> int:
    count = int(text)
    if count < 1:
        raise argparse.ArgumentTypeError(f"expected an integer of at least 1, got {text}")
    return count
