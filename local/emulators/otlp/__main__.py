"""`python -m local.emulators.otlp PORT FILE`: receive until a signal comes."""

from __future__ import annotations

import signal
import sys
import threading
from pathlib import Path

from local.emulators.otlp.receiver import Receiver
from local.emulators.otlp.store import SpanStore


def main() -> None:
    port, file = sys.argv[1:]
    store = SpanStore(Path(file))
    store.create()
    with Receiver(int(port), store) as receiver:
        for number in (signal.SIGTERM, signal.SIGINT):
            # shutdown() waits for serve_forever(), which the handler interrupts.
            signal.signal(number, lambda *_: threading.Thread(target=receiver.shutdown).start())
        receiver.serve_forever()


if __name__ == "__main__":
    main()
