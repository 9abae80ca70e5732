"""DSage: idle computers as a research instrument."""

from dsage.function import DistributedFunction, Limits, Unit
from dsage.running import checkpoint, progress, restored

__all__ = ["DistributedFunction", "Limits", "Unit", "checkpoint", "progress", "restored"]

__version__ = "0.1.0"
