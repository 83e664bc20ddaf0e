"""Where settings come from, and how a wrong one ends."""

import json
import re
import tomllib
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from proxy.errors import ConfigError
from proxy.settings import Auth, Cache, Index, Policy, Section, Server, Settings, load

ROOT = Path(__file__).parents[1]
INDEX = "[[index]]\nname = 'a'\nurl = 'https://a/'\n"


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_defaults_need_nothing() -> None:
    """No file, no variable, no flag: PyPI on the loopback address."""
    settings = load()

    assert (settings.server.host, settings.server.port) == ("127.0.0.1", 3141)
    assert [index.url for index in settings.index] == ["https://pypi.org/simple/"]
    assert settings.cache.dir == Path.home() / ".cache/wheelkeep"
    assert settings.cache.page_ttl is None
    assert settings.cache.max_size == 20 * 1024**3


def test_flags_beat_environment_beats_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each layer wins over the one below, key by key."""
    file = write(tmp_path / "a.toml", '[server]\nport = 1\nhost = "file"\n[cache]\nredis = ""\n')
    monkeypatch.setenv("WHEELKEEP_SERVER__PORT", "2")
    monkeypatch.setenv("WHEELKEEP_CACHE__OFFLINE", "true")

    assert load(file).server.port == 2
    assert load(file).server.host == "file"
    settings = load(file, {"server": {"port": 3}})
    assert (settings.server.port, settings.server.host, settings.cache.offline) == (3, "file", True)


def test_paths_count_from_the_working_directory(tmp_path: Path) -> None:
    """Not from the file that names them; and `~` is the home folder."""
    (tmp_path / "etc").mkdir()
    text = "[server]\ntls_cert = 'a.pem'\ntls_key = '~/a.key'\n[cache]\ndir = 'c'\n"
    text += "[auth]\ntokens_file = './t'\n[[index]]\nname = 'a'\nurl = './wheels'\n"
    text += "[[index]]\nname = 'b'\nurl = 'https://b/'\nca_file = 'b.pem'\n"
    settings = load(write(tmp_path / "etc/w.toml", text))

    assert settings.server.tls_cert == tmp_path / "a.pem"
    assert settings.server.tls_key == Path.home() / "a.key"
    assert settings.cache.dir == tmp_path / "c"
    assert settings.auth.tokens_file == tmp_path / "t"
    assert settings.index[0].folder == tmp_path / "wheels"
    assert settings.index[1].ca_file == tmp_path / "b.pem"


@pytest.mark.parametrize(
    ("given", "size"),
    [("0", 0), (0, 0), ("1MB", 10**6), ("20GiB", 20 << 30), ("1.5 GB", 15 * 10**8)],
)
def test_sizes(given: object, size: int) -> None:
    """With a unit; 0 keeps no file on disk."""
    assert load(flags={"cache": {"max_size": given}}).cache.max_size == size


def test_which_file_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The flag's, else $WHEELKEEP_CONFIG, else ./wheelkeep.toml where it is there."""
    assert (load().server.port, load().file) == (3141, None)
    write(tmp_path / "wheelkeep.toml", "[server]\nport = 1\n")
    assert load().server.port == 1
    monkeypatch.setenv("WHEELKEEP_CONFIG", str(write(tmp_path / "b.toml", "[server]\nport = 2\n")))
    assert load().server.port == 2
    assert load(write(tmp_path / "c.toml", "[server]\nport = 3\n")).server.port == 3
    assert (load().file, load(tmp_path / "c.toml").file) == (
        tmp_path / "b.toml",
        tmp_path / "c.toml",
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("90s", timedelta(seconds=90)),
        ("10m", timedelta(minutes=10)),
        ("36h", timedelta(hours=36)),
        ("7d", timedelta(days=7)),
        ("2 w", timedelta(weeks=2)),
        ("1.5h", timedelta(minutes=90)),
        ("P7DT12H", timedelta(days=7, hours=12)),
        ("PT90S", timedelta(seconds=90)),
        ("0s", timedelta(0)),
    ],
)
def test_durations(text: str, expected: timedelta) -> None:
    """A number and a unit, or ISO 8601."""
    assert load(flags={"cache": {"page_ttl": text}}).cache.page_ttl == expected


