"""All hosts of a cluster together: set up, remembered, cleared again."""

import contextlib
import hashlib
import re
import tempfile
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from pi_cluster.cluster import settings
from pi_cluster.cluster.advice import command
from pi_cluster.cluster.errors import AccessError, ClusterError, HostError
from pi_cluster.cluster.trust.authority import ClusterAuthority
from pi_cluster.cluster.trust.holdings import is_initialised
from pi_cluster.cluster.wire.dialing import Dialer
from pi_cluster.coordinator.records.kept_record import record_file
from pi_cluster.coordinator.records.known_hosts import (
    Host,
    KnownHost,
    load_hosts,
    merged,
    save_hosts,
)
from pi_cluster.coordinator.records.pipeline_record import RECORD_NAME
from pi_cluster.deploy.hosts.answers import ask_facts
from pi_cluster.deploy.hosts.bootstrap import Bootstrap, Result, become_root
from pi_cluster.deploy.hosts.host_list import workers_of
from pi_cluster.deploy.hosts.remote_host import RemoteHost
from pi_cluster.deploy.membership.grants import make_grant, write_grant
from pi_cluster.deploy.screen import output
from pi_cluster.deploy.screen.setup_screen import setup_lines


@dataclass(frozen=True, slots=True)
class SetupOptions:
    """What the user said about setting up hosts."""

    wheels: Path | None = None
    sudo_password: str | None = None
    insecure: bool = False
    """Without certificates."""


def set_up_hosts(
    cluster: str,
    folder: Path,
    hosts: Sequence[Host],
    options: SetupOptions,
    dialer: Dialer,
    store_bytes: int,
) -> list[Result]:
    """Set up hosts and remember them. Raises ``HostError`` when not one worker answers."""
    before = load_hosts(cluster)
    config = settings.cluster_config(cluster)
    if not is_initialised(config) and not options.insecure:
        raise AccessError(
            f"cluster {cluster!r} has no certificates yet, and hosts are reached over the network: "
            f"make them with `{command(cluster, 'init')}`, once, and run the same command again"
        )
    authority = None if options.insecure else ClusterAuthority(config, cluster)
    remembering = threading.Lock()

    def remember(host: Host) -> None:
        """Before the first change: a run that is broken off has left something there."""
        with remembering:
            save_hosts(folder, merged(load_hosts(cluster), [_known_before(host, before)]))

    with setup_lines() as lines:
        results = Bootstrap(
            cluster=cluster,
            dialer=dialer,
            lines=lines,
            authority=authority,
            remember=remember,
            wheels=options.wheels,
            sudo_password=options.sudo_password,
            shard_bytes=store_bytes // max(1, len(workers_of(hosts))),
        ).set_up(hosts)
    if authority:
        _revoke_replaced(before, results, authority)
    ready = [result for result in results if result.peer]
    failed = [result for result in results if result.failure]
    for result in results:
        output.warn(result.warnings)
    now = [
        KnownHost(r.host, r.peer.address, r.peer.node_id) if r.peer else KnownHost(r.host)
        for r in results
        if not r.failure
    ]
    after = merged(load_hosts(cluster), now)
    # They were remembered as they came to be changed; those that are new stand as they were named.
    named = [host.host for host in hosts]
    after.sort(key=lambda one: named.index(one.host.host) if one.host.host in named else -1)
    save_hosts(folder, merged(before, after))
    changed = sum(result.changed for result in results)
    if not ready:
        raise HostError("\n".join(["no host could be set up:", *(str(r.failure) for r in failed)]))
    output.notes.print(_summary(results, changed), soft_wrap=True)
    return results


def bring_grants(cluster: str, hosts: Sequence[Host]) -> list[str]:
    """Let the users of coordinators ask the pipeline that is up; returns what went wrong."""
    if not hosts:
        return []
    authority = ClusterAuthority(settings.cluster_config(cluster), cluster)
    digest = hashlib.sha256(record_file(cluster).read_bytes()).hexdigest()
    failures = []
    for host in hosts:
        try:
            with RemoteHost(host) as remote, tempfile.TemporaryDirectory() as folder:
                if remote.ask("known_record", cluster=cluster, name=RECORD_NAME) != digest:
                    file = Path(folder) / "grant"
                    write_grant(make_grant(authority, _grant_name(host)), file)
                    remote.ask("accept", cluster=cluster, grant=file.read_text())
        except ClusterError as error:
            failures.append(str(error))
    return failures


def _grant_name(host: Host) -> str:
    """By which `node revoke` knows a coordinator."""
    return re.sub(r"[^a-z0-9]+", "-", host.host.lower()).strip("-")[:63]


def _revoke_replaced(
    before: Sequence[KnownHost], results: Sequence[Result], authority: ClusterAuthority
) -> None:
    """Take back the identities of hosts that were flashed anew: nobody has their keys any more.

    A node id that was known before has only moved to another host name, with its card.
    """
    known = {one.node_id for one in before}
    for result in results:
        old = _known_before(result.host, before).node_id
        if result.peer and old and result.peer.node_id not in known:
            with contextlib.suppress(AccessError):  # it was revoked, or never certified
                authority.revoke(old)
                output.notes.print(
                    f"{result.host.label} came back as another node, {result.peer.node_id}: "
                    f"what it was before, {old}, is revoked",
                    soft_wrap=True,
                )


def tell_failures(results: Sequence[Result]) -> None:
    """Name the hosts that are not ready, with the cause."""
    failed = [result for result in results if result.failure]
    for result in failed:
        output.notes.print(f"error: {result.failure}", markup=False, soft_wrap=True)
    if failed:
        hosts = output.count(len(failed), "host")
        output.notes.print(
            f"{hosts} not ready: run the same command again, it goes on where it stopped",
            soft_wrap=True,
        )


def _summary(results: Sequence[Result], changed: int) -> str:
    well = sum(result.failure is None for result in results)
    hosts = output.count(well, "host")
    return f"{hosts} ready, {changed} changed" if changed else f"{hosts} ready, nothing to change"


def _known_before(host: Host, before: Sequence[KnownHost]) -> KnownHost:
    for known in before:
        if (known.host.host.lower(), known.host.port) == (host.host.lower(), host.port):
            return replace(known, host=host)
    return KnownHost(host)


def purge_hosts(cluster: str, folder: Path, sudo_password: str | None) -> list[str]:
    """Remove everything from all known hosts, and forget them; returns what went wrong.

    A host that cannot be cleared is remembered, so that the same command again does it.
    """
    known = load_hosts(cluster)
    if not known:
        return []

    def purge(one: KnownHost) -> ClusterError | None:
        try:
            _purge(cluster, one.host, sudo_password)
        except ClusterError as error:
            return error
        return None

    with ThreadPoolExecutor(max_workers=len(known)) as pool:
        failures = list(pool.map(purge, known))
    left = [one for one, failure in zip(known, failures, strict=True) if failure]
    save_hosts(folder, left)
    return [str(failure) for failure in failures if failure]


def _purge(cluster: str, host: Host, sudo_password: str | None) -> None:
    with RemoteHost(host) as remote:
        facts = ask_facts(remote, cluster, host.data_dir)
        remote.ask("forget", cluster=cluster)
        if not facts.is_root:
            become_root(remote, sudo_password)
        remote.ask("lock")
        remote.ask("purge", cluster=cluster, data_parent=host.data_dir)
