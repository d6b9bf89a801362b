"""TLS on a host of two workers: the certificate of the name, and new ones without a failed request."""

from __future__ import annotations

import asyncio
import os
import signal
import ssl
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography import x509

from tests.conftest import GUESTS
from tests.kit.authority import DAY, Authority
from tests.kit.process import HostProcess, free_port
from tests.kit.until import wait_until

CLIENTS = 4
AUTHORITY = Authority()


class Visitor:
    """Requests with TLS, each on a connection of its own."""

    def __init__(self, port: int, host: str) -> None:
        self._port, self._host = port, host
        self._context = AUTHORITY.client()
        self.serials: list[int] = []
        self.asked = 0

    async def ask(self, name: str, path: str = "/request") -> str:
        """The reply, head and body; notes the certificate. Raises OSError, ssl.SSLError."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port, ssl=self._context, server_hostname=name)
        try:
            connection: ssl.SSLObject = writer.get_extra_info("ssl_object")
            found = connection.getpeercert(binary_form=True)
            assert found is not None
            writer.write(f"GET {path} HTTP/1.1\r\nhost: {self._host}\r\nconnection: close\r\n\r\n".encode())
            self.asked += 1
            reply = (await asyncio.wait_for(reader.read(), 30)).decode()
            self.serials.append(x509.load_der_x509_certificate(found).serial_number)
            return reply
        finally:
            writer.close()


def reload(host: HostProcess) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("tenure")), "serve", "--data", str(host.data), "--reload"]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


@pytest.mark.timeout(120)
async def test_certificates_are_chosen_by_name_and_replaced_without_a_failed_request(tmp_path: Path) -> None:
    folder, port = tmp_path / "certificates", free_port()
    folder.mkdir()
    first, second = (AUTHORITY.issue(folder, name, f"{name}.example.com") for name in "ab")
    flags = ("--workers", "2", "--tls-listen", f"127.0.0.1:{port}", "--tls-cert", str(folder))
    host = HostProcess(tmp_path / "data", flags=flags)
    host.start()
    try:
        async with host.admin() as admin:
            shipped = await admin.ship(GUESTS / "echo")
        visitor = Visitor(port, shipped.host)
        reply = await visitor.ask("a.example.com")
        assert reply.startswith("HTTP/1.1 200"), reply
        assert f'"url":"https://{shipped.host}/request"' in reply
        await visitor.ask("b.example.com")
        assert visitor.serials == [first, second]
        with pytest.raises(OSError):  # noqa: PT011  # the alert, or the end of the connection right behind it
            await visitor.ask("c.example.com")

        (folder / "b.key").unlink()
        refused = await asyncio.to_thread(reload, host)
        assert (refused.returncode, "b.key is missing" in refused.stderr) == (1, True)
        os.kill(host.pid, signal.SIGHUP)
        await wait_until(lambda: "not_reloaded" in host.log_tail(), "SIGHUP to be refused, too")
        pids = set(host.workers().values())
        third = AUTHORITY.issue(folder, "b", "b.example.com", lasts=5 * DAY)
        visitor.serials.clear()
        going = True

        async def keep_asking() -> None:
            while going:
                assert (await visitor.ask("b.example.com")).startswith("HTTP/1.1 200")

        clients = [asyncio.create_task(keep_asking()) for _ in range(CLIENTS)]
        await wait_until(lambda: len(visitor.serials) > CLIENTS, "replies with the old certificate")
        patient = Visitor(port, shipped.host)
        begun = [asyncio.create_task(patient.ask("b.example.com", "/slow?ms=2000")) for _ in range(CLIENTS)]
        await wait_until(lambda: patient.asked == CLIENTS, "slow requests to be under way")
        done = await asyncio.to_thread(reload, host)
        assert (done.returncode, done.stdout) == (0, "2 workers replaced\n"), done.stderr
        before = len(visitor.serials)
        await wait_until(lambda: len(visitor.serials) > before + 2 * CLIENTS, "replies with the new certificate")
        going = False
        await asyncio.gather(*clients)
        assert [reply[-4:] for reply in await asyncio.gather(*begun)] == ["slow"] * CLIENTS
        assert set(patient.serials) == {second}
        assert (visitor.serials[0], set(visitor.serials[before + CLIENTS :])) == (second, {third})
        assert not pids & set(host.workers().values())
    finally:
        host.kill()


def test_a_host_does_not_start_with_a_certificate_that_is_wrong(tmp_path: Path) -> None:
    folder = tmp_path / "certificates"
    folder.mkdir()
    AUTHORITY.issue(folder, "a")
    addresses = [f"--{name}=127.0.0.1:0" for name in ("listen", "admin", "tls-listen")]
    command = [str(Path(sys.executable).with_name("tenure")), "serve", "--data", str(tmp_path / "data"), *addresses]
    done = subprocess.run([*command, "--tls-cert", str(folder)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "a.crt is for no host name" in done.stderr
