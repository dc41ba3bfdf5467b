"""The account, the way to the service, its certificate and its clock."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

import httpcore

from megamax_sync.api import MegamaxClient
from megamax_sync.api.network import Backend
from megamax_sync.api.transport import trust
from megamax_sync.config import Settings
from megamax_sync.doctor.finding import Finding, Level, error, fine, warning
from megamax_sync.errors import ConfigError, CredentialsRejected, MegamaxError

#: A clock that is further off than this, in seconds, makes times wrong that people read.
_CLOCK = 60.0
#: Nobody waits for a doctor for as long as for an upload, in seconds.
_PATIENCE = 20.0


def examine(settings: Settings) -> Iterator[Finding]:
    """Ask the service for an upload URL, as each upload does, and try its host."""
    try:
        login, key = settings.require_credentials()
    except ConfigError as missing:
        for fault in missing.faults:
            text, _, remedy = fault.partition("; ")
            yield error("credentials", text, remedy)
        return
    try:
        with MegamaxClient(
            settings.api_url,
            login.get_secret_value(),
            key.get_secret_value(),
            timeout=min(settings.timeout_seconds, _PATIENCE),
            ca_file=settings.ca_file,
            proxy=settings.proxy.get_secret_value() if settings.proxy else None,
        ) as client:
            url = client.upload_url()
            offset = client.server_clock_offset
    except CredentialsRejected as rejected:
        yield Finding(
            "credentials",
            Level.ERROR,
            str(rejected),
            "set MEGAMAX_LOGIN and MEGAMAX_KEY as the account settings show them (for a systemd "
            "service in its credential files, then systemctl restart)",
            rejected=True,
        )
    except MegamaxError as failed:
        yield error(
            "service", str(failed), f"see whether {settings.api_url} can be reached from here"
        )
    else:
        yield fine("credentials", f"accepted by {settings.api_url}")
        yield _endpoint(url, settings)
        yield _clock(offset)


def _endpoint(url: str, settings: Settings) -> Finding:
    """Shake hands with the upload host, without sending anything."""
    name = "upload endpoint"
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    if settings.proxy:
        return fine(name, f"{host}, not tried: it is reached through the proxy")
    timeout = min(settings.timeout_seconds, _PATIENCE)
    try:
        context = trust(settings.ca_file, verify=settings.upload_verify_tls)
        stream = Backend().connect_tcp(host, port, timeout)
        if parts.scheme == "https":
            stream = stream.start_tls(context, host, timeout)
        stream.close()
    except (httpcore.ConnectError, httpcore.ConnectTimeout) as failed:
        return error(
            name,
            f"{host}: {failed}",
            "where its certificate is the trouble, give MEGAMAX_CA_FILE, or, knowing what that "
            "means, MEGAMAX_UPLOAD_VERIFY_TLS=false; else let this machine reach it",
        )
    except MegamaxError as failed:
        return error(name, str(failed), "mend the setting")
    if parts.scheme != "https":
        return fine(name, f"{host}, plain HTTP on this machine")
    if not settings.upload_verify_tls:
        return warning(
            name,
            f"{host}, whose certificate is not verified",
            "unset MEGAMAX_UPLOAD_VERIFY_TLS: login and key go there with each upload",
        )
    return fine(name, f"{host}, with a certificate that is trusted")


def _clock(offset: float | None) -> Finding:
    if offset is None:
        return warning("clock", "the service does not say what time it is", "see timedatectl")
    if abs(offset) > _CLOCK:
        return warning(
            "clock",
            f"differs from the service's by {abs(offset):.0f} s",
            "have it set by the network: timedatectl set-ntp true",
        )
    return fine("clock", f"within {max(1.0, abs(offset)):.0f} s of the service's")
