"""Certificates of an authority that nobody trusts who was not told to."""

import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)


@dataclass(frozen=True)
class Pair:
    """A certificate with its chain, and its key."""

    cert: Path
    key: Path

    @property
    def environment(self) -> dict[str, str]:
        """The settings that name them."""
        return {
            "WHEELKEEP_SERVER__TLS_CERT": str(self.cert),
            "WHEELKEEP_SERVER__TLS_KEY": str(self.key),
        }

    def server(self) -> ssl.SSLContext:
        """For a server that shows this certificate."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(self.cert, self.key)
        return context

    def replace(self, other: "Pair") -> None:
        """As whoever renews certificates does it: each file at once, one after the other."""
        other.cert.replace(self.cert)
        other.key.replace(self.key)


class Authority:
    """Issues certificates, into files in `folder`."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._folder = folder
        self._ca = trustme.CA()
        self.ca_file = folder / "ca.pem"
        self._ca.cert_pem.write_to_path(self.ca_file)

    def issue(self, name: str, *hosts: str, days: float | None = None) -> Pair:
        """Files named for `name`, a certificate for those hosts (none: loopback ones).

        `days`: for how long; below 0, it has expired.
        """
        dates = {}
        if days is not None:
            dates["not_after"] = datetime.now(UTC) + timedelta(days=days)
            dates["not_before"] = dates["not_after"] - timedelta(days=90)
        issued = self._ca.issue_cert(*(hosts or ("localhost", "127.0.0.1")), **dates)
        pair = Pair(self._folder / f"{name}.pem", self._folder / f"{name}.key")
        pair.cert.write_bytes(b"".join(one.bytes() for one in issued.cert_chain_pems))
        issued.private_key_pem.write_to_path(pair.key)
        return pair

    def client(self) -> ssl.SSLContext:
        """For a client that trusts this authority, and no other."""
        return ssl.create_default_context(cafile=self.ca_file)


def with_pass_phrase(key: Path) -> bytes:
    """The same key, encrypted."""
    loaded = load_pem_private_key(key.read_bytes(), None)
    how = BestAvailableEncryption(b"secret")
    return loaded.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, how)
