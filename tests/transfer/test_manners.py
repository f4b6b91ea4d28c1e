"""Manners on the way: certificates, proxies, and where a redirect may lead."""

from __future__ import annotations

import contextlib
import email.utils
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from assetmgr.errors import AccessError, OriginError
from assetmgr.transfer.source import Source
from assetmgr.transfer.urls import redirect_target
from assetmgr.transfer.wire import Wire
from tests.hub import Fault, Hub
from tests.support import hub_manifest, served
from tests.transfer.proxy import Proxy, make_certificate
from tests.transfer.relay import Relay
from tests.transfer.support import QUICK, Attempt, body, sha256
from tests.transfer.test_engine import limits

BODY = body(3_000_000)
KNOWN: dict[str, Any] = {"size": len(BODY), "sha256": sha256(BODY)}
DEAD = "http://127.0.0.1:9"
CANARY = "canary-55d0"


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR", "NETRC"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def hub() -> Iterator[Hub]:
    hub = Hub()
    hub.publish("/w.bin", BODY)
    hub.redirect("/down", "http://127.0.0.1:9/w.bin")
    with hub.serve():
        yield hub


@pytest.fixture
def attempt(tmp_path: Path) -> Attempt:
    return Attempt(tmp_path / "partial" / "file")


def port(hub: Hub) -> int:
    return int(hub.endpoint.rpartition(":")[2])


@pytest.fixture
def proxy(hub: Hub) -> Iterator[Proxy]:
    proxy = Proxy({"far.example": port(hub), "127.0.0.1": port(hub)})
    yield proxy
    proxy.close()


# --- certificates -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"])
@pytest.mark.parametrize("is_proxied", [False, True])
def test_a_certificate_is_believed_only_where_the_environment_says_so(
    hub: Hub, attempt: Attempt, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, is_proxied: bool
) -> None:
    certificate, context = make_certificate(tmp_path, "localhost")
    relay = Relay(port(hub), context=context)
    proxy = Proxy({"localhost": relay.port})
    if is_proxied:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
    url = f"https://localhost:{relay.port}"
    with pytest.raises(OriginError, match="certificate is not good: self") as caught:
        attempt(f"{url}/w.bin")
    assert "REQUESTS_CA_BUNDLE" in caught.value.mend
    assert "SSL_CERT_FILE" in caught.value.mend
    assert hub.requests == []
    assert attempt.waits == [], "a certificate does not get better"
    monkeypatch.setenv(variable, str(certificate))
    attempt.steps.clear()
    attempt.assert_whole(attempt(f"{url}/w.bin", **KNOWN), BODY)
    with pytest.raises(OriginError, match="from https to"):
        attempt(f"{url}/down")
    assert [line for line in proxy.asked if not line.startswith("CONNECT")] == []
    assert bool(proxy.asked) == is_proxied
    proxy.close()
    relay.close()


def test_a_certificate_for_another_host_is_refused(
    hub: Hub, attempt: Attempt, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate, context = make_certificate(tmp_path, "elsewhere.example")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    relay = Relay(port(hub), context=context)
    with pytest.raises(OriginError, match="certificate is not good"):
        attempt(f"https://localhost:{relay.port}/w.bin")
    relay.close()


@pytest.mark.parametrize("is_there", [False, True])
@pytest.mark.parametrize("is_proxied", [False, True])
def test_a_bundle_that_is_none_is_named(
    attempt: Attempt, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_there: bool, is_proxied: bool
) -> None:
    if is_there:
        (tmp_path / "bundle.pem").write_text("no certificate")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "bundle.pem"))
    proxy = Proxy({"localhost": 9})
    if is_proxied:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
    with pytest.raises(OriginError, match=r"bundle\.pem"):
        attempt("https://localhost:9/w.bin")
    assert attempt.waits == []
    proxy.close()


