"""Source code as an app version: packed where the author is, unpacked where volunteers are.

A bundle is one value (see `codec`): {"files": {relative path: bytes}}, so the same source gives the same bytes and
the same SHA-256 everywhere. What arrives is treated as hostile until every name and size in it has been checked.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import re
import shutil
import sys
import tempfile
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path, PurePosixPath
from types import ModuleType
from typing import Final, TypeGuard

import msgspec

from dsage import codec
from dsage.agreement import Agreement
from dsage.errors import BadSignature, BundleError, CodecError
from dsage.function import DistributedFunction
from dsage.trust.documents import Manifest

GALLERY: Final = "dsage.projects"
MAX_FILES: Final = 256
MAX_FILE_BYTES: Final = 1 << 20
MAX_BUNDLE_BYTES: Final = 4 << 20
"""Source is small; data belongs into arguments and inputs."""
MAX_PATH_CHARACTERS: Final = 200
MAX_DEPTH: Final = 8
MAX_ITEMS: Final = 4 * MAX_FILES
"""Single values in the encoding, names included: what holds more is not even read."""

_JUDGES: Final = {
    name: (words.split(", "), words)
    for name, words in (
        ("verify", "args, value"),
        ("agree", "args, a, b"),
        ("partial", "args, value, seed"),
        ("perturb", "args, seed"),
        ("restore", "args, value, seed"),
    )
}
_FOLDER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_FILE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]*\.(py|pyi|txt|json|csv|md)")
_RESERVED: Final = sys.stdlib_module_names | {
    *("dsage", "msgspec", "numpy", "gmpy2", "flint", "sitecustomize", "usercustomize")
}
"""Top-level names that would stand in front of what every app imports."""


@dataclass(frozen=True)
class Bundle:
    """A packed app. `entry` is "module.path:Class"; `sha256` is of `data`; `function` is the class here."""

    data: bytes
    sha256: str
    entry: str
    function: type[DistributedFunction]


def pack(target: str) -> Bundle:
    """Pack a "project[:Class]" of the gallery, or "path/to/file.py[:Class]". Raises BundleError."""
    path, _, name = target.partition(":")
    if path.endswith(".py") or "/" in path:
        function, files = _from_file(Path(path), name)
    else:
        function, files = _from_gallery(path, name)
    check(files)
    check_judges(function)
    data = codec.encode({"files": files})
    if len(data) > MAX_BUNDLE_BYTES:
        raise BundleError(f"{target} packs to {len(data)} bytes; at most {MAX_BUNDLE_BYTES} may travel")
    return Bundle(data, codec.digest(data), f"{function.__module__}:{function.__qualname__}", function)


def manifest(bundle: Bundle, project: str) -> Manifest:
    """Return the document that a code key signs for this bundle."""
    function, base = bundle.function, DistributedFunction
    check_judges(function)
    rule = function.agree if isinstance(function.agree, Agreement) else None
    return Manifest(
        project=project,
        title=function.title or function.__name__,
        entry=bundle.entry,
        bundle=bundle.sha256,
        bundle_bytes=len(bundle.data),
        needs=list(function.needs),
        has_verify=function.verify is not base.verify,
        has_agree=function.agree is not base.agree and rule is None,
        has_partial=function.partial is not base.partial,
        agreement=msgspec.UNSET if rule is None else rule,
        homogeneous=function.homogeneous or msgspec.UNSET,
        has_perturb=function.perturb is not base.perturb or msgspec.UNSET,
    )


def unpack(data: bytes, folder: Path, *, expected_sha256: str, max_bytes: int = MAX_BUNDLE_BYTES) -> None:
    """Write a bundle's files below `folder`, which appears complete or not at all; readable by every user.

    Raises BadSignature if the bytes are not those that the manifest names, BundleError if they are not a bundle.
    A folder that is already there was unpacked before and stays as it is.
    """
    if len(data) > max_bytes:
        raise BundleError(f"the bundle has {len(data)} bytes; at most {max_bytes} are taken")
    if codec.digest(data) != expected_sha256:
        raise BadSignature(f"the bundle is not the one with SHA-256 {expected_sha256[:12]}... that was signed")
    files = files_in(data)
    if folder.exists():
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=".unpack-", dir=folder.parent))
    try:
        for name, content in files.items():
            path = fresh / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        for path in (fresh, *fresh.rglob("*")):
            path.chmod(0o755 if path.is_dir() else 0o644)
        fresh.rename(folder)
    except OSError:
        if not folder.exists():
            raise
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def files_in(data: bytes) -> dict[str, bytes]:
    """Return the source files of a bundle by relative path. Raises BundleError if it is none."""
    try:
        value = codec.decode(data, max_items=MAX_ITEMS)
    except CodecError as error:
        raise BundleError(f"the bundle is not a bundle: {error.message}") from None
    if type(value) is not dict or value.keys() != {"files"} or type(value["files"]) is not dict:
        raise BundleError("the bundle is not a bundle: it holds something else than files")
    files: dict[str, bytes] = value["files"]
    check(files)
    return files


def check(files: dict[str, bytes]) -> None:
    """Raise BundleError for any name or size that source code does not have."""
    if not 0 < len(files) <= MAX_FILES:
        raise BundleError(f"a bundle holds 1 to {MAX_FILES} files, not {len(files)}")
    if len({name.casefold() for name in files}) != len(files):
        raise BundleError("two files of the bundle differ in nothing but upper and lower case")
    for name, content in files.items():
        if not can_be_packed(name):
            raise BundleError(f"{name[:80]!r} cannot be the name of a source file")
        if PurePosixPath(name).parts[0].split(".")[0] in _RESERVED:
            raise BundleError(
                f"{name[:80]!r} would hide a module of Python or DSage", hint="Give the file another name."
            )
        if type(content) is not bytes or len(content) > MAX_FILE_BYTES:
            raise BundleError(f"{name[:80]!r} is not a file of at most {MAX_FILE_BYTES} bytes")


def check_judges(function: type[DistributedFunction]) -> None:
    """Raise BundleError for a `verify`, `agree` or `partial` that no validator could call, and for a `perturb` that no
    volunteer's computer could: every answer would fail."""
    for name, (takes, words) in _JUDGES.items():
        found = getattr(function, name)
        try:
            inspect.signature(found).bind(*takes)
        except ValueError:
            continue
        except TypeError:
            raise BundleError(
                f"{function.__name__}.{name} is to be a static function of {words}",
                hint=f"Write @staticmethod and def {name}({words})"
                + (", or a rule: agree = close(rtol=1e-9)." if name == "agree" else "."),
            ) from None
    _check_perturbing(function)


