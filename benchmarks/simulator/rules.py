"""The rules under test, behind one small interface: what a unit asks for, and what follows from its changes."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, ClassVar, Final

from msgspec.structs import replace

from dsage.states import ReplicaState, UnitState
from dsage_server.store.known import POOL, SHARE, certain
from dsage_validator import issuing, life
from dsage_validator.reputation import RULES, Kind, Rules, drawn, evidence, stands, supporters, weighed
from dsage_validator.unit import Replica, Trust, Unit
from simulator.adversaries import RIGHT
from simulator.watch import Watch

if TYPE_CHECKING:
    from simulator.hosts import Host
    from simulator.world import World

BOINC_ENOUGH: Final = 10


class Rule:
    """A fixed quorum: so many equal answers of different hosts, always. A quorum of 1 is no checking."""

    learns: ClassVar[bool] = False
    """Whether it goes by what hosts did before."""

    def __init__(self, quorum: int) -> None:
        self.quorum = quorum
        self.name = f"quorum {quorum}" if quorum > 1 else "no checking"

    def begin(self, world: World) -> None:
        """Serve one world."""
        self.world = world

    def created(self, number: int) -> Unit:
        """Return a new unit."""
        return life.created(number, self.quorum)

    def made(self, numbers: range) -> None:
        """Do what is done when units are made."""

    def lease(self, unit: Unit, host: Host, replica: Replica) -> Unit:
        """Return a unit after a copy was leased to a host."""
        return life.lease(unit, replica)

    def proof(self, unit: Unit, contradicts: bool, value: int) -> bool | None:
        """Return what the server knows of an answer by itself; `contradicts`: it agrees with none before."""
        return None

    def barred(self, unit: Unit) -> frozenset[int]:
        """Return the volunteers who may not confirm a unit, beside those who have a copy of it."""
        return frozenset()

    def learn(self, was: Unit, unit: Unit) -> None:
        """Draw conclusions from a change of a unit."""

    def closes(self) -> bool:
        """Have what is left to be asked asked when every unit has ended; whether something is."""
        return False

    def may_have(self, host: Host) -> int:
        """Return how many copies a host gets that asks for more."""
        return host.batch

    def trusts(self, host: Host) -> bool:
        """Whether a host's word alone may be taken at present."""
        return self.quorum == 1

    def convicted(self, host: Host) -> bool:
        """Whether a host counts as a liar at present."""
        return False


class Boinc(Rule):
    """BOINC's adaptive replication, from its wiki page of that name: the streak of a host is raised by each valid
    answer to a unit that was replicated, and zeroed by an invalid one. From a streak of 10 on a host is trusted with a
    chance of 1 - 1/streak. What was accepted is never looked at again. (Its scheduler draws once a request; here each
    unit has its own draw, which is kinder to it.)
    """

    learns = True

    def __init__(self) -> None:
        super().__init__(2)
        self.name = "BOINC"

    def created(self, number: int) -> Unit:
        return life.created(number, 1)

    def lease(self, unit: Unit, host: Host, replica: Replica) -> Unit:
        if unit.quorum == 1 and not (self.trusts(host) and self.world.rng.random() < 1.0 - 1.0 / host.streak):
            unit = replace(unit, quorum=2, unsent=2)
        return life.lease(unit, replica)

    def learn(self, was: Unit, unit: Unit) -> None:
        if unit.quorum == 1:
            return
        before = {r.id: r.state for r in was.replicas}
        for r in unit.replicas:
            if r.state is not before.get(r.id):
                host = self.world.hosts[r.host - 1]
                if r.state is ReplicaState.VALID:
                    host.streak += 1
                elif r.state is ReplicaState.INVALID:
                    host.streak = 0

    def trusts(self, host: Host) -> bool:
        return host.streak >= BOINC_ENOUGH


