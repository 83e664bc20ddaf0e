"""The certificate: what is wrong with it is told, and a renewed one takes its place."""

import asyncio
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Self

import pytest

from proxy.errors import ConfigError
from proxy.tls import Certificate
from tests.certificates import Authority, Pair, with_pass_phrase
from tests.fakes import a_moment, eventually


def halve(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:200])


def fold(path: Path) -> None:
    path.unlink()
    path.mkdir()


WRONG: dict[str, tuple[Callable[[Pair, Pair], object], str, str]] = {
    "no certificate": (lambda pair, _: pair.cert.unlink(), "tls_cert", "No such file"),
    "a folder": (lambda pair, _: fold(pair.cert), "tls_cert", "Is a directory"),
    "half a certificate": (lambda pair, _: halve(pair.cert), "tls_cert", "no certificates"),
    "an empty certificate": (lambda pair, _: pair.cert.write_text(""), "tls_cert", "no certific"),
    "no text": (lambda pair, _: pair.cert.write_bytes(bytes(range(256))), "tls_cert", "no certif"),
    "the key as certificate": (lambda pair, _: pair.key.replace(pair.cert), "tls_cert", "no certi"),
    "no key": (lambda pair, _: pair.key.unlink(), "tls_key", "No such file"),
    "half a key": (lambda pair, _: halve(pair.key), "tls_key", "no private key"),
    "junk as key": (lambda pair, _: pair.key.write_text("junk"), "tls_key", "no private key"),
    "another's key": (lambda pair, other: other.key.replace(pair.key), "tls_key", "not belong"),
    "a pass phrase": (
        lambda pair, _: pair.key.write_bytes(with_pass_phrase(pair.key)),
        "tls_key",
        "pass phrase",
    ),
}


@pytest.mark.parametrize(("spoil", "key", "words"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_told_with_its_key_and_file(
    authority: Authority, spoil: Callable[[Pair, Pair], object], key: str, words: str
) -> None:
    """One line, whichever of the two files it is."""
    pair = authority.issue("one")
    spoil(pair, authority.issue("two"))
    with pytest.raises(ConfigError) as caught:
        Certificate(pair.cert, pair.key)

    message = str(caught.value)
    assert message.startswith(f"server.{key}: {pair.cert if key == 'tls_cert' else pair.key}")
    assert words in message
    assert "\n" not in message


def test_the_key_may_be_in_the_same_file(authority: Authority) -> None:
    """And is missed there by the name of the setting that could name another."""
    pair = authority.issue("one")
    with pytest.raises(ConfigError, match=r"server\.tls_cert: .* name its file in server\.tls_key"):
        Certificate(pair.cert, None)
    pair.cert.write_bytes(pair.cert.read_bytes() + pair.key.read_bytes())

    assert Certificate(pair.cert, None).context.minimum_version == ssl.TLSVersion.TLSv1_2


class Listening:
    """A server that listens with the certificate; who it says it is, to each who asks."""

    def __init__(self, authority: Authority, certificate: Certificate) -> None:
        self._authority = authority
        self._certificate = certificate

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(
            lambda _, writer: writer.close(),
            "127.0.0.1",
            0,
            ssl=self._certificate.context,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        await self._server.wait_closed()

    async def serial(self, version: ssl.TLSVersion, name: str | None) -> str:
        context = self._authority.client()
        context.maximum_version = version
        context.check_hostname = name is not None
        port = self._server.sockets[0].getsockname()[1]
        _, writer = await asyncio.open_connection(
            "127.0.0.1", port, ssl=context, server_hostname=name or ""
        )
        shown = str(writer.get_extra_info("peercert")["serialNumber"])
        writer.close()
        await writer.wait_closed()
        return shown


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("name", ["localhost", None], ids=["named", "not named"])
async def test_a_renewed_certificate_is_shown_to_who_comes_next(
    authority: Authority,
    monkeypatch: pytest.MonkeyPatch,
    version: ssl.TLSVersion,
    name: str | None,
) -> None:
    """Without a word; the old one stays for as long as the new one is not whole."""
    pair, new = authority.issue("one"), authority.issue("two")
    certificate = Certificate(pair.cert, pair.key)
    monkeypatch.setattr("proxy.tls.LOOK_SECONDS", 0.01)
    async with Listening(authority, certificate) as server:
        looking = asyncio.create_task(certificate.keep_up())
        first = await server.serial(version, name)
        new.cert.replace(pair.cert)
        await a_moment()
        assert await server.serial(version, name) == first
        new.key.replace(pair.key)

        async def is_renewed() -> bool:
            return await server.serial(version, name) != first

        await eventually(is_renewed)
        second = await server.serial(version, name)
        pair.cert.unlink()
        await a_moment()
        assert await server.serial(version, name) == second
        looking.cancel()


def test_what_is_wrong_with_a_new_certificate_is_told_once(
    authority: Authority, capsys: pytest.CaptureFixture[str]
) -> None:
    """However often the same files are looked at."""
    pair = authority.issue("one")
    certificate = Certificate(pair.cert, pair.key)
    certificate.look()
    assert capsys.readouterr().out == ""
    pair.key.write_text("junk")
    for _ in range(3):
        certificate.look()

    assert capsys.readouterr().out.count("the old one stays") == 1