def test_credentials_leave_the_url() -> None:
    """The URL is shown in logs; what stands in it of a secret is taken out."""
    index = load(
        flags={"index": [{"name": "pypi", "url": "https://me:s%40cret@index.example/simple"}]}
    ).index[0]

    assert index.url == "https://index.example/simple/"
    assert (index.username, index.password.get_secret_value()) == ("me", "s@cret")
    assert "s@cret" not in repr(index)


def test_lists_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are given as JSON; the page of the settings shows it."""
    text = (ROOT / "docs/pages/reference/settings.md").read_text()
    shown = re.search(r"WHEELKEEP_POLICY__DENY='(.*?)'", text)
    assert shown is not None
    monkeypatch.setenv("WHEELKEEP_POLICY__DENY", shown[1])
    assert load().policy.deny == tuple(json.loads(shown[1]))
    monkeypatch.setenv(
        "WHEELKEEP_INDEX", '[{"name": "corp", "url": "http://corp.example/simple/"}]'
    )

    assert [index.name for index in load().index] == ["corp"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[server]\nprot = 1", r"server\.prot: there is no such setting; did you mean port\?"),
        ("[sever]\nport = 1", r"sever: there is no such setting; did you mean server\?"),
        ('[server]\nport = "x"', r"server\.port: 'x'"),
        ("[server]\nport = 70000", r"server\.port: 70000"),
        ('[cache]\npage_ttl = "soon"', r"cache\.page_ttl: 'soon': is not a duration"),
        ('[cache]\npage_ttl = "-5s"', r"cache\.page_ttl: '-5s'"),
        ('[cache]\nmax_size = "huge"', r"cache\.max_size: 'huge'"),
        ('[cache]\nredis = "http://x:secret@y"', r"cache\.redis: must begin with redis://"),
        (
            '[[index]]\nname = "a"\nurl = "ftp://x"',
            r"index\.0\.url of the index a: must",
        ),
        (
            INDEX + "[[index]]\nname = 'b'\nurl = 'b'",
            r"index\.1\.url of the index b: must be",
        ),
        ('[[index]]\nname = "a"\nulr = "x"', r"index\.0\.ulr: .* did you mean url\?"),
        ("[[index]]\nname = 5\nurl = 'x'", r"index\.0\.name: 5: must be a text"),
        ('[[index]]\nname = "A B"', r"index\.0\.name: 'A B'"),
        ('[[index]]\nulr = "x"', r"index\.0\.ulr: .* did you mean url\?"),
        ("index = []", r"index: at least one is needed"),
        (INDEX + INDEX, r"index\.name: 'a' is given twice"),
        ("[[index]]\nurl = 'https://a/'\nprojects = ['x']", r"toml: index\.0\.name: must be"),
        ("[[index]]\nname = 'b'\nprojects = ['x']", r"index\.0\.url of the index b: must be given"),
        ("[[index]]", r"index\.0\.name: must be given; an \[\[index\]\] has a name and a url"),
        ("[server\nport = 1", r"a\.toml: .*line 1"),
        ("[server]\nport = 1.5", r"server\.port: 1\.5: must be a whole number"),
        ("[server]\nport = []", r"server\.port: is a list, and must be a whole number"),
        ("[server]\nport = -1", r"server\.port: -1: must be at least 0"),
        ("[server]\nhost = true", r"server\.host: true: must be a text, in quotes"),
        ("[cache]\noffline = 'maybe'", r"cache\.offline: 'maybe': must be true or false"),
        (
            "[cache]\npage_ttl = '99999999999d'",
            r"cache\.page_ttl: .* is longer than can be counted",
        ),
        (
            INDEX + "password = 5",
            r"index\.0\.password of the index a: is a number, and must",
        ),
        (
            INDEX + "password = 'x'\npassword_file = 'x'",
            r"index\.0\.password_file of the index a: ",
        ),
        ('[policy]\ndeny = ["x<"]', r"policy\.deny\.0: 'x<': '<' is no version specifier"),
        ('[policy]\nallow = [":egg:"]', r"policy\.allow\.0: .*the kinds are :sdist: and :wheel:"),
        ('[policy]\nmin_age = "soon"', r"policy\.min_age: 'soon': is not a duration"),
        ("[server]\nbase_path = '/a/../b'", r"server\.base_path: .* must be a path like /pypi"),
        ("[server]\ntls_key = 'key.pem'", r"server\.tls_key: is of no use without tls_cert"),
        ('[auth]\ntokens = ["hunter2"]', r"auth\.tokens\.0: must be the sha256 of a token"),
        ('[[index]]\nname = "a"\npassword = "secret"', r"index\.0\.url of the index a: must"),
        (
            INDEX + "proxy = 'proxy:3128'",
            r"index\.0\.proxy of the index a: .*must be like http://proxy",
        ),
        (INDEX + "projects = []", r"index\.0\.projects of the index a: "),
        (
            INDEX + 'projects = ["acme-*,x"]',
            r"\.projects\.0 of the index a: 'acme-\*,x': is not",
        ),
        (INDEX + 'projects = [""]', r"index\.0\.projects\.0 of the index a: "),
        (
            "[[index]]\nname = 'a'\nurl = 'file://host/x'",
            r"index\.0\.url of the index a: .*or a folder: file:///",
        ),
        ("[server]\nworkers = 'many'", r"server\.workers: 'many'"),
        ("[cache]\nmax_size = 20", r"cache\.max_size: 20: is less than 1MB; .* like 20GiB"),
        ("[cache]\nmax_size = '999kB'", r"cache\.max_size: '999kB': is less than 1MB"),
        ("[cache]\nmax_size = -1", r"cache\.max_size: -1"),
        ("[server]\nready_size = 20", r"server\.ready_size: 20: is less than 1MB"),
        ("[server]\nworkers = 0", r"server\.workers: 0"),
        ("[cache]\nblobs = 'http://x'", r"cache\.blobs: must be like s3://"),
        ('[index]\npassword = "secret"', r"index: must be \[\[index\]\]"),
        (
            '[[index]]\nname = "a"\nurl = "https://me:a/secret@host/"',
            r"index\.0\.url of the index a: is not a URL",
        ),
        (
            INDEX + 'projects = "acme-*"',
            r"index\.0\.projects of the index a: 'acme-\*': must be a list",
        ),
        ("server = 3", r"server: 3: must be a section"),
        ("[cache]\ndir = 4", r"cache\.dir: 4: must be a path"),
        ("[cache]\ndir = ''", r"cache\.dir: '': must not be empty"),
        ("[server]\nhost = ''", r"server\.host: '': must not be empty"),
    ],
)
def test_wrong_settings_are_named_in_one_line(tmp_path: Path, text: str, message: str) -> None:
    """The error names the file and the key, in one line, and no secret."""
    with pytest.raises(ConfigError, match=message) as error:
        load(write(tmp_path / "a.toml", text))

    assert "\n" not in str(error.value)
    assert "secret" not in str(error.value)


@pytest.mark.parametrize("value", ["x{y}", "", -1, 1.5, 10**30, True, [], [5], {}, {"a": 1}, None])
def test_what_is_wrong_is_told_in_plain_words(value: object) -> None:
    """Not in those of the library that found it, whatever stands where."""
    models = {"server": Server, "cache": Cache, "index": Index, "policy": Policy, "auth": Auth}
    assert models.keys() == Settings.model_fields.keys()
    for section, key in [(name, key) for name in models for key in models[name].model_fields]:
        given: Any = {key: value}
        if section == "index":
            credentials = {"username": "me", "password": "x"}
            given = [{"name": "a", "url": "https://a/", **credentials, **given}]
        try:
            load(flags={section: given})
        except ConfigError as error:
            named = "--index-url" if key == "url" else rf"{section}\.(0\.)?{key}"
            assert re.match(rf"{named}[. ]?.*: ", str(error))
            assert not re.search("Input|valid |Value error|String|Tuple|pars|<", str(error))


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("index", "url", "https://a/simple/?token=secret"),
        ("index", "url", "https://me:secret@a/simple/?token=secret#secret"),
        ("index", "url", "https://me:top secret@a/simple/#x"),
        ("index", "url", "https://me:12x34/secret@a/"),
        ("index", "url", "me:secret@a/simple/"),
        ("index", "url", "https:/secret@a"),
        ("index", "proxy", "me:secret@proxy:3128"),
        ("index", "proxy", "http://me:secret@proxy/?secret"),
        ("index", "password", ["secret"]),
        ("server", "peer_url", "http://me:secret@a/"),
        ("cache", "redis", "me:secret@redis"),
        ("cache", "blobs", "https://me:secret@a/"),
        ("auth", "tokens", ["secret"]),
        ("auth", "admin_tokens", "secret"),
    ],
)
@pytest.mark.parametrize("given", ["flag", "variable"])
def test_no_secret_is_quoted(
    monkeypatch: pytest.MonkeyPatch, section: str, key: str, value: object, given: str
) -> None:
    """Wherever in a value it stands, and in whatever way it was given."""
    settings: Any = {key: value}
    if section == "index":
        settings = [{"name": "a", "url": "https://a/", **settings}]
    if given == "variable":
        monkeypatch.setenv(f"WHEELKEEP_{section.upper()}", json.dumps(settings))

    with pytest.raises(ConfigError, match=key) as error:
        load(flags={section: settings} if given == "flag" else None)
    assert "secret" not in str(error.value)
    assert "12x34" not in str(error.value)


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        (
            "WHEELKEEP_CAHCE__DIR",
            "/x",
            "WHEELKEEP_CAHCE__DIR: .* did you mean WHEELKEEP_CACHE__DIR",
        ),
        ("WHEELKEEP_SERVER__PROT", "1", r"WHEELKEEP_SERVER__PROT: .*server\.prot: .* mean port"),
        ("WHEELKEEP_SERVER__PORT", "x", "WHEELKEEP_SERVER__PORT: .*'x'"),
        ("WHEELKEEP_POLICY__DENY", '["a b"]', r"WHEELKEEP_POLICY__DENY: policy\.deny\.0: 'a b'"),
        ("WHEELKEEP_INDEX", "[", r"^WHEELKEEP_INDEX: must be a list in JSON, like '\[{\"name\": "),
        ("WHEELKEEP_POLICY__DENY", "evil-*", r"^WHEELKEEP_POLICY__DENY: .* like '\[\"evil-\*\", "),
        ("wheelkeep_policy__allow", "[six]", r"^wheelkeep_policy__allow: must be a list in JSON"),
        (
            "WHEELKEEP_AUTH__TOKENS",
            "secret",
            r"^WHEELKEEP_AUTH__TOKENS: .* in JSON, like '\[\"6f1c",
        ),
        (
            "WHEELKEEP_POLICY__DENY",
            "5",
            r"^WHEELKEEP_POLICY__DENY: policy\.deny: .* must be a list",
        ),
        ("WHEELKEEP_POLICY", "x", "^WHEELKEEP_POLICY: must be a section in JSON, like '{"),
        ("WHEELKEEP_INDEX", '[{"url": "https://a/"}]', r"INDEX: index\.0\.name: must"),
        ("WHEELKEEP_INDEX", '[{"name": "a"}]', r"INDEX: index\.0\.url of the index a: must"),
        ("WHEELKEEP_INDEX__URL", "https://a/", r"INDEX__URL: must be a list in JSON"),
        ("WHEELKEEP_INDEX__0__URL", "https://a/", "WHEELKEEP_INDEX__0__URL: must be a list"),
        ("WHEELKEEP_CONFIG", "/no/such/file.toml", "/no/such/file.toml: there is no such"),
    ],
)
def test_wrong_variables_are_named(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, message: str
) -> None:
    """A variable that says nothing to us is an error, not silence."""
    monkeypatch.setenv(variable, value)

    with pytest.raises(ConfigError, match=message) as error:
        load()
    assert "secret" not in str(error.value)


def test_what_a_flag_says_is_not_blamed_on_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor on a variable that it beats."""
    monkeypatch.setenv("WHEELKEEP_SERVER__PORT", "1")
    file = write(tmp_path / "a.toml", "[server]\nport = 2\n")

    for flags, told in (
        ({"server": {"port": 70000}}, "server.port: "),
        ({"index": [{"name": "pypi", "url": "ftp://x"}]}, "--index-url: must be an http"),
    ):
        with pytest.raises(ConfigError, match=f"^{re.escape(told)}"):
            load(file, flags)