# --- proxies ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("variable", ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"])
def test_a_proxy_of_the_environment_is_used_for_http(
    hub: Hub, proxy: Proxy, attempt: Attempt, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, proxy.url)
    hub.faults.add(Fault(truncate_after=1_000_000))
    attempt.assert_whole(attempt("http://far.example/w.bin", **KNOWN), BODY)
    assert set(proxy.asked) == {"GET http://far.example/w.bin"}
    assert len(proxy.asked) == 2, "and gone on with through it too"


@pytest.mark.parametrize("exempt", ["far.example", "*", ".example", "example, 127.0.0.1"])
def test_hosts_of_no_proxy_are_asked_directly(
    hub: Hub, proxy: Proxy, attempt: Attempt, monkeypatch: pytest.MonkeyPatch, exempt: str
) -> None:
    monkeypatch.setenv("HTTP_PROXY", proxy.url)
    monkeypatch.setenv("NO_PROXY", exempt)
    with pytest.raises(OriginError):  # there is no such host
        attempt("http://far.example/w.bin", limits=limits(attempts=1))
    assert proxy.asked == []
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    attempt.assert_whole(attempt(f"{hub.endpoint}/w.bin", **KNOWN), BODY)
    assert proxy.asked == []


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_dead_proxy_is_named_and_not_the_server_behind_it(
    attempt: Attempt, monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    monkeypatch.setenv(f"{scheme.upper()}_PROXY", DEAD.replace("//", f"//me:{CANARY}@"))
    with pytest.raises(OriginError, match=rf"the proxy {DEAD}: .*refused") as caught:
        attempt(f"{scheme}://far.example/w.bin")
    assert "HTTP_PROXY" in caught.value.mend
    assert CANARY not in f"{caught.value} {attempt.said}"
    assert len(attempt.waits) == QUICK.attempts - 1, "it may come back"


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_wants_a_login_is_a_matter_of_access_and_gets_the_one_of_its_url(
    hub: Hub, attempt: Attempt, monkeypatch: pytest.MonkeyPatch, scheme: str, tmp_path: Path
) -> None:
    certificate, context = make_certificate(tmp_path, "far.example")
    relay = Relay(port(hub), context=context)
    proxy = Proxy({"far.example": port(hub) if scheme == "http" else relay.port}, login=f"me:{CANARY}")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    monkeypatch.setenv(f"{scheme.upper()}_PROXY", proxy.url)
    with pytest.raises(AccessError, match=r"proxy .* asks for a login") as caught:
        attempt(f"{scheme}://far.example/w.bin")
    assert "user:password@host" in caught.value.mend
    assert attempt.waits == []
    monkeypatch.setenv(f"{scheme.upper()}_PROXY", proxy.url.replace("//", f"//me:{CANARY}@"))
    attempt.steps.clear()
    attempt.assert_whole(attempt(f"{scheme}://far.example/w.bin", **KNOWN), BODY)
    assert all("proxy-authorization" not in record.headers for record in hub.requests), "it is the proxy's alone"
    proxy.close()
    relay.close()


@pytest.mark.parametrize(("status", "kind", "again"), [(403, AccessError, 0), (502, OriginError, 2)])
def test_a_proxy_that_refuses_a_tunnel_is_named(
    attempt: Attempt, monkeypatch: pytest.MonkeyPatch, status: int, kind: type[OriginError], again: int
) -> None:
    proxy = Proxy(status=status)
    monkeypatch.setenv("HTTPS_PROXY", proxy.url)
    with pytest.raises(kind, match=rf"the proxy {proxy.url}.*HTTP {status}"):
        attempt("https://far.example/w.bin")
    assert len(attempt.waits) == again
    proxy.close()


@pytest.mark.parametrize("setting", ["http://", "http://[::1", "nonsense://h:1", "http://h:port"])
def test_a_proxy_setting_that_is_none_is_an_error_with_words(
    attempt: Attempt, monkeypatch: pytest.MonkeyPatch, setting: str
) -> None:
    monkeypatch.setenv("HTTP_PROXY", setting)
    with pytest.raises(OriginError):
        attempt("http://far.example/w.bin", limits=limits(attempts=1))


@pytest.mark.hub
@pytest.mark.parametrize("transport", ["direct", "snapshot"])
def test_a_dead_proxy_before_the_hub_is_named(tmp_path: Path, transport: str) -> None:
    hub = Hub()
    hub.create("org/name").commit({"config.json": b"{}", "model.safetensors": BODY})
    with served(hub, tmp_path / "project") as project:
        project.write(hub_manifest(extra=[f"transport: {transport}"]))
        project.run("lock")
        done = project.run("pull", code=5, env={"HTTP_PROXY": DEAD, "NO_PROXY": ""})
    assert f"the proxy {DEAD}" in done.err
    assert "NO_PROXY" in done.err


# --- redirects --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "target",
    [
        "file:///etc/passwd",
        "FILE:/etc/passwd",
        "ftp://127.0.0.1/w.bin",
        "javascript:alert(1)",
        "data:text/plain,hello",
        "http+unix://%2Frun%2Fdocker.sock/images/json",
        "unix:/run/docker.sock",
        "gdrive:1AbC",
    ],
)
def test_a_redirect_leads_to_no_other_scheme(hub: Hub, attempt: Attempt, target: str) -> None:
    hub.redirect("/a", target)
    with pytest.raises(OriginError, match="no web address"):
        attempt(f"{hub.endpoint}/a")
    assert attempt.waits == []
    assert not attempt.partial.exists() or attempt.partial.stat().st_size == 0


