"""Rules as tables: a name into the indexes that may answer, a file and a moment into a verdict."""

import pickle
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from proxy.policy import Hidden, Policy, Reason, ShownNames, territories
from proxy.rules import Rule
from proxy.settings import PYPI, Index
from proxy.settings import Policy as Settings
from proxy.simple.model import File, Project, ProjectName
from proxy.simple.versions import is_of, joined, version_of, without_files

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
REQUESTS = ProjectName("requests")
WHEEL, SDIST = "requests-2.19.1-py3-none-any.whl", "requests-2.20.0.tar.gz"


def page(*names: str, status: dict[str, str | None] | None = None, **keys: Any) -> Project:
    files = tuple(File({"filename": name, "url": f"https://x/{name}", **keys}) for name in names)
    document: dict[str, Any] = {"versions": []}
    return Project(document=document | ({"project-status": status} if status else {}), files=files)


def hidden(settings: dict[str, Any], shown: Project, now: datetime = NOW) -> dict[str, Reason]:
    """The reason why a file is hidden, by its name."""
    policy = Policy(Settings(**settings), [PYPI])
    selection = policy.select(REQUESTS, "pypi", shown, now)
    return {shown.files[at].filename: why.reason for at, why in selection.hidden.items()}


# --- which index --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("acme-tool", ["corp"]),
        ("acme-unknown", ["corp"]),
        ("shared", ["corp", "team"]),
        ("six", ["mirror", "pypi"]),
        ("torch", ["team"]),
    ],
)
def test_who_may_answer(name: str, expected: list[str]) -> None:
    """A pattern other than * reserves its names; those of nobody are for whoever has a *."""
    indexes = [
        Index(name="corp", url="https://corp/", projects=("Acme_*", "shared")),
        Index(name="mirror", url="https://mirror/"),
        Index(name="team", url="https://team/", projects=("torch", "SHARED")),
        Index(name="pypi", url=PYPI.url, projects=("*", "left.pad")),
    ]

    assert [index for index, area in territories(indexes).items() if area.covers(name)] == expected


def test_an_index_with_a_star_may_reserve_as_well() -> None:
    """Both kinds of patterns in one index: the names that it reserves are its own."""
    one = territories(
        [
            Index(name="a", url="https://a/", projects=("*", "mine")),
            Index(name="b", url="https://b/"),
        ]
    )

    assert [one["a"].covers("mine"), one["a"].covers("x")] == [True, True]
    assert [one["b"].covers("mine"), one["b"].covers("x")] == [False, True]


def test_shown_names_go_to_another_process() -> None:
    """The project list is filtered there; what is denied or not allowed is not on it."""
    policy = Policy(Settings(allow=("six", "evil", "acme-*"), deny=("evil", "six<1")), [PYPI])
    names = policy.shown_names("pypi")
    copy: ShownNames = pickle.loads(pickle.dumps(names))

    assert [copy.shows(name) for name in ("six", "evil", "acme-x", "other")] == [
        *(True, False),
        *(True, False),
    ]
    assert not copy.are_all
    assert Policy(Settings(), [PYPI]).shown_names("pypi").are_all


# --- rules --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "filename", "expected"),
    [
        ("requests", WHEEL, True),
        ("Req*", WHEEL, True),
        ("re.quests", WHEEL, False),
        ("requests<2.20", WHEEL, True),
        ("requests<2.20", SDIST, False),
        ("requests >=2, <2.20", WHEEL, True),
        ("requests==2.*", "requests-2.1a1.tar.gz", True),
        (":wheel:", WHEEL, True),
        (":sdist:", WHEEL, False),
        (":sdist:", SDIST, True),
        (":sdist:", "requests-1.ZIP", True),
        (":sdist:", "requests-1.egg", False),
        ("requests<2.20:sdist:", WHEEL, False),
        ("requests>=2.20 :sdist:", SDIST, True),
        ("*>2:wheel:", WHEEL, True),
    ],
)
def test_what_a_rule_covers(line: str, filename: str, expected: bool) -> None:
    """Project pattern, versions (pre-releases too), kind of file: all that stand there count."""
    denied = hidden({"deny": (line,)}, page(filename))
    allowed = hidden({"allow": (line,)}, page(filename))

    assert denied == ({filename: Reason.DENY} if expected else {})
    assert allowed == ({} if expected else {filename: Reason.ALLOW})


def test_a_version_that_cannot_be_told() -> None:
    """The careful reading: a rule on versions denies such a file, and allows or spares none."""
    odd = page("requests-final.tar.gz", **{"upload-time": "2026-11-24T11:00:00Z"})

    assert hidden({"deny": ("requests<1",)}, odd)
    assert hidden({"allow": ("requests>=0",)}, odd)
    assert hidden({"min_age": "1d", "min_age_exempt": ("requests>=0",)}, odd)


