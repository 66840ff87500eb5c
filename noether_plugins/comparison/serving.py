"""Orders as lines of JSON on standard input, results likewise on standard output."""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
from collections.abc import Callable
from typing import Any


def serve(carry_out: Callable[[str, dict[str, Any]], dict[str, Any]]) -> None:
    """Carry out orders, one after the other, until one fails; then the process ends.

    It ends with its input too, whatever is being computed: whoever started it need not be there to
    end it. What anybody prints goes to standard error, so that it does not stand between results.

    Args:
        carry_out: Returns the result of an order, by its name and arguments.
    """
    results = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    orders: queue.Queue[dict[str, Any]] = queue.Queue()

    def read() -> None:
        for line in sys.stdin:
            orders.put(json.loads(line))
        os._exit(0)

    threading.Thread(target=read, daemon=True).start()
    while True:
        order = orders.get()
        try:
            result = carry_out(order["order"], order["arguments"])
        except Exception as error:  # noqa: BLE001  whatever a variant raises is a result
            result = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(result), file=results, flush=True)
        if "error" in result:
            os._exit(1)