@pytest.mark.parametrize(
    "host",
    ["169.254.169.254", "2852039166", "0xa9fea9fe", "169.254.43518", "[fe80::1]", "[::ffff:169.254.169.254]"],
)
def test_a_redirect_to_where_a_cloud_keeps_its_secrets_is_refused(hub: Hub, attempt: Attempt, host: str) -> None:
    hub.redirect("/a", f"http://{host}/latest/meta-data/iam")
    with pytest.raises(OriginError, match="link-local"):
        attempt(f"{hub.endpoint}/a")


@pytest.mark.parametrize("host", ["127.0.0.1", "10.1.2.3", "h.example", "[::1]", "169.253.0.1", "1.2.3"])
def test_a_redirect_to_any_other_host_is_followed(host: str) -> None:
    assert redirect_target("http://h.example/a", f"http://{host}/b") == f"http://{host}/b"


def test_a_portal_that_asks_for_a_login_is_named(hub: Hub, attempt: Attempt) -> None:
    portal = Hub()
    portal.publish("/login", b"<html>Welcome to the hotel</html>", headers={"Content-Type": "text/html"})
    with portal.serve() as address:
        hub.redirect("/a.zip", f"{address}/login?back=secret")
        with pytest.raises(OriginError, match=rf"{hub.endpoint}/a.zip: gave an HTML page.*{address}/login") as caught:
            attempt(f"{hub.endpoint}/a.zip")
    assert "secret" not in str(caught.value)