def test_a_folder_can_be_an_index(tmp_path: Path) -> None:
    """By a file URL or a path, whatever characters are in it."""
    folder = tmp_path / "a b"

    for url in (
        f"{folder}",
        f"{folder}/",
        folder.as_uri(),
        "./a b",
        "../" + tmp_path.name + "/a b",
    ):
        (index,) = load(flags={"index": [{"name": "pypi", "url": url}]}).index
        assert index.folder is not None
        assert index.folder.resolve() == folder
    assert load().index[0].folder is None


def test_credentials_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the name of the index, over what the file says; a name that nobody has is an error."""
    indexes = [
        {"name": "acme.x", "url": "https://a/", "password": "old"},
        {"name": "pypi", "url": "https://b/"},
    ]
    monkeypatch.setenv("WHEELKEEP_INDEX_ACME_X_USERNAME", "ci")
    monkeypatch.setenv("WHEELKEEP_INDEX_ACME_X_PASSWORD", "secret")

    acme, pypi = load(flags={"index": indexes}).index
    assert (acme.username, acme.password.get_secret_value()) == ("ci", "secret")
    assert (pypi.username, pypi.password.get_secret_value()) == ("", "")

    monkeypatch.setenv("WHEELKEEP_INDEX_OTHER_PASSWORD", "secret")
    with pytest.raises(
        ConfigError, match=r"INDEX_OTHER_PASSWORD: there is no such index"
    ) as problem:
        load(flags={"index": indexes})
    assert "secret" not in str(problem.value)


@pytest.mark.parametrize(
    ("index", "variables", "message"),
    [
        (
            {"username": "ci"},
            {},
            r"index\.0\.password of the index a: must be given beside",
        ),
        ({"username": "ci", "password": ""}, {}, r"index\.0\.password of the index a: "),
        ({"password": "secret"}, {}, r"index\.0\.username of the index a: must be"),
        ({"password_file": "/secret"}, {}, r"index\.0\.username of the index a: must be"),
        ({}, {"PASSWORD": "secret"}, r"index\.0\.username of the index a: must be"),
        ({}, {"USERNAME": "ci"}, r"index\.0\.password of the index a: must be"),
        ({"url": "/srv", "proxy": "none"}, {}, r"index\.0\.proxy of the index a: has no eff"),
        (
            {"url": "/srv", "ca_file": "x"},
            {},
            r"index\.0\.ca_file of the index a: has no eff",
        ),
        (
            {"url": "/srv", "link_hosts": ["x"]},
            {},
            r"index\.0\.link_hosts of the index a: has no eff",
        ),
        (
            {"url": "/srv", "password": "secret"},
            {},
            r"index\.0\.password of the index a: has no eff",
        ),
        ({"url": "/srv"}, {"USERNAME": "ci"}, "the index a: username: has no effect on a folder"),
        ({"username": "ci", "password": "secret"}, {}, ""),
        ({"username": "ci", "password": ""}, {"PASSWORD": "secret"}, ""),
        ({"username": "ci"}, {"PASSWORD_FILE": "/secret"}, ""),
        ({"url": "https://ci@a/", "password": "secret"}, {}, ""),
        ({"url": "https://secret@a/"}, {}, ""),
        ({"url": "https://:secret@a/"}, {}, ""),
        ({"url": "/srv", "password": "", "proxy": "", "ca_file": "", "min_age": "1d"}, {}, ""),
    ],
)
def test_half_of_the_credentials_and_what_has_no_effect(
    monkeypatch: pytest.MonkeyPatch, index: Any, variables: dict[str, str], message: str
) -> None:
    """Each is a mistake, wherever it was given; a user alone in the URL is meant."""
    for key, value in variables.items():
        monkeypatch.setenv(f"WHEELKEEP_INDEX_A_{key}", value)
    indexes = [{"name": "a", "url": "https://a/", **index}]
    if not message:
        load(flags={"index": indexes})
        return

    with pytest.raises(ConfigError, match=message) as error:
        load(flags={"index": indexes})
    assert "secret" not in str(error.value)


def test_a_variable_that_means_two_indexes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A password must not go to the wrong one of them."""
    monkeypatch.setenv("WHEELKEEP_INDEX_CORP_A_PASSWORD", "secret")
    indexes = [{"name": name, "url": "https://a/"} for name in ("corp-a", "corp.a")]

    with pytest.raises(ConfigError, match=r"CORP_A_PASSWORD: is meant for corp-a and for corp\.a"):
        load(flags={"index": indexes})


