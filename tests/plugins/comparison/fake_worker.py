"""A worker without torch: what it does with a row is what the type of its attention says."""

from __future__ import annotations

import os
import signal
import sys
import time

from noether_plugins.comparison.serving import serve


class Fake:
    """Takes as long as it says; memory grows with the tokens, and time with their square."""

    def start(self, experiment):
        self.type = experiment["attention"]["type"]
        if self.type == "fails":
            raise ValueError("no such luck")
        return {"tokens": 96, "seconds": 0.005, "memory": 2**30}

    def step(self, calls):
        assert calls == 4  # of 0.005 seconds, for a sample of 0.02
        if self.type == "crashes":
            print("the last words", file=sys.stderr, flush=True)
            os.kill(os.getpid(), signal.SIGSEGV)
        if self.type == "hangs":
            time.sleep(1000)
        return self._result(float(os.environ.get("SECONDS", "0.005")))

    def scale(self, tokens, calls, memory):
        if self.type == "small" and tokens > 4096:
            return {"is_too_large": True}
        result = self._result((tokens / 1e6) ** 2 + (0.01 if tokens == 1024 else 0))
        return {**result, "bytes": 100 * tokens} if memory else result

    def _result(self, seconds):
        waited = 0.5 if self.type == "is_disturbed" else 0.01
        print("not a result")
        return {"seconds": seconds, "waited": waited, "processor": 1.0}


if __name__ == "__main__":
    fake = Fake()
    serve(lambda name, arguments: getattr(fake, name)(**arguments))
