"""What the dashboard tells of a project: its versions and files, what is here, what is hidden.

Pure: the page, what lies on the disk and the right to purge come in.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from packaging.version import Version

from proxy.merged import Page
from proxy.policy import Hidden
from proxy.reports import ProjectFile, ProjectReport
from proxy.simple.model import File
from proxy.simple.versions import version_for
from proxy.storage.blobs import BlobKey

_MOST_AT_A_GLANCE = 1_000
"""Files, but for the last version's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """The files of one version; of none where their names tell none."""

    version: str | None
    files: Sequence[ProjectFile]

    @property
    def files_here(self) -> int:
        """How many of its files are on this machine's disk."""
        return sum(file.is_here for file in self.files)


def report_of(page: Page, kept: Mapping[BlobKey, int], *, may_purge: bool) -> ProjectReport:
    """The report of a project. `kept`: its files on the disk, with their sizes."""
    names = {key.filename for key in kept}
    files, versions = [], {}
    for index, file, hidden, version in newest_first(page):
        versions[file.filename] = version
        key = BlobKey.of(page.name, file)
        is_here = file.filename in names if key is None else key in kept
        files.append(_told(file, version, index, hidden, is_here=is_here))
    status = page.parts[0].project.status.get("status")
    return ProjectReport(
        project=page.name,
        index=page.index,
        fetched_at=page.stamp.fetched_at,
        latest_version=_latest(files, versions),
        status=status if isinstance(status, str) else None,
        files=files,
        here_bytes=sum(kept.values()),
        may_purge=may_purge,
    )


def newest_first(page: Page) -> list[tuple[str, File, Hidden | None, Version | None]]:
    """Each file with its index, what hides it, and its version: newest first, then by name."""
    judged = sorted(page.judged(), key=lambda entry: entry[1].filename)
    found = [(*entry, version_for(page.name, entry[1].filename)) for entry in judged]
    # Twice: the order by name stays among files of one version.
    return sorted(found, key=lambda entry: _rank(entry[3]), reverse=True)


def releases_of(report: ProjectReport) -> list[Release]:
    """Its files by version, newest first."""
    grouped = groupby(report.files, key=lambda file: file.version)
    return [Release(version=version, files=list(files)) for version, files in grouped]


def at_a_glance(releases: Sequence[Release]) -> list[Release]:
    """The newest of them, and whatever is here: a browser is slow with ten thousand files."""
    shown: list[Release] = []
    files = 0
    for release in releases:
        if files < _MOST_AT_A_GLANCE or release.files_here:
            shown.append(release)
            files += len(release.files)
    return shown


def _rank(version: Version | None) -> tuple[bool, Version]:
    return version is not None, version or Version("0")


def _told(
    file: File, version: Version | None, index: str, hidden: Hidden | None, *, is_here: bool
) -> ProjectFile:
    return ProjectFile(
        filename=file.filename,
        version=str(version) if version is not None else None,
        index=index,
        size=file.size_bytes,
        uploaded_at=file.upload_time,
        is_here=is_here,
        yanked=file.yanked is not None,
        rule=str(hidden.reason) if hidden else None,
        reason=hidden.explanation if hidden else None,
        until=hidden.until if hidden else None,
    )


def _latest(files: Sequence[ProjectFile], versions: Mapping[str, Version | None]) -> str | None:
    """What an installer would take: no pre-release, unless there is nothing else."""
    shown = [versions[file.filename] for file in files if not (file.rule or file.yanked)]
    found = [version for version in shown if version is not None]
    stable = [version for version in found if not version.is_prerelease]
    latest = max(stable or found, default=None)
    return str(latest) if latest is not None else None