def test_what_kubernetes_says_of_a_service_is_no_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is in each container's environment where the Service is called wheelkeep."""
    for name, value in {
        "SERVICE_HOST": "10.0.0.1",
        "SERVICE_PORT": "80",
        "SERVICE_PORT_HTTP": "80",
        "PORT": "tcp://10.0.0.1:80",
        "PORT_80_TCP": "tcp://10.0.0.1:80",
        "PORT_80_TCP_ADDR": "10.0.0.1",
    }.items():
        monkeypatch.setenv(f"WHEELKEEP_{name}", value)
    load()
    monkeypatch.setenv("WHEELKEEP_PORT", "3142")
    with pytest.raises(ConfigError, match="WHEELKEEP_PORT: there is no such setting"):
        load()


def test_the_token_of_a_client_is_no_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who shows one to a server may start another one beside it."""
    monkeypatch.setenv("WHEELKEEP_TOKEN", "secret")

    assert load().auth == Auth()


def test_the_documented_file_holds_the_defaults() -> None:
    """config/wheelkeep.toml shows every key, each with its default."""
    text = (ROOT / "config/wheelkeep.toml").read_text()
    shown = tomllib.loads(text)
    defaults = load()

    assert load(ROOT / "config/wheelkeep.toml").model_dump() == defaults.model_dump()
    for name, field in Settings.model_fields.items():
        model = type(defaults.index[0]) if name == "index" else field.annotation
        assert isinstance(model, type)
        assert issubclass(model, Section)
        given = shown[name][0] if name == "index" else shown[name]
        assert set(given) == set(model.model_fields), name


@pytest.mark.parametrize(
    ("quota", "cores"), [("max 100000", 6), ("150000 100000", 2), ("50000 100000", 1), ("", 6)]
)
def test_workers_auto_counts_what_may_be_used(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, quota: str, cores: int
) -> None:
    """Not the cores of the machine: a container's share of them."""
    (tmp_path / "cpu.max").write_text(quota)
    monkeypatch.setattr("proxy.setting_types._CPU_QUOTA", tmp_path / "cpu.max")
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(6)))

    assert load(flags={"server": {"workers": "auto"}}).server.workers == cores