def test_http_may_be_left_for_https(
    hub: Hub, attempt: Attempt, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate, context = make_certificate(tmp_path, "localhost")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    relay = Relay(port(hub), context=context)
    hub.redirect("/up", f"https://localhost:{relay.port}/w.bin")
    attempt.assert_whole(attempt(f"{hub.endpoint}/up", **KNOWN), BODY)
    relay.close()


@pytest.mark.parametrize("count", [QUICK.redirects, QUICK.redirects + 1])
def test_redirects_are_followed_up_to_a_bound(hub: Hub, attempt: Attempt, count: int) -> None:
    for number in range(count):
        hub.redirect(f"/r{number}", f"/r{number + 1}" if number + 1 < count else "/w.bin")
    if count == QUICK.redirects:
        attempt.assert_whole(attempt(f"{hub.endpoint}/r0", **KNOWN), BODY)
    else:
        with pytest.raises(OriginError, match="redirects"):
            attempt(f"{hub.endpoint}/r0")


# --- statuses ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 410, 418, 451, 501])
def test_an_answer_that_stands_is_not_asked_for_again(hub: Hub, attempt: Attempt, status: int) -> None:
    hub.faults.add(Fault(status=status, times=None))
    with pytest.raises(AccessError if status in (401, 403) else OriginError, match=f"HTTP {status}"):
        attempt(f"{hub.endpoint}/w.bin")
    assert len(hub.requests) == 1


@pytest.mark.parametrize("form", [lambda ahead: str(ahead), lambda ahead: _date(ahead)], ids=["seconds", "date"])
def test_retry_after_is_honoured(hub: Hub, attempt: Attempt, form: Callable[[int], str]) -> None:
    hub.faults.add(Fault(status=429, retry_after=form(60)))
    attempt.assert_whole(attempt(f"{hub.endpoint}/w.bin", **KNOWN), BODY)
    assert 55 <= attempt.waits[0] <= 60


def _date(ahead: int) -> str:
    return email.utils.formatdate(time.time() + ahead, usegmt=True)


# --- pages ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "page",
    [
        b"<!DOCTYPE html><html><head><title>Google Drive - Virus scan warning</title>",
        b"<!doctype html>\n<html lang=en><title>MediaFire</title>",
        b"\n\n<HTML><BODY>Sign in to the hotel's network</BODY></HTML>",
        b"\xef\xbb\xbf<!DOCTYPE html>\n<html>",
        b'<?xml version="1.0"?>\n<!DOCTYPE html>\n<html xmlns="http://www.w3.org/1999/xhtml">',
    ],
    ids=["drive", "mediafire", "portal", "marked", "xhtml"],
)
@pytest.mark.parametrize("kind", ["text/html", "application/zip"])
@pytest.mark.parametrize("known", [{}, KNOWN])
def test_a_page_instead_of_an_archive_is_named_as_that(
    hub: Hub, attempt: Attempt, page: bytes, kind: str, known: dict[str, Any]
) -> None:
    hub.publish("/a.zip", page.ljust(3000), headers={"Content-Type": kind})
    with pytest.raises(OriginError, match="gave an HTML page") as caught:
        attempt(f"{hub.endpoint}/a.zip", **known)
    assert re.search("browser", caught.value.mend)


@pytest.mark.parametrize("kind", ["Content-Length: 60000", "Transfer-Encoding: chunked"])
@pytest.mark.parametrize("status", ["302 Found", "404 Not Found"])
def test_words_that_nobody_reads_hold_nobody(hub: Hub, attempt: Attempt, status: str, kind: str) -> None:
    """A redirect's or an error's body drips without an end."""
    drop = b"1\r\n \r\n" if "chunked" in kind else b" "
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with contextlib.suppress(OSError), server.accept()[0] as connection:
                connection.recv(65536)
                head = f"HTTP/1.1 {status}\r\nLocation: {hub.endpoint}/w.bin\r\n{kind}\r\n\r\n"
                connection.sendall(head.encode())
                while True:
                    connection.sendall(drop)
                    time.sleep(0.1)

        threading.Thread(target=serve, daemon=True).start()
        began = time.monotonic()
        url = f"http://127.0.0.1:{server.getsockname()[1]}/x"
        if status.startswith("302"):
            attempt.assert_whole(attempt(url, **KNOWN), BODY)
        else:
            with pytest.raises(OriginError, match="HTTP 404"):
                attempt(url, **KNOWN)
    assert time.monotonic() - began < QUICK.read_timeout


def test_a_login_that_no_header_can_carry_is_not_told_as_a_fault_of_the_url(hub: Hub) -> None:
    with contextlib.closing(Wire(QUICK)) as wire:
        with pytest.raises(OriginError, match="login"):
            wire.ask(Source(f"{hub.endpoint}/w.bin", token="hf_\u2026"))
        with pytest.raises(OriginError, match="no name of a host"):
            wire.ask(Source(f"http://{'x' * 64}.example/w.bin"))
