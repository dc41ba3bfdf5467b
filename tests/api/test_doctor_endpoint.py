"""The doctor at the upload host's door."""

from __future__ import annotations

import ssl
from pathlib import Path

from megamax_sync.config import Settings, load
from megamax_sync.doctor import Level, account

from .server import Server


def settings(_folder: Path, **more: str) -> Settings:
    """Settings that name nothing but this."""
    return load(environ={f"MEGAMAX_{name}": value for name, value in more.items()})


def test_the_upload_host_is_tried(
    tmp_path: Path, server_tls: ssl.SSLContext, certificate: Path
) -> None:
    """A certificate that is trusted, one that is not, one that is not looked at, and no host."""
    with Server(tls=server_tls) as server:
        url = server.url
        trusted = settings(tmp_path, CA_FILE=str(certificate))
        assert account._endpoint(url, trusted).level is Level.OK
        refused = account._endpoint(url, settings(tmp_path))
        assert (refused.level, "MEGAMAX_CA_FILE" in refused.remedy) == (Level.ERROR, True)
        blind = settings(tmp_path, UPLOAD_VERIFY_TLS="false")
        assert account._endpoint(url, blind).level is Level.WARNING
    assert account._endpoint("http://127.0.0.1:9/x", settings(tmp_path)).level is Level.ERROR
    proxied = settings(tmp_path, PROXY="http://127.0.0.1:9")
    assert "through the proxy" in account._endpoint("https://far/x", proxied).text
    bundle = tmp_path / "ca.pem"
    bundle.write_bytes(certificate.read_bytes())
    wrong = settings(tmp_path, CA_FILE=str(bundle))
    bundle.unlink()
    with Server(tls=server_tls) as server:
        assert account._endpoint(server.url, wrong).level is Level.ERROR
