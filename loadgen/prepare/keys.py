"""Keys for a run: made for it, or read from the files that the scenario names."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from loadgen.errors import InputError, Problem
from loadgen.files import read_bounded
from loadgen.identity.authlist import AuthList
from loadgen.identity.credentials import (
    MAX_PEM_BYTES,
    Authority,
    Identity,
    load_identity,
    new_key,
    refused_certificates,
    self_signed,
)
from loadgen.identity.pem import EXPECTED_CERTIFICATES, read_certificates
from loadgen.scenario.plan import Plan, Use
from loadgen.scenario.reading import relative_to
from loadgen.scenario.schema import DEFAULT_GROUPS, ListSource, Scenario
from loadgen.units import NS_PER_S

# Making an RSA key takes about 50 ms; a fleet shares this many key pairs, each with a certificate of its own.
_RSA_KEYS = 8
_DAYS = 3650.0


class Keys(NamedTuple):
    """Who the endpoints of a run are, and whom they trust.

    auth_lists: whom WLCs let in; empty: everybody. wlc_trust, mse_trust: where chains must end that the WLCs, and the
    MSEs, are shown; None: anywhere.
    """

    wlc: tuple[Identity, ...]
    mse: tuple[Identity, ...]
    auth_lists: tuple[AuthList, ...]
    wlc_trust: bytes | None
    mse_trust: bytes | None


def make_keys(scenario: Scenario, scenario_path: Path, plan: Plan, now: datetime) -> Keys:
    """Identities of both fleets as far as they are ours, the WLCs' auth lists, and whom both sides trust.

    Raises:
        InputError: a file that the scenario names is missing or wrong, or an option lacks one.
    """
    return _Maker(scenario, scenario_path, plan, now).make()


def check_keys(scenario: Scenario, scenario_path: Path, plan: Plan) -> None:
    """Read all that `make_keys` reads, and make nothing.

    Raises:
        InputError: as `make_keys`.
    """
    _Maker(scenario, scenario_path, plan, datetime.now(UTC)).read()


def refused_by_openssl(identity: Identity, where: str) -> Iterator[Problem]:
    """What of an identity OpenSSL does not take: it reads whole certificates, and we a part of them."""
    from loadgen.transport.ours import refusal_of_ours  # OpenSSL takes its time to load; most runs name no files

    refusal = refusal_of_ours(identity.key_pem, identity.certificate_pem, identity.chain_pem)
    if refusal is not None:
        yield Problem(where, "a key, its certificate and a chain that OpenSSL takes", f"what it refuses: {refusal}")


def read_trust(path: Path, expected: str = EXPECTED_CERTIFICATES) -> bytes:
    """The certificates of a file, whom somebody trusts, as PEM.

    Raises:
        InputError: it cannot be read, or they cannot.
    """
    from loadgen.transport.ours import refusal_of_trust

    pem = read_certificates(read_bounded(path, MAX_PEM_BYTES, expected), str(path))
    if (refusal := refusal_of_trust(pem)) is not None:
        raise InputError(Problem(str(path), "certificates that OpenSSL takes", f"what it refuses: {refusal}"))
    return pem


class _Files(NamedTuple):
    """What was read of the files that the scenario names. lists: None for the one of this run's MSEs."""

    mse: list[Identity]
    lists: list[AuthList | None]
    wlc_trust: bytes | None
    mse_trust: bytes | None