def test_the_first_rule_that_covers_is_told() -> None:
    """In the order of the configuration, whether it names one project or many."""
    names = [f"project-{number}" for number in range(3000)]
    for lines in (("requests", "re*"), ("re*", "requests")):
        policy = Policy(Settings(deny=(*names, "requests<1", *lines)), [PYPI])
        refusal = policy.refuses(REQUESTS)
        assert refusal is not None
        assert refusal.explanation == f"{lines[0]} may not come in"
        assert policy.refuses(ProjectName("project-2999")) is not None
        assert policy.refuses(ProjectName("project-3000")) is None


def test_what_is_denied_and_allowed_is_denied() -> None:
    """`deny` beats `allow`."""
    assert hidden({"allow": ("requests",), "deny": (":sdist:",)}, page(WHEEL, SDIST)) == {
        SDIST: Reason.DENY
    }


@pytest.mark.parametrize("line", ["a;b", "", "a b", ":egg:", "a<", "a[b]", "a @ https://x"])
def test_lines_that_are_no_rules(line: str) -> None:
    """What cannot be meant is refused."""
    with pytest.raises(ValueError, match=r"is not like|the kinds are|is no version specifier"):
        Rule.parse(line)


# --- age ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("upload_time", "free_at"),
    [
        ("2026-11-17T12:00:00Z", "2026-11-24T12:00:00"),
        ("2026-11-17T12:00:00.000001Z", "2026-11-24T12:00:01"),
        ("2026-11-17T12:00:00.999999Z", "2026-11-24T12:00:01"),
        ("2026-11-17T21:00:00+09:00", "2026-11-24T12:00:00"),
        ("2026-11-17T12:00:00", "2026-11-24T12:00:00"),
        ("2026-11-17", "2026-11-24T00:00:00"),
    ],
)
def test_a_file_comes_of_age_to_the_second(upload_time: str, free_at: str) -> None:
    """Hidden before, shown from that second on; without an offset it is UTC (PEP 700)."""
    young = page(WHEEL, **{"upload-time": upload_time})
    moment = datetime.fromisoformat(f"{free_at}Z")
    policy = Policy(Settings(min_age="7d"), [PYPI])
    before = policy.select(REQUESTS, "pypi", young, moment - timedelta(seconds=1))

    assert before.until == moment
    assert str(before.hidden[0]).endswith(f"younger than 7d, until {free_at}Z")
    assert not before.holds(moment)
    assert policy.select(REQUESTS, "pypi", young, moment).hidden == {}


def test_where_the_time_is_set_to_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    """TZ of the process has no say."""
    import time

    young = page(WHEEL, **{"upload-time": "2026-11-17T12:00:01"})
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        assert hidden({"min_age": "7d"}, young) == {WHEEL: Reason.MIN_AGE}
        assert hidden({"min_age": "7d"}, young, NOW + timedelta(seconds=1)) == {}
    finally:
        monkeypatch.delenv("TZ")
        time.tzset()


@pytest.mark.parametrize(
    "upload_time", ["soon", "9999-12-31T23:59:59Z", "0001-01-01T00:00+23:00", 5]
)
def test_times_without_sense(upload_time: object) -> None:
    """A time that cannot be read, or lies beyond all calendars, shows nothing too early."""
    assert hidden({"min_age": "7d"}, page(WHEEL, **{"upload-time": upload_time}))


def test_without_an_upload_time_first_sight_counts() -> None:
    """As old as it is known here; what was never seen is seen now."""
    undated, policy = page(WHEEL), Policy(Settings(min_age="7d"), [PYPI])

    for seen, until in ((NOW - timedelta(days=7), None), (None, NOW + timedelta(days=7))):
        selection = policy.select(REQUESTS, "pypi", undated, NOW, lambda _, seen=seen: seen)
        assert selection.until == until


def test_what_min_age_spares() -> None:
    """Rules spare projects, or one version in need; an index may have an age of its own."""
    young = page(WHEEL, SDIST, **{"upload-time": "2026-11-24T00:00:00Z"})

    assert hidden({"min_age": "7d", "min_age_exempt": ("req*",)}, young) == {}
    assert hidden({"min_age": "7d", "min_age_exempt": ("requests==2.20",)}, young) == {
        WHEEL: Reason.MIN_AGE
    }
    indexes = [
        Index(name="corp", url="https://corp/", min_age="0d"),
        PYPI.model_copy(update={"min_age": timedelta(hours=1)}),
    ]
    policy = Policy(Settings(min_age="7d"), indexes)
    assert policy.select(REQUESTS, "corp", young, NOW).hidden == {}
    assert policy.select(REQUESTS, "pypi", young, NOW).hidden == {}


