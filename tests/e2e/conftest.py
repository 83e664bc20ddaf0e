"""Fixtures: an index that installers find something in."""

import hashlib

import pytest

from tests.certificates import Authority
from tests.e2e.installers import CLIENT_ENVIRONMENT
from tests.fakes import HTML, JSON, FakeUpstream
from tests.wheels import metadata, wheel


@pytest.fixture(params=[JSON, HTML], ids=["json", "html"])
def stocked(request: pytest.FixtureRequest, upstream: FakeUpstream) -> FakeUpstream:
    """An index with `alpha`, which needs `beta`, in two versions each."""
    upstream.speaks = request.param
    for version in ("1.0", "2.0"):
        for project, requires in (("alpha", ["beta>=1"]), ("beta", [])):
            filename = f"{project}-{version}-py3-none-any.whl"
            claim = hashlib.sha256(metadata(project, version, requires)).hexdigest()
            keys = {
                "core-metadata": {"sha256": claim},
                "upload-time": f"202{version[0]}-01-01T00:00:00Z",
            }
            upstream.add(project, filename, wheel(project, version, requires), **keys)
            path = upstream.path_of(filename)
            upstream.files[f"{path}.metadata"] = metadata(project, version, requires)
    return upstream


@pytest.fixture
def trusting(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    """Installers trust the authority, and no other."""
    for name in ("PIP_CERT", "SSL_CERT_FILE"):
        monkeypatch.setitem(CLIENT_ENVIRONMENT, name, str(authority.ca_file))
