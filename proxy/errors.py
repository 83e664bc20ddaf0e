"""Every failure that a caller can meet, with its fields and its HTTP status.

Three of them say "no" and must never be confused, because the next index may be
asked after the first and after no other:

* `ProjectNotFound`: this index does not know the project.
* `FileNotListed`: the project is known, this file is not one of its files (or `HiddenByPolicy`:
  it is one, and clients are not to have it).
* `UpstreamError`: nobody could tell.

`web/access.py` is the one place that turns these into answers; `transport.py`, `peers.py` and
each storage back end are the only places that turn a library's errors into these.
"""

import re
from collections.abc import Sequence
from datetime import datetime
from typing import ClassVar

_USER = re.compile(r"(?<=//)[^/\s@'\"]*@")
_QUERY = re.compile(r"(https?://[^\s'\"?]*)\?[^\s'\")]*")


def without_secrets(text: str) -> str:
    """The text, its URLs without credentials and without queries (which sign links).

    What went wrong is told to clients and to the log, and neither may learn these.
    """
    return _QUERY.sub(r"\1", _USER.sub("", text))


def forget_frames(problem: BaseException) -> None:
    """Let go of the frames that it has passed, and of all that these hold; its causes' too.

    What keeps a failure (a task, a retry) often is in a variable of one of these frames. Such a
    ring, with a page of megabytes in it, stays until the collector comes by, who counts objects and
    not their sizes.
    """
    left, seen = [problem], set()
    while left:
        one = left.pop()
        seen.add(id(one))
        one.__traceback__ = None
        reasons = (one.__cause__, one.__context__)
        left += [reason for reason in reasons if reason is not None and id(reason) not in seen]


class ProxyError(Exception):
    """Something went wrong that a client is told about in one sentence."""

    status: ClassVar[int] = 500


class ProjectNotFound(ProxyError):
    """No index that may answer for the project knows it."""

    status = 404

    def __init__(self, project: str, reserved_for: Sequence[str] = ()) -> None:
        reserved = f"; the name is reserved for {', '.join(reserved_for)}" if reserved_for else ""
        super().__init__(f"No index has a project named {project}{reserved}.")
        self.project = project


class IndexNotConfigured(ProxyError):
    """The URL names an index that the configuration does not have."""

    status = 404

    def __init__(self, index: str) -> None:
        super().__init__(f"No index named {index} is configured here.")
        self.index = index


class NoProjectList(ProxyError):
    """None of the indexes has a list of its projects."""

    status = 404

    def __init__(self) -> None:
        super().__init__("No index that was asked has a list of its projects.")


class FileNotListed(ProxyError):
    """The project is known, and this file is not among its files."""

    status = 404

    def __init__(self, project: str, filename: str, sha256: str | None = None) -> None:
        which = f" with the sha256 {sha256}" if sha256 else ""
        super().__init__(f"The project {project} has no such file as {filename}{which}.")
        self.project = project
        self.filename = filename
        self.sha256 = sha256


class HiddenByPolicy(ProxyError):
    """The file is there, and a rule says that clients do not get it.

    `explanation` names the rule; `until` is when it will be free by itself, where it will.
    """

    status = 403

    def __init__(self, what: str, explanation: str, until: datetime | None = None) -> None:
        super().__init__(f"{what} is not served: {explanation}.")
        self.explanation = explanation
        self.until = until


class DocumentNotFound(ProxyError):
    """The index that has the project has no such document of it."""

    status = 404

    def __init__(self, name: str) -> None:
        super().__init__(f"The index has no such document as {name}.")
        self.name = name


class BadRequest(ProxyError):
    """The request cannot be understood."""

    status = 400


class LoopDetected(ProxyError):
    """An index leads back to this very cache, which would wait for itself (RFC 8586)."""

    status = 508

    def __init__(self) -> None:
        super().__init__("This request came from here: an index, or a link of it, leads back.")


class NotAcceptable(ProxyError):
    """No representation suits the client (RFC 9110 §15.5.7)."""

    status = 406

    def __init__(self, wanted: str, offers: tuple[str, ...]) -> None:
        super().__init__(f"Cannot answer as {wanted}. There is: {', '.join(offers)}.")
        self.wanted = wanted
        self.offers = offers


class Unauthorized(ProxyError):
    """The client has to show a token that is known here (RFC 9110 §15.5.2)."""

    status = 401

    def __init__(self, *, was_given: bool) -> None:
        problem = "That token is not known here" if was_given else "This server asks for a token"
        super().__init__(
            f"{problem}: send one as the password of basic authentication, or as a bearer token."
        )


class Forbidden(ProxyError):
    """The client may not do this."""

    status = 403


