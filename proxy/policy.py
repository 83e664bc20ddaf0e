"""Which index may answer for a name; which of its files a client may see, and why not others.

Pure: `now` is an argument. A verdict is about a page as it is kept: filtering follows caching,
so what the rules say may change without a page being fetched again. `rules.py` tells what a line
of the configuration means.

Read first: PEP 592 (yanked), PEP 700 (upload-time), PEP 792 (project status).
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import cached_property
from itertools import chain

from proxy.errors import HiddenByPolicy
from proxy.reports import HeldProject
from proxy.rules import NameSet, Rule, Rules
from proxy.settings import Index
from proxy.settings import Policy as Settings
from proxy.simple.model import File, Project, ProjectName
from proxy.simple.versions import kind_of, version_for

_EVERYTHING = "*"
_TAG_DIGITS = 12
_QUARANTINED = "quarantined"

FirstSeen = Callable[[File], datetime | None]
"""When wheelkeep first saw a file; None where it has not."""


# --- which index --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Territory:
    """The names that an index may answer for.

    `claimed` are the patterns that say more than `*`, by which it has names in any case. One
    that is `is_open` also has whatever no other index claims: a private name must never be
    answered by a public index, also where the private one does not have the project.
    """

    claimed: NameSet
    is_open: bool
    reserved: NameSet
    """What others claim."""

    def covers(self, name: str) -> bool:
        """Whether the index may answer for the normalised name."""
        return name in self.claimed or (self.is_open and name not in self.reserved)


def territories(indexes: Sequence[Index]) -> dict[str, Territory]:
    """The names that each index may answer for, by the index's name."""
    claims = {
        index.name: [one for one in index.projects if one != _EVERYTHING] for index in indexes
    }
    return {
        index.name: Territory(
            claimed=NameSet(claims[index.name]),
            is_open=_EVERYTHING in index.projects,
            reserved=NameSet(chain(*(claims[one] for one in claims if one != index.name))),
        )
        for index in indexes
    }


# --- which files --------------------------------------------------------------------------


class Reason(StrEnum):
    """What hides a file: the key of the setting, or the project's status."""

    QUARANTINED = "project-status"
    DENY = "policy.deny"
    ALLOW = "policy.allow"
    YANKED = "policy.hide_yanked"
    MIN_AGE = "policy.min_age"
    OFFLINE = "cache.offline"


def in_utc(moment: datetime) -> str:
    """A moment as people and programs read it."""
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"


@dataclass(frozen=True, slots=True)
class Hidden:
    """Why a file is neither shown nor served, and until when where that will change by itself."""

    reason: Reason
    explanation: str
    until: datetime | None = None

    def __str__(self) -> str:
        until = f", until {in_utc(self.until)}" if self.until else ""
        return f"{self.reason}: {self.explanation}{until}"

    def refusal(self, what: str) -> HiddenByPolicy:
        """What is said to whoever asks for `what` all the same."""
        return HiddenByPolicy(what, str(self), self.until)


NOT_HERE = Hidden(Reason.OFFLINE, "the file is not here, and no index is asked for it")
"""Why pages do not show what cannot be had. No rule: whoever asks for it is told as much."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which files of a page are hidden, by their position, as of a moment. Make one with `of`."""

    hidden: Mapping[int, Hidden]
    made_at: datetime
    until: datetime | None
    """When the next file is shown; None: not by itself."""
    tag: str
    """Stands for what is hidden of a page, in its ETag; empty where nothing is."""

    @classmethod
    def of(cls, hidden: Mapping[int, Hidden], made_at: datetime) -> "Selection":
        """The selection that hides these."""
        moments = (one.until for one in hidden.values() if one.until is not None)
        positions = ",".join(str(at) for at in sorted(hidden))
        tag = hashlib.sha256(positions.encode()).hexdigest()[:_TAG_DIGITS] if hidden else ""
        return cls(hidden=hidden, made_at=made_at, until=min(moments, default=None), tag=tag)

    def held(self, project: ProjectName) -> HeldProject | None:
        """What is told of it to those who run this; None: nothing is hidden."""
        if not self.hidden:
            return None
        return HeldProject(
            project=project,
            files=len(self.hidden),
            rules=Counter(str(one.reason) for one in self.hidden.values()),
            until=self.until,
        )

    def holds(self, now: datetime) -> bool:
        """Whether nothing has come of age since, and the clock was not set back."""
        return self.made_at <= now and (self.until is None or now < self.until)


