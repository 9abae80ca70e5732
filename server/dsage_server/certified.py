"""Who is a researcher here: whoever's code key the root key has certified, for as long as it has."""

from __future__ import annotations

from dsage.errors import NotAllowed
from dsage.home import is_plain
from dsage.trust.chain import Chain
from dsage.trust.documents import CodeKey


def certified(chain: Chain, key: bytes, now: float) -> CodeKey:
    """Return what the root key says of a researcher's code key. Raises NotAllowed if it was revoked or has run out."""
    root = chain.root
    if key in root.revoked_keys:
        raise NotAllowed("this key was revoked")
    for known in root.code_keys:
        if known.key == key and known.expires > now:
            return known
    raise NotAllowed("this key is not certified here", hint="The operator runs `dsage keys certify`.")


def projects_of(chain: Chain, key: bytes, now: float) -> frozenset[str]:
    """Return the projects that a code key is certified for: none if it was revoked or has run out."""
    try:
        return frozenset(certified(chain, key, now).projects)
    except NotAllowed:
        return frozenset()


def certified_for(chain: Chain, key: bytes, project: str, now: float) -> CodeKey:
    """The same for a project. Raises NotAllowed."""
    known = certified(chain, key, now)
    if project not in known.projects:
        shown = project if is_plain(project) else "of that name"
        raise NotAllowed(f"your key is not certified for the project {shown}")
    return known
