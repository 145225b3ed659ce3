"""What a process of the service does at its start: it spares the garbage collector, and follows the one that started it."""

import gc
import os
import signal
import threading


def spare_the_collector() -> None:
    """Keep the garbage collector from going through what lives as long as the process.

    A batch of a thousand rows makes some fifty thousand objects, nearly all of which die by their counts alone. With the
    usual thresholds the collector would walk through every loaded module several times a batch.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 20, 20)


def follow_parent() -> None:
    """Send this process SIGTERM when its standard input closes: whoever held the other end is gone."""

    def watch() -> None:
        while os.read(0, 1):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="parent-watcher", daemon=True).start()