def test_a_folder_has_no_age_unless_it_is_given_one() -> None:
    """It is the team's own; its files are as old as they were dropped in."""
    young = page(WHEEL, **{"upload-time": "2026-11-24T00:00:00Z"})
    indexes = [Index(name="own", url="/srv/a"), Index(name="aged", url="/srv/b", min_age="1d")]
    policy = Policy(Settings(min_age="7d"), indexes)

    assert policy.select(REQUESTS, "own", young, NOW).hidden == {}
    assert list(policy.select(REQUESTS, "aged", young, NOW).hidden) == [0]


def test_the_clock_may_be_set_back() -> None:
    """A selection that was made later than now is made anew."""
    selection = Policy(Settings(), [PYPI]).select(REQUESTS, "pypi", page(WHEEL), NOW)

    assert selection.holds(NOW + timedelta(days=400))
    assert not selection.holds(NOW - timedelta(seconds=1))


# --- yanked, quarantined ------------------------------------------------------------------


def test_yanked_files_are_hidden_where_that_is_asked_for() -> None:
    """PEP 592 leaves it to the server; the reason is passed on."""
    yanked = page(WHEEL, yanked="broken")

    assert hidden({}, yanked) == {}
    assert hidden({"hide_yanked": True}, yanked) == {WHEEL: Reason.YANKED}
    assert hidden({"hide_yanked": True}, page(WHEEL, yanked=False)) == {}
    assert hidden({"hide_yanked": True}, page(WHEEL, yanked=1)) == {WHEEL: Reason.YANKED}


@pytest.mark.parametrize("status", ["active", "archived", "deprecated", "", None])
def test_other_statuses_hide_nothing(status: str | None) -> None:
    """PEP 792: only a quarantined project is offered to nobody."""
    assert hidden({}, page(WHEEL, status={"status": status})) == {}
    quarantined = {"status": " Quarantined", "reason": "malware"}
    assert hidden({}, page(WHEEL, status=quarantined)) == {WHEEL: Reason.QUARANTINED}


# --- kept files that are on no page -------------------------------------------------------


def test_a_kept_file_is_as_old_as_it_is_here() -> None:
    """By the strictest of the indexes that it may be from; rules on its name hold as ever."""
    indexes = [Index(name="corp", url="https://corp/", min_age="0d"), PYPI]
    policy = Policy(Settings(min_age="7d", deny=(":sdist:",)), indexes)

    def verdict(filename: str, days: int) -> Hidden | None:
        since = NOW - timedelta(days=days)
        return policy.select_kept(REQUESTS, ["corp", "pypi"], filename, since, NOW)

    assert verdict(WHEEL, 7) is None
    young, denied = verdict(WHEEL, 6), verdict(SDIST, 7)
    assert young is not None
    assert young.until == NOW + timedelta(days=1)
    assert denied is not None
    assert denied.reason is Reason.DENY


# --- what is left of a page ---------------------------------------------------------------


def test_versions_go_with_their_last_file() -> None:
    """PEP 700: no version is told of which all files are hidden; one that had none may stay."""
    names = ("a-1.0.tar.gz", "a-1.0-py3-none-any.whl", "a-2.0.tar.gz", "a-2004d.tar.gz")
    files = tuple(File({"filename": name, "url": ""}) for name in names)
    whole = Project(document={"versions": ["1", "2.0.0", "3.0", "2004d"]}, files=files)

    assert without_files(whole, [0]).document["versions"] == ["1", "2.0.0", "3.0", "2004d"]
    assert without_files(whole, [0, 1]).document["versions"] == ["2.0.0", "3.0", "2004d"]
    assert without_files(whole, [2, 3]).document["versions"] == ["1", "3.0"]
    assert without_files(whole, []) is whole


def test_a_version_of_more_digits_than_python_reads() -> None:
    """It is none: what it stands beside is shown and hidden as ever."""
    endless = "1" * 5_000
    names = ("a-1.0.tar.gz", f"a-{endless}.tar.gz", f"a-{endless}.egg", f"a-{endless}.tgz")
    names = (*names, f"a-{endless}-py3-none-any.whl")
    files = tuple(File({"filename": name, "url": ""}) for name in names)
    whole = Project(document={"versions": ["1.0", endless]}, files=files)

    assert without_files(whole, [0]).document["versions"] == [endless]
    assert [version_of(name) for name in names[1:]] == [None] * 4
    assert not is_of(endless, names[1])


def test_pages_of_the_same_project_are_joined() -> None:
    """Files and versions of both, the first page's where names meet; each says where it is from."""
    first, other = page("a-1.0.tar.gz", x=1), page("a-1.0.tar.gz", "a-2.0.tar.gz", x=2)
    both = joined(first, [("extra", other)])

    assert [(file.entry["x"], file.entry.get("_index")) for file in both.files] == [
        (1, None),
        (2, "extra"),
    ]
    assert [version_of(file.filename) is not None for file in both.files] == [True, True]
