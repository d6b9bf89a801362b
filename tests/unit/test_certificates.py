"""TLS certificates in files: read and checked as a whole, chosen by name, and never used when something is wrong."""

from __future__ import annotations

import asyncio
import ssl
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from host.gateway.certificates import context_of, digest_of, read_pairs, sealed, unsealed
from host.gateway.hypercorn_edge import HypercornEdge
from host.gateway.listen import listening_socket
from host.gateway.serve import UvicornEdge
from host.model.errors import UsageError
from tests.kit.authority import DAY, Authority

AUTHORITY = Authority()


def shaken(server: ssl.SSLContext, name: str | None, client: ssl.SSLContext | None = None) -> ssl.SSLObject:
    """The client's side of a connection, in memory. Raises ssl.SSLError."""
    client = client or AUTHORITY.client()
    if name is None:
        client.check_hostname = False
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    mine = client.wrap_bio(back, there, server_hostname=name)
    theirs = server.wrap_bio(there, back, server_side=True)
    done: set[ssl.SSLObject] = set()
    while len(done) < 2:
        for side in (mine, theirs):
            try:
                side.do_handshake()
                done.add(side)
            except ssl.SSLWantReadError:
                pass
    return mine


def serial_of(connection: ssl.SSLObject) -> int:
    found = connection.getpeercert(binary_form=True)
    assert found is not None
    return x509.load_der_x509_certificate(found).serial_number


def refused(folder: Path, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        read_pairs(folder)


def test_the_certificate_of_the_name_is_chosen(tmp_path: Path) -> None:
    first = AUTHORITY.issue(tmp_path, "a", "shop.example.com", "shop.example.org")
    second = AUTHORITY.issue(tmp_path, "b", "*.apps.example.com")
    context = context_of(read_pairs(tmp_path), ["http/1.1"])
    for name, serial in (
        ("shop.example.com", first),
        ("SHOP.example.org", first),
        ("one.apps.example.com", second),
        ("two.apps.example.com", second),
    ):
        connection = shaken(context, name)
        assert (serial_of(connection), connection.version()) == (serial, "TLSv1.3")
    assert serial_of(shaken(context, None)) == first
    for other in ("apps.example.com", "a.b.apps.example.com", "example.com"):
        with pytest.raises(ssl.SSLError):
            shaken(context, other)


def test_nothing_older_than_tls_1_2_is_spoken(tmp_path: Path) -> None:
    AUTHORITY.issue(tmp_path, "a", "shop.example.com")
    context = context_of(read_pairs(tmp_path), ["http/1.1"])
    client = AUTHORITY.client()
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    assert shaken(context, "shop.example.com", client).version() == "TLSv1.2"
    old = AUTHORITY.client()
    old.set_ciphers("DEFAULT:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(ssl.SSLError):
        shaken(context, "shop.example.com", old)


def test_pairs_go_from_process_to_process_as_they_are(tmp_path: Path) -> None:
    AUTHORITY.issue(tmp_path, "a", "shop.example.com")
    pairs = read_pairs(tmp_path)
    assert unsealed(sealed(pairs)) == pairs
    before = digest_of(pairs)
    assert digest_of(read_pairs(tmp_path)) == before
    AUTHORITY.issue(tmp_path, "a", "shop.example.com")
    assert digest_of(read_pairs(tmp_path)) != before


def test_what_is_wrong_is_refused_naming_the_file(tmp_path: Path) -> None:
    refused(tmp_path / "none", "folder of certificates .*none cannot be read: No such file")
    refused(tmp_path, "There is no certificate in")
    AUTHORITY.issue(tmp_path, "a", "shop.example.com")
    AUTHORITY.issue(tmp_path, "b", "www.example.com")
    good = {path: path.read_bytes() for path in tmp_path.iterdir()}
    certificate, key = tmp_path / "b.crt", tmp_path / "b.key"

    def restore() -> None:
        for path, data in good.items():
            path.write_bytes(data)
            path.chmod(0o600)

    key.write_bytes(good[tmp_path / "a.key"])
    refused(tmp_path, "b.key is not the key of .*b.crt")
    for path, what in ((key, "key"), (certificate, "certificate")):
        restore()
        path.write_text("-----BEGIN NOTHING-----\n")
        refused(tmp_path, f"{path.name} holds no {what} in PEM")
        path.unlink()
        refused(tmp_path, f"{path.name} is missing: a certificate and its key come as a pair")
    restore()
    key.chmod(0o644)
    refused(tmp_path, "b.key can be read by everybody")
    key.chmod(0o600)
    encrypted = load_pem_private_key(good[key], None).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")
    )
    key.write_bytes(encrypted)
    refused(tmp_path, "b.key needs a password")
    restore()
    assert len(read_pairs(tmp_path)) == 2
    AUTHORITY.issue(tmp_path, "b", "www.example.com", "shop.example.com")
    refused(tmp_path, "a.crt and b.crt are both for shop.example.com")
    AUTHORITY.issue(tmp_path, "b")
    refused(tmp_path, "b.crt is for no host name")


def test_a_certificate_is_used_in_its_time_only(tmp_path: Path) -> None:
    AUTHORITY.issue(tmp_path, "a", "shop.example.com", since=datetime.now(UTC) - 20 * DAY, lasts=19 * DAY)
    refused(tmp_path, "a.crt expired on")
    AUTHORITY.issue(tmp_path, "a", "shop.example.com", since=datetime.now(UTC) + DAY)
    refused(tmp_path, "a.crt is not valid before")


@pytest.mark.parametrize(("edge_of", "protocol"), [(UvicornEdge, "http/1.1"), (HypercornEdge, "h2")])
async def test_both_edges_answer_with_tls(tmp_path: Path, edge_of: type[Any], protocol: str) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        body = scope["scheme"].encode()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
        await send({"type": "http.response.body", "body": body, "more_body": False})

    AUTHORITY.issue(tmp_path, "a", "shop.example.com")
    sock = listening_socket("127.0.0.1", 0)
    port = sock.getsockname()[1]
    edge = edge_of(app, sock, tls=context_of(read_pairs(tmp_path), [protocol, "http/1.1"]))
    await edge.start()
    client = AUTHORITY.client()
    client.set_alpn_protocols(["h2", "http/1.1"])
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=client, server_hostname="shop.example.com")
    assert writer.get_extra_info("ssl_object").selected_alpn_protocol() == protocol
    writer.close()
    client.set_alpn_protocols(["http/1.1"])
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=client, server_hostname="shop.example.com")
    writer.write(b"GET / HTTP/1.1\r\nhost: shop.example.com\r\nconnection: close\r\n\r\n")
    assert (await asyncio.wait_for(reader.read(), 30)).endswith(b"\r\n\r\nhttps")
    writer.close()
    await writer.wait_closed()
    await edge.stop(1.0)
