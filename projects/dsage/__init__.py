"""DSage: idle computers as a research instrument."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from dsage.agreement import close, detections, image
    from dsage.function import DistributedFunction, Limits, Unit
    from dsage.grid import connect, dask, local
    from dsage.running import checkpoint, progress, restored

__all__ = [
    "DistributedFunction",
    "Limits",
    "Unit",
    "checkpoint",
    "close",
    "connect",
    "dask",
    "detections",
    "image",
    "local",
    "progress",
    "restored",
]

__version__ = "0.1.0"

_HOMES = {
    "DistributedFunction": "dsage.function",
    "Limits": "dsage.function",
    "Unit": "dsage.function",
    "checkpoint": "dsage.running",
    "close": "dsage.agreement",
    "connect": "dsage.grid",
    "dask": "dsage.grid",
    "detections": "dsage.agreement",
    "image": "dsage.agreement",
    "local": "dsage.grid",
    "progress": "dsage.running",
    "restored": "dsage.running",
}


def __getattr__(name: str) -> object:
    """Import a public name when it is first used: `dsage --help` must not pay for what it does not use."""
    if name not in _HOMES:
        raise AttributeError(f"module 'dsage' has no attribute {name!r}")
    from importlib import import_module

    value: object = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value