def _check_perturbing(function: type[DistributedFunction]) -> None:
    base, name = DistributedFunction, function.__name__
    perturbs = function.perturb is not base.perturb
    if function.restore is not base.restore and not perturbs:
        raise BundleError(
            f"{name} has restore and no perturb, so there is nothing to restore",
            hint="Write perturb(args, seed), or leave restore out.",
        )
    if perturbs and function.partial is not base.partial:
        raise BundleError(
            f"{name} has perturb and partial, and what a perturbed copy had done until it was stopped is not restored",
            hint="Leave one of the two out.",
        )


def can_be_packed(name: str) -> bool:
    """Say whether this relative path is one that a source file may have."""
    *folders, file = name.split("/")
    plain = all(map(_FOLDER.fullmatch, folders)) and _FILE.fullmatch(file) is not None
    return plain and len(name) <= MAX_PATH_CHARACTERS and len(folders) <= MAX_DEPTH


def _from_gallery(name: str, class_name: str) -> tuple[type[DistributedFunction], dict[str, bytes]]:
    found = {entry.name: entry for entry in entry_points(group=GALLERY)}
    if name not in found:
        names = ", ".join(sorted(found)) or "none installed"
        raise BundleError(f"{name!r} is neither a project of the gallery ({names}) nor a Python file")
    module = importlib.import_module(found[name].value)
    function = class_name or getattr(module, "FUNCTION", None)
    if isinstance(function, str):
        function = getattr(module, function, None)
    if not is_function(function):
        wanted = f"has no class {class_name!r}" if class_name else "does not say which class it offers (FUNCTION)"
        raise BundleError(f"{found[name].value} {wanted}")
    return function, _package_files(module)


def _package_files(module: ModuleType) -> dict[str, bytes]:
    """Return the sources of a module or package, and the `__init__.py` of each package around it."""
    parts = module.__name__.split(".")
    source = Path(module.__file__ or "")
    is_package = hasattr(module, "__path__")
    root = source.parents[len(parts) if is_package else len(parts) - 1]
    paths = list(source.parent.rglob("*.py")) if is_package else [source]
    paths += [root.joinpath(*parts[:depth], "__init__.py") for depth in range(1, len(parts))]
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in paths if path.is_file()}


def _from_file(path: Path, class_name: str) -> tuple[type[DistributedFunction], dict[str, bytes]]:
    try:
        source = path.read_bytes()
    except OSError as error:
        raise BundleError(f"{path} cannot be read: {error.strerror}") from None
    check({path.name: source})
    if not path.stem.isidentifier():
        raise BundleError(f"{path.name!r} cannot be imported", hint="Name the file like a Python module.")
    files = _with_neighbours(path, source)
    if len(files) > 1 and str(path.resolve().parent) not in sys.path:
        sys.path.append(str(path.resolve().parent))
    module = _load(path)
    own = {
        name: value
        for name, value in vars(module).items()
        if is_function(value) and value.__module__ == module.__name__
    }
    if class_name:
        if class_name not in own:
            raise BundleError(f"{path} defines no DistributedFunction named {class_name!r}")
        return own[class_name], files
    if len(own) != 1:
        names = ", ".join(own) or "none"
        raise BundleError(
            f"{path} must define one DistributedFunction to be submitted by itself; it has {names}",
            hint=f"Name the class: {path}:CLASS",
        )
    return next(iter(own.values())), files


def _with_neighbours(path: Path, source: bytes) -> dict[str, bytes]:
    """Return a file's source, and the modules beside it that it imports. Raises BundleError."""
    from dsage.shipping import imports

    try:
        text = importlib.util.decode_source(source)
        beside, _ = imports.of_source(text, path.resolve().parent, only_beside=True)
    except (SyntaxError, ValueError) as error:
        raise BundleError(f"{path} cannot be imported: {type(error).__name__}: {error}") from error
    own = {name: data for name, data in beside.items() if name.partition("/")[0].removesuffix(".py") not in _RESERVED}
    return {**own, path.name: source}


def _load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise BundleError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    before = sys.modules.get(path.stem)
    sys.modules[path.stem] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        if before is None:
            del sys.modules[path.stem]
        else:
            sys.modules[path.stem] = before
        raise BundleError(f"{path} cannot be imported: {type(error).__name__}: {error}") from error
    return module


def is_function(value: object) -> TypeGuard[type[DistributedFunction]]:
    """Say whether this is a class that a researcher wrote."""
    return isinstance(value, type) and issubclass(value, DistributedFunction) and value is not DistributedFunction
