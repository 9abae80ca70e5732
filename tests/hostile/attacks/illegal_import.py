"""An app that uses an instruction which no processor has, as it is imported."""

import os
import signal

os.kill(os.getpid(), signal.SIGILL)