@dataclass(frozen=True, slots=True)
class ShownNames:
    """Which names of an index's project list are shown: what it may answer for and may come in."""

    territory: Territory
    allowed: NameSet
    denied: NameSet
    are_all: bool
    """Whether no name is left out."""

    def shows(self, name: str) -> bool:
        """Whether the list shows the normalised name."""
        return name in self.allowed and name not in self.denied and self.territory.covers(name)


class Policy:
    """The rules of the configuration, ready to be applied."""

    def __init__(self, settings: Settings, indexes: Sequence[Index]) -> None:
        self._allow = Rules(settings.allow)
        self._deny = Rules(settings.deny)
        self._exempt = Rules(settings.min_age_exempt)
        self._hides_yanked = settings.hide_yanked
        self._min_age = {index.name: _min_age_of(index, settings) for index in indexes}
        self.territories = territories(indexes)

    def __repr__(self) -> str:
        return f"<Policy over {', '.join(self.territories)}>"

    @property
    def has_min_age(self) -> bool:
        """Whether a release age is asked for at any index."""
        return any(age > timedelta(0) for age in self._min_age.values())

    def reserved_for(self, project: ProjectName) -> list[str]:
        """The indexes that have the project's name by a pattern that says more than `*`."""
        return [
            index for index, territory in self.territories.items() if project in territory.claimed
        ]

    def shown_names(self, index: str) -> ShownNames:
        """Which names of that index's project list are shown."""
        territory = self.territories[index]
        allowed = [rule.pattern for rule in self._allow]
        denied = NameSet(rule.pattern for rule in self._deny if rule.is_whole)
        is_open = territory.is_open and not territory.reserved
        return ShownNames(
            territory,
            NameSet(allowed),
            denied,
            are_all=is_open and not denied and _EVERYTHING in allowed,
        )

    def refuses(self, project: ProjectName) -> Hidden | None:
        """Why nothing of the project may come in, whatever its files are."""
        denial = next((rule for rule in self._deny.naming(project) if rule.is_whole), None)
        if denial is not None:
            return _denied(denial)
        return None if self._allow.naming(project) else _NOT_ALLOWED

    def needs_first_seen(self, project: ProjectName, index: str, page: Project) -> bool:
        """Whether it matters when files of the page were first seen."""
        counts = self._judge(project, index).min_age_counts
        return counts and any(file.upload_time is None for file in page.files)

    def select(
        self,
        project: ProjectName,
        index: str,
        page: Project,
        now: datetime,
        first_seen: FirstSeen = lambda _: None,
    ) -> Selection:
        """Which files of the page are hidden at `now`.

        A file without an upload time is as old as it is known here; one that was never seen
        is seen now.
        """
        if (whole := self._refuses_all(project, page)) is not None:
            return Selection.of(dict.fromkeys(range(len(page.files)), whole), now)
        judge = self._judge(project, index)
        if judge.lets_all_pass:
            return Selection.of({}, now)
        verdicts = (
            (at, judge.verdict(file, now, file.upload_time or first_seen(file) or now))
            for at, file in enumerate(page.files)
        )
        return Selection.of({at: hidden for at, hidden in verdicts if hidden is not None}, now)

    def shows_all_of(self, project: ProjectName, index: str, page: Project) -> bool:
        """Whether there is no rule that could hide a file of the page, now or later."""
        is_whole = self._refuses_all(project, page) is None
        return is_whole and self._judge(project, index).lets_all_pass

    def _refuses_all(self, project: ProjectName, page: Project) -> Hidden | None:
        return quarantine(page) or self.refuses(project)

    def _judge(self, project: ProjectName, index: str) -> "_Judge":
        return _Judge(
            project=project,
            deny=self._deny.naming(project),
            allow=self._allow.naming(project),
            exempt=self._exempt.naming(project),
            hides_yanked=self._hides_yanked,
            min_age=self._min_age[index],
        )

    def select_kept(
        self,
        project: ProjectName,
        indexes: Sequence[str],
        filename: str,
        kept_since: datetime,
        now: datetime,
    ) -> Hidden | None:
        """Why a file is hidden that is kept here and on no page.

        Nobody can tell which of `indexes` it came from, nor how old it is: it counts as old as it
        is here, by the strictest of them.
        """
        strictest = max(indexes, key=lambda index: self._min_age[index])
        page = Project(document={}, files=(File({"filename": filename, "url": ""}),))
        selection = self.select(project, strictest, page, now, lambda _: kept_since)
        return selection.hidden.get(0)


