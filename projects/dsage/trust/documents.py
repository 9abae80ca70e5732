"""What is signed: the documents of the chain root -> code key -> app and run -> unit, and of logging in.

Each document is a small struct, serialised once as JSON and signed as those exact bytes inside a DSSE
envelope (`envelope.py`) whose payload type names the struct, so a document of one kind is never taken for
another. Keys are raw 32-byte Ed25519 public keys; times are Unix seconds (UTC); hashes are lower-case
hexadecimal SHA-256.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Final

import msgspec

from dsage.agreement import Agreement
from dsage.inputs import MAX_INPUTS, InputFile, Name

PAYLOAD_PREFIX: Final = "application/vnd.dsage."


class Document(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of everything that is signed."""

    payload_type: ClassVar[str]


class CodeKey(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A researcher's certified key: it may sign apps and runs of the named projects."""

    key: bytes
    name: str
    projects: list[str]
    expires: float


class Root(Document, frozen=True, kw_only=True):
    """root.json, signed by the offline root key: which keys and certificate authorities to believe.

    `version` only ever grows. `ca_keys` holds the SHA-256 of each accepted CA's public key (DER
    SubjectPublicKeyInfo), or the word "system". `revoked_apps` are app version hashes, `revoked_keys` raw
    keys.
    """

    payload_type: ClassVar[str] = PAYLOAD_PREFIX + "root+json"

    server_id: str
    version: int
    issued: float
    expires: float
    root_key: bytes
    unit_keys: list[bytes]
    code_keys: list[CodeKey] = []
    ca_keys: list[str] = []
    revoked_apps: list[str] = []
    revoked_keys: list[bytes] = []


class Manifest(Document, frozen=True, kw_only=True):
    """An app version, signed by a code key; its name everywhere is the SHA-256 of these bytes.

    `agreement` is the rule by which answers are the same. Without one the field is left out, so that clients which know
    none can read it: then `agree` of the source says so (`has_agree`), or equal bytes do. The copies of a unit of a
    `homogeneous` app are for computers of one kind; the field is left out where they are not, and so is `has_perturb`
    where the copies of a unit do not differ.
    """

    payload_type: ClassVar[str] = PAYLOAD_PREFIX + "app+json"

    project: str
    title: str
    entry: str
    bundle: str
    bundle_bytes: int
    needs: list[str] = []
    has_verify: bool = False
    has_agree: bool = False
    has_partial: bool = False
    agreement: Agreement | msgspec.UnsetType = msgspec.UNSET
    homogeneous: bool | msgspec.UnsetType = msgspec.UNSET
    has_perturb: bool | msgspec.UnsetType = msgspec.UNSET

    @property
    def rule(self) -> Agreement | None:
        """The rule of agreement, if the app declares one."""
        return None if self.agreement is msgspec.UNSET else self.agreement

    @property
    def perturbs(self) -> bool:
        """Whether each copy of a unit is computed with its arguments perturbed."""
        return self.has_perturb is True

    @property
    def judges(self) -> bool:
        """Whether more than equal bytes decides: a rule, or the app's own code."""
        return self.needs_box or self.rule is not None

    @property
    def needs_box(self) -> bool:
        """Whether answers can be judged in a sandbox only."""
        boxed = self.rule is not None and self.rule.boxed
        return self.has_verify or self.has_agree or self.has_partial or boxed


class Authorisation(Document, frozen=True, kw_only=True):
    """A run that a researcher allows, signed by a code key: a server can vary arguments, nothing else."""

    payload_type: ClassVar[str] = PAYLOAD_PREFIX + "run+json"

    server_id: str
    project: str
    run_key: str
    app: str
    cpu_s: float
    wall_s: float
    memory_bytes: int
    disk_bytes: int
    output_bytes: int
    issued: float
    expires: float


class UnitBatch(Document, frozen=True, kw_only=True):
    """The signed root of a Merkle tree over up to 256 units, signed by the unit key."""

    payload_type: ClassVar[str] = PAYLOAD_PREFIX + "units+json"

    server_id: str
    root: bytes
    count: int
    issued: float
    expires: float


class UnitDocument(Document, frozen=True, kw_only=True, omit_defaults=True):
    """One unit: a leaf of a batch. `run` is the hash of its Authorisation, `app` of its Manifest.

    `inputs` are its files by name; without any the field is left out, so that clients which know none can read it.
    """

    payload_type: ClassVar[str] = PAYLOAD_PREFIX + "unit+json"

    server_id: str
    unit: int
    run: str
    app: str
    args: bytes
    credit_milli: int
    cpu_s: float
    wall_s: float
    memory_bytes: int
    disk_bytes: int
    output_bytes: int
    expires: float
    inputs: Annotated[dict[Name, InputFile], msgspec.Meta(max_length=MAX_INPUTS)] = {}


class Enrolment(Document, frozen=True, kw_only=True, omit_defaults=True):
    """A volunteer's key joins: signed by the new key, over a challenge of this server and an invite code.

    `public` lists the volunteer on the leaderboard; `discoveries`, or `public` if it is None, names them beside what
    their computers find. `pseudonym` is the name that the server offered, "" for any. Servers of before know neither of
    the last two, which are left out where they say nothing.

    `ca`, here and in `Login`, is the hash of the CA key that the connection rests on: whoever passes on a challenge of
    another server cannot pass on the answer.
    """

    payload_type: ClassVar[str] = PAYLOAD_PREFIX + "enrol+json"

    server_id: str
    challenge: bytes
    ca: str
    key: bytes
    code: str
    public: bool
    discoveries: bool | None = None
    pseudonym: str = ""


class Login(Document, frozen=True, kw_only=True):
    """Proof of a key over a single-use challenge; `role` is "host" or "researcher"."""

    payload_type: ClassVar[str] = PAYLOAD_PREFIX + "login+json"

    server_id: str
    challenge: bytes
    ca: str
    key: bytes
    role: str


class Possession(Document, frozen=True, kw_only=True):
    """Proof of a key over a challenge of its own, for a form (trust/proving.py); `made` bounds how long it is good."""

    payload_type: ClassVar[str] = PAYLOAD_PREFIX + "possession+json"

    server_id: str
    key: bytes
    challenge: bytes
    made: float


class SignedResult(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a client stands by for one replica. `value`: the hash of the canonical answer, or empty."""

    replica: int
    lease: bytes
    unit: int
    app: str
    status: str
    value: str
    reason: str = ""


class ResultBatch(Document, frozen=True, kw_only=True):
    """Results signed together by the client key that took their leases."""

    payload_type: ClassVar[str] = PAYLOAD_PREFIX + "results+json"

    server_id: str
    key: bytes
    results: list[SignedResult]
