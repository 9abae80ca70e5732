"""An app that keeps a thread in the warm parent, working while nobody asked."""

import threading
import time

threading.Thread(target=time.sleep, args=(3600,), daemon=True).start()


class Threaded:
    @staticmethod
    def compute(value):
        return value