@dataclass(frozen=True, kw_only=True)
class _Judge:
    """The rules that speak of one project at one index."""

    project: ProjectName
    deny: tuple[Rule, ...]
    allow: tuple[Rule, ...]
    exempt: tuple[Rule, ...]
    hides_yanked: bool
    min_age: timedelta

    @property
    def lets_all_pass(self) -> bool:
        """Whether no file needs to be looked at."""
        return not (self.deny or self.hides_yanked or self.min_age_counts) and self._allows_all

    @cached_property
    def _allows_all(self) -> bool:
        return any(rule.is_whole for rule in self.allow)

    @cached_property
    def min_age_counts(self) -> bool:
        """Whether it matters how old the files are."""
        return self.min_age > timedelta(0) and not any(rule.is_whole for rule in self.exempt)

    def verdict(self, file: File, now: datetime, born_at: datetime) -> Hidden | None:
        """Why the file is hidden at `now`: what will not change by itself comes first."""
        version = version_for(self.project, file.filename) if self._names_versions else None
        kind = kind_of(file.filename)
        for rule in self.deny:
            if rule.covers(version, kind, in_doubt=True):
                return _denied(rule)
        if not any(rule.covers(version, kind, in_doubt=False) for rule in self.allow):
            return _NOT_ALLOWED
        if self.hides_yanked and file.yanked is not None:
            why = f" ({file.yanked.reason})" if file.yanked.reason else ""
            return Hidden(Reason.YANKED, f"the file is yanked{why}")
        if not self.min_age_counts:
            return None
        until = _whole_second(born_at, self.min_age)
        if now >= until or any(rule.covers(version, kind, in_doubt=False) for rule in self.exempt):
            return None
        return Hidden(Reason.MIN_AGE, f"the file is younger than {_plain(self.min_age)}", until)

    @cached_property
    def _names_versions(self) -> bool:
        return any(rule.specifier for rule in (*self.deny, *self.allow, *self.exempt))


def _min_age_of(index: Index, settings: Settings) -> timedelta:
    """What a folder of one's own holds may be served at once, unless it is said otherwise."""
    if index.min_age is not None:
        return index.min_age
    return settings.min_age if index.folder is None else timedelta(0)


def _denied(rule: Rule) -> Hidden:
    return Hidden(Reason.DENY, f"{rule.text} may not come in")


_NOT_ALLOWED = Hidden(Reason.ALLOW, "no rule there lets it in")


def quarantine(page: Project) -> Hidden | None:
    """Why nothing of the project is served at all: PEP 792 offers its files to nobody."""
    # Whoever writes it otherwise means it all the same.
    if str(page.status.get("status")).strip().lower() != _QUARANTINED:
        return None
    reason = page.status.get("reason")
    why = f" ({reason})" if isinstance(reason, str) and reason else ""
    return Hidden(Reason.QUARANTINED, f"its index has quarantined the project{why}")


def _whole_second(born: datetime, min_age: timedelta) -> datetime:
    """When a file comes of age: the first whole second at which it has the age."""
    try:
        until = born + min_age
        return until if not until.microsecond else until.replace(microsecond=0) + _SECOND
    except OverflowError:
        return datetime.max.replace(microsecond=0, tzinfo=UTC)


_SECOND = timedelta(seconds=1)


def _plain(age: timedelta) -> str:
    """An age as one would write it into the configuration: 7d, 36h, 90s."""
    seconds = int(age.total_seconds())
    for unit, size in (("d", 86_400), ("h", 3600), ("m", 60)):
        if seconds % size == 0:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"