class UpstreamError(ProxyError):
    """An index could not be asked or gave no usable answer; a stale page may stand in.

    `answered` is the status of its answer, where that was what was wrong.
    """

    status = 502
    answered: int | None = None

    def __init__(self, index: str, url: str, problem: str) -> None:
        self.index = index
        self.url = without_secrets(url)
        self.problem = without_secrets(problem)
        super().__init__(f"The index {index} failed: {self.problem} ({self.url})")


class UpstreamUnavailable(UpstreamError):
    """A passing failure (refused connection, 5xx, 429): worth another try.

    `retry_after` is what upstream asked for, in seconds, where it did.
    """

    def __init__(
        self, index: str, url: str, problem: str, retry_after: float | None = None
    ) -> None:
        super().__init__(index, url, problem)
        self.retry_after = retry_after


class UpstreamTimeout(UpstreamUnavailable):
    """The index did not answer in time."""

    status = 504


class UpstreamMalformed(UpstreamError):
    """The index answered with something that is not a page of the Simple API."""


class LinkRefused(UpstreamError):
    """A link or a redirect of the index leads to a host that is not to be reached for it.

    Nothing was connected to, and whether anything is there is not known. `url` is the host alone.
    """

    def __init__(self, index: str, host: str, reason: str) -> None:
        super().__init__(index, host, f"it leads to a host that is not to be reached: {reason}")


class AnswerOfAnother(LinkRefused):
    """A redirect of the index leads to another one, which speaks for itself."""

    def __init__(self, index: str, other: str) -> None:
        super().__init__(index, other, "that is another index of the configuration")


class UpstreamFileMissing(UpstreamError):
    """The index lists the file, and its server answers that it is not there."""

    status = 404


class Offline(UpstreamError):
    """`cache.offline` is set and the cache does not hold what was asked for."""

    status = 504

    def __init__(self, index: str, url: str) -> None:
        super().__init__(index, url, "it is not asked while cache.offline is set")
        # Nothing has failed.
        self.args = (f"This is not kept here, and the index {index}: {self.problem} ({self.url})",)


class FillFailed(UpstreamError):
    """Another process fetched the file for all, and could not. `status` is that of its error."""

    def __init__(self, index: str, url: str, problem: str, status: int) -> None:
        super().__init__(index, url, problem)
        self.status = status  # type: ignore[misc] # of this one error, not of the class


class DigestMismatch(ProxyError):
    """Upstream sent other bytes than its page promised; nothing of them is kept."""

    status = 502

    def __init__(self, filename: str, algorithm: str, expected: str, actual: str, url: str) -> None:
        self.filename = filename
        self.algorithm = algorithm
        self.expected = expected
        self.actual = actual
        self.url = without_secrets(url)
        super().__init__(
            f"{filename} is not the file that the index names: "
            f"expected {algorithm} {expected}, received {actual} ({self.url})"
        )


class MetadataUnreadable(ProxyError):
    """The page claims core metadata that was yet to be made, and the wheel has none to read."""

    status = 502

    def __init__(self, filename: str, problem: str) -> None:
        super().__init__(f"The core metadata of {filename} cannot be read: {problem}")
        self.filename = filename
        self.problem = problem


class StoreUnavailable(ProxyError):
    """A store could not be reached. On reading a page this counts as a miss."""

    status = 503

    def __init__(self, store: str, problem: str) -> None:
        super().__init__(f"The {store} is unavailable: {problem}")
        self.store = store
        self.problem = problem


class DiskFailed(StoreUnavailable):
    """Our own disk could not take a file: nobody else is to blame, and nobody else can help.

    `is_full`: whether it has no room left, or we have no right to more of it.
    """

    def __init__(self, problem: str, *, is_full: bool = False) -> None:
        super().__init__("blob store", problem)
        self.is_full = is_full


class FileGone(StoreUnavailable):
    """Those who had a file no longer have it, or cannot be reached."""

    def __init__(self, filename: str) -> None:
        super().__init__("file", f"nobody who had {filename} has it any more")


class ConfigError(Exception):
    """The configuration is wrong. Only the command line meets it: one line, exit status 2."""


class PortTaken(ConfigError):
    """Somebody else listens on the port of the configuration."""


class CommandFailed(Exception):
    """What a command was asked for cannot be done now: one line, exit status 1."""


class NoServer(CommandFailed):
    """No wheelkeep answers there. Only commands that ask a running one meet it."""

    def __init__(self, url: str, problem: str) -> None:
        self.url = without_secrets(url)
        self.problem = without_secrets(problem)
        super().__init__(
            f"no wheelkeep answers at {self.url}: {self.problem}; "
            "start it with `wheelkeep serve`, or name it with --server"
        )


class ServerRefused(CommandFailed):
    """A running wheelkeep said no, or failed. `sentence` is its own."""

    def __init__(self, url: str, status: int, sentence: str) -> None:
        self.url = without_secrets(url)
        self.status = status
        self.sentence = without_secrets(sentence)
        super().__init__(f"the server at {self.url} answered {status}: {self.sentence}")