class _Maker:
    """Collects problems, so that all of them come at once."""

    def __init__(self, scenario: Scenario, path: Path, plan: Plan, now: datetime) -> None:
        self._scenario, self._path, self._plan, self._now = scenario, path, plan, now
        self._problems: list[Problem] = []
        # Controllers and authorities were installed before anything in this run; no clock of it finds them too young.
        skew_ns = min(0, plan.wlc.clock_skew, plan.mse.clock_skew)
        self._before = now + timedelta(seconds=skew_ns / NS_PER_S)
        self._root: Authority | None = None

    def read(self) -> _Files:
        plan, scenario = self._plan, self._scenario
        read = self._read_identities() if plan.use.plays_mse else []
        if plan.mse.certificate == "lsc" and plan.use in (Use.TARGET_WLC, Use.SERVE_MSE):
            expected = '"ssc", or mse.identities: nobody else knows the authority that "lsc" makes for the run'
            self._problem("mse.certificate", expected, '"lsc"')
        wlc_trust = self._trust("wlc.trust", scenario.wlc.trust) if plan.use.plays_wlc else None
        mse_trust = self._trust("tls.trust", scenario.tls.trust) if plan.use.plays_mse else None
        lists = self._read_lists() if plan.use.plays_wlc and scenario.wlc.authenticate else []
        if any(not identity.is_self_signed() for identity in read) and (
            plan.use is Use.BOTH and scenario.wlc.authenticate and scenario.wlc.trust == "fleet"
        ):
            expected = (
                'a PEM file, or "any": mse.identities has certificates that were not signed by this run\'s authority'
            )
            self._problem("wlc.trust", expected, '"fleet"')
        self._check_groups()
        if self._problems:
            raise InputError(self._problems)
        return _Files(read, lists, wlc_trust, mse_trust)

    def make(self) -> Keys:
        plan, scenario = self._plan, self._scenario
        read, lists, wlc_trust, mse_trust = self.read()
        mses = read or (self._make_mses() if plan.use.plays_mse else [])
        wlcs: list[Identity] = []
        if plan.use.plays_wlc:
            wlcs = self._make_wlcs()
        if plan.use is Use.BOTH:
            if scenario.tls.trust == "fleet":
                mse_trust = self._authority().certificate_pem
            if scenario.wlc.trust == "fleet":
                wlc_trust = self._authority().certificate_pem
        return Keys(tuple(wlcs), tuple(mses), self._auth_lists(lists, mses), wlc_trust, mse_trust)

    def _check_groups(self) -> None:
        tls = self._scenario.tls
        if tls.groups == DEFAULT_GROUPS:
            return
        from loadgen.transport.suites import refusal_of_group

        refused = [f'"{name}" ({why})' for name in tls.groups if (why := refusal_of_group(name, tls.version))]
        if refused:
            expected = f"key-exchange groups that OpenSSL has for TLS {tls.version}"
            self._problem("tls.groups", expected, ", ".join(refused))

    def _problem(self, key: str, expected: str, found: str) -> None:
        self._problems.append(Problem(f"{self._path}: {key}", expected, found))

    def _authority(self) -> Authority:
        if self._root is None:
            name = f"loadgen {self._plan.scenario}"[:64]
            self._root = Authority.new(name, self._before, self._scenario.tls.key)
        return self._root

    # -- identities ----------------------------------------------------------------------------------------------

    def _read_identities(self) -> list[Identity]:
        identities: list[Identity] = []
        for name in self._scenario.mse.identities:
            path = relative_to(self._path, name)
            try:
                identity = load_identity(path)
            except InputError as error:
                self._problems.extend(error.problems)
                continue
            identities.append(identity)
            self._problems.extend(self._refused(identity, str(path)))
        return identities

    def _refused(self, identity: Identity, where: str) -> Iterator[Problem]:
        """What OpenSSL would refuse in a worker, where nobody could be told the file's name."""
        tls = self._scenario.tls
        allows_old = tls.old_certificates or not tls.strong_cipher
        yield from refused_certificates(identity, where, allows_old=allows_old, remedy="tls.old_certificates = true")
        yield from refused_by_openssl(identity, where)

    def _make_mses(self) -> list[Identity]:
        plan, key = self._plan, self._scenario.tls.key
        if plan.mse.certificate == "none":
            return [Identity(mac, b"", b"") for mac in plan.mse_macs]
        days = plan.mse.validity / NS_PER_S / 86400 if plan.mse.validity else _DAYS
        if plan.mse.certificate == "lsc":
            # Signed by the authority's clock, which is right.
            issuing = self._authority().issue_authority(f"loadgen issuing {plan.scenario}"[:64], self._before, key)
            return [issuing.issue(mac, new_key(key), self._now, days) for mac in plan.mse_macs]
        installed = self._now + timedelta(seconds=plan.mse.clock_skew / NS_PER_S)
        return [self_signed(mac, new_key(key), installed, days) for mac in plan.mse_macs]

    def _make_wlcs(self) -> list[Identity]:
        plan, key = self._plan, self._scenario.tls.key
        count = len(plan.wlcs) if key == "p256" else min(len(plan.wlcs), _RSA_KEYS)
        pool = [new_key(key) for _ in range(count)]
        authority = self._authority()
        return [authority.issue(wlc.mac, pool[index % count], self._before) for index, wlc in enumerate(plan.wlcs)]

    # -- auth lists ----------------------------------------------------------------------------------------------

    def _read_lists(self) -> list[AuthList | None]:
        """Those in files; None for the one of this run's MSEs."""
        wlc = self._scenario.wlc
        sources: Sequence[tuple[str, ListSource]] = [("wlc.auth_list", ListSource(wlc.auth_list))]
        if wlc.aaa.lists:
            sources = [(f"wlc.aaa.lists[{index}].auth_list", each) for index, each in enumerate(wlc.aaa.lists)]
        lists: list[AuthList | None] = []
        for key, source in sources:
            if source.auth_list is not None:
                from loadgen.identity.devices import load_auth_list

                try:
                    path = relative_to(self._path, source.auth_list)
                    lists.append(load_auth_list(path, self._scenario.tls.hash_over))
                except InputError as error:
                    self._problems.extend(error.problems)
            elif self._plan.use is Use.SERVE_WLC:
                expected = "a file of key hashes to let MSEs in by (or wlc.authenticate = false)"
                self._problem(key, expected, "nothing")
            else:
                lists.append(None)
        return lists

    def _auth_lists(self, lists: list[AuthList | None], mses: list[Identity]) -> tuple[AuthList, ...]:
        tls = self._scenario.tls
        shown = [identity for identity in mses if identity.certificate_pem]
        ours = AuthList.of(shown, tls.key_hash, tls.hash_over)
        return tuple(ours if each is None else each for each in lists)

    # -- trust ---------------------------------------------------------------------------------------------------

    def _trust(self, key: str, trust: str) -> bytes | None:
        # "fleet" means the authority of this run; somebody else has another, which only a file can name.
        if trust in ("any", "fleet"):
            return None
        path = relative_to(self._path, trust)
        try:
            return read_trust(path, f'{EXPECTED_CERTIFICATES}, or "fleet", or "any"')
        except InputError as error:
            self._problems.extend(error.problems)
            return None