class Ours(Rule):
    """DSage's: `dsage_validator.reputation` for each host, and everything a liar stood for is looked at again.

    The rest are other ways, which the server does not go (docs/trust.md says what they bring). `pairing`: while either
    partner is new, no two of the same kin confirm each other. `arbiter`: where answers differ the server computes the
    unit itself. `spot`: the share of accepted units that it computes anyway. The server does what `closing`, `known`
    and `watch` say: when a run has ended, one of the answers of each host that were taken alone since its last check is
    asked of one more, so nobody's last word stays unchecked; for each unit that is made such a share of units whose
    answer is certain are asked again (`dsage_server.store.known`); and hosts that stand out are checked more often.
    """

    learns = True

    def __init__(
        self, rules: Rules = RULES, *, name: str = "DSage", pairing: bool = False, arbiter: bool = False,
        spot: float = 0.0, known: float = SHARE, watch: bool = True, closing: bool = True,
    ) -> None:  # fmt: skip
        super().__init__(2)
        self.name, self.rules, self.pairing, self.arbiter = name, rules, pairing, arbiter
        self.spot, self.known, self.closing = spot, known, closing
        self._closed: set[int] = set()
        self._watch = Watch() if watch else None
        self._pool: list[int] = []
        self._pooled: set[int] = set()
        self._fallen: deque[tuple[Host, bool]] = deque()
        self._looking = False

    def created(self, number: int) -> Unit:
        return life.created(number, 2, adaptive=True)

    def lease(self, unit: Unit, host: Host, replica: Replica) -> Unit:
        world = self.world
        trust = host.standing.trust(drawn(world.key, unit.id), world.now, self.rules)
        if trust is Trust.ALONE and not issuing.first_copy(unit):
            trust = Trust.KNOWN
        return life.lease(unit, replace(replica, trust=trust) if trust else replica)

    def made(self, numbers: range) -> None:
        world, rng = self.world, self.world.rng
        for _ in range(sum(rng.random() < self.known for _ in numbers)):
            while self._pool:
                number = self._pool.pop(rng.randrange(len(self._pool)))
                if certain(world.units[number]):
                    world.change(life.asked_again(world.units[number]))
                    break

    def barred(self, unit: Unit) -> frozenset[int]:
        if not self.pairing:
            return frozenset()
        world, found = self.world, []
        for r in unit.replicas:
            if r.state not in (ReplicaState.LEASED, ReplicaState.REPORTED):
                continue
            kin = world.kin[world.hosts[r.host - 1].kin]
            if len(kin) > 1:
                found += [h.number for h in kin if not r.trust or not self.trusts(h)]
        return frozenset(found)

    def proof(self, unit: Unit, contradicts: bool, value: int) -> bool | None:
        if self.arbiter and contradicts and life.centres(unit):
            self.world.tally.checks += 1
            return value == RIGHT
        return None

    def may_have(self, host: Host) -> int:
        return host.standing.may_have(host.batch, len(host.open), self.world.now, self.rules)

    def trusts(self, host: Host) -> bool:
        return host.standing.established(self.world.now, self.rules)

    def convicted(self, host: Host) -> bool:
        return host.standing.distrusted(self.world.now, self.rules)

    def closes(self) -> bool:
        if not self.closing:
            return False
        world = self.world
        self._closed = {n for n in self._closed if world.units[n].unsent or _out(world.units[n])}
        if not self._closed:
            for host in world.hosts:
                alone = [n for n in host.stood if world.begun[n] > host.standing.at and _alone(world.units[n], host)]
                if alone:
                    self._closed.add(world.rng.choice(alone))
            for number in self._closed:
                world.change(life.asked_again(world.units[number]))
        return bool(self._closed)

    def learn(self, was: Unit, unit: Unit) -> None:
        if was.state is not UnitState.VALID is not unit.state:
            return
        if self._watch is not None:
            self._watch.learn(self.world, was, unit)
        for each in evidence(was, unit):
            self._weigh(self.world.hosts[each.host - 1], each.kind)
        if self.known and unit.id not in self._pooled and certain(unit):
            self._pooled.add(unit.id)
            if self.world.rng.random() < POOL:
                self._pool.append(unit.id)
        if self.spot and unit.state is UnitState.VALID and was.state is not UnitState.VALID:
            self._compute(unit)
        self._look_back()

    def _compute(self, unit: Unit) -> None:
        world = self.world
        if world.rng.random() >= self.spot:
            return
        world.tally.checks += 1
        if unit.canonical in world.lies:
            for r in supporters(unit):
                self._weigh(world.hosts[r.host - 1], Kind.LIED)
            world.change(life.reopened(unit))

    def _weigh(self, host: Host, kind: Kind) -> None:
        now, was = self.world.now, host.standing
        host.standing = weighed(was, kind, now, self.rules)
        host.convictions += kind is Kind.LIED
        lost = host.standing.distrusted(now, self.rules)
        fell = was.established(now, self.rules) and not self.trusts(host)
        if kind is Kind.LIED or fell or lost is not was.distrusted(now, self.rules):
            self._fallen.append((host, lost))

    def _look_back(self) -> None:
        """Look at what the hosts that fell stood for; what falls with it may bring down others."""
        if self._looking:
            return
        self._looking = True
        while self._fallen:
            host, lost = self._fallen.popleft()
            for number in list(host.open):
                unit = self.world.units[number]
                self.world.change(life.distrusted(unit, host.number, Trust.LOST if lost else Trust.NEW))
            if lost:
                stood, host.stood = host.stood, []
                for number in stood:
                    self._reopen(self.world.units[number], host)
        self._looking = False

    def _reopen(self, unit: Unit, host: Host) -> None:
        if unit.state is not UnitState.VALID or not any(r.host == host.number for r in supporters(unit)):
            return
        if stands(unit, self._liar):
            host.stood.append(unit.id)
        else:
            self.world.change(life.reopened(unit))

    def _liar(self, number: int) -> bool:
        return self.convicted(self.world.hosts[number - 1])


def _out(unit: Unit) -> bool:
    return any(r.state is ReplicaState.LEASED for r in unit.replicas)


def _alone(unit: Unit, host: Host) -> bool:
    camp = supporters(unit)
    return len(camp) == 1 and camp[0].host == host.number and camp[0].trust is Trust.ALONE
