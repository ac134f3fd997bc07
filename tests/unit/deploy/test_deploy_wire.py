"""The small HTTP client, encrypted: the certificate has to be that of the host that is asked for, not of the address."""

import asyncio
import datetime
import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from sightline.deploy.wire import Endpoint, ExchangeError, read_head
from sightline.errors import UsageError

HOST = "parts.models.example"


@pytest.fixture
def certificate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A certificate for HOST, with its key, that this process trusts."""
    key = ec.generate_private_key(ec.SECP256R1())
    name, now = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, HOST)]), datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(HOST)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path = tmp_path / "certificate.pem"
    path.write_bytes(made.public_bytes(serialization.Encoding.PEM) + secret)
    monkeypatch.setenv("SSL_CERT_FILE", str(path))
    return path


async def _ask(certificate: Path, host: str) -> str:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    connections: list[asyncio.Task[None]] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(asyncio.current_task())  # type: ignore[arg-type]
        while (head := await read_head(reader)) is not None:
            body = head.headers["host"].encode()
            writer.write(f"HTTP/1.1 200 OK\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    endpoint = Endpoint(f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}", host=host)
    try:
        return (await endpoint.request("GET", "/", headers={}, body=b"", timeout_s=5)).body.decode()
    finally:
        endpoint.close()
        await asyncio.sleep(0.05)
        server.close()
        await asyncio.gather(*connections, return_exceptions=True)


def test_the_host_is_asked_for_and_its_certificate_is_checked(certificate: Path) -> None:
    assert asyncio.run(_ask(certificate, f"{HOST}:443")) == f"{HOST}:443"


def test_a_certificate_of_another_host_is_refused(certificate: Path) -> None:
    with pytest.raises(ExchangeError, match="no connection"):
        asyncio.run(_ask(certificate, "other.models.example"))


def test_other_addresses_are_refused() -> None:
    for url in ("ftp://host:1", "host:1", "http://"):
        with pytest.raises(UsageError, match="expected http"):
            Endpoint(url)
