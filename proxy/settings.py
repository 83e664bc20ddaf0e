"""The whole configuration as one typed model, and the way it is put together.

Flags win over environment variables, these win over the TOML file, and the file wins over
the defaults below. `load` is the only function that reads the environment or the file.
Everything that is wrong ends in a `ConfigError` whose one line names the key.

`config/wheelkeep.toml` shows every key with its default; a test holds the two together.
"""

import os
import re
import tomllib
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, Self

from pydantic import (
    BaseModel,
    ByteSize,
    ConfigDict,
    Field,
    PrivateAttr,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)
from pydantic_settings.exceptions import SettingsError
from yarl import URL

from proxy.errors import ConfigError
from proxy.setting_problems import ENVIRONMENT_PREFIX, explain, explain_variable, nearest
from proxy.setting_types import (
    Directory,
    Duration,
    OptionalDuration,
    OptionalFile,
    ProjectPattern,
    RuleLine,
    Size,
    TokenHash,
    is_origin,
    usable_cores,
)

CONFIG_VARIABLE = "WHEELKEEP_CONFIG"
TOKEN_VARIABLE = "WHEELKEEP_TOKEN"  # noqa: S105 - its name
"""What commands show to a server that is asked for something."""
DEFAULT_FILE = Path("wheelkeep.toml")

_CREDENTIAL_KEYS = ("username", "password", "password_file")
_BASE_PATH = re.compile(r"(?:/(?!\.{1,2}(?:/|\Z))[A-Za-z0-9._~-]+)*")


class Section(BaseModel):
    """A part of the configuration: unknown keys are errors, values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


class Server(Section):
    """How clients reach wheelkeep."""

    host: str = Field("127.0.0.1", min_length=1, description="address to listen on")
    port: int = Field(3141, ge=0, le=65535, description="port to listen on; 0 takes a free one")
    workers: int = Field(
        1, ge=1, description="processes sharing the port; auto: one for each usable core"
    )
    base_path: str = Field(
        "", description="prefix of all URLs, where a proxy in front passes it on"
    )
    peer_url: str = Field(
        "",
        description="where machines that share Redis reach this one; empty: its address there",
    )
    hot_path: bool = Field(True, description="ready answers ahead of the framework")
    ready_size: Size = Field(
        ByteSize(128 * 1024**2),
        ge=0,
        description="of pages and small files kept ready in memory, by each worker",
    )
    access_log: bool = Field(True, description="one line for each request")
    traces: str = Field(
        "", description="OpenTelemetry collector (OTLP over HTTP) that is sent traces; empty: none"
    )
    tls_cert: OptionalFile = Field(None, description="certificate chain (PEM): serve https")
    tls_key: OptionalFile = Field(
        None, description="private key (PEM) of that certificate; empty: it is in the same file"
    )

    @property
    def scheme(self) -> str:
        """Of the URLs at which it is reached."""
        return "http" if self.tls_cert is None else "https"

    @field_validator("peer_url", mode="after")
    @classmethod
    def _is_http_origin(cls, value: str) -> str:
        if value and not re.fullmatch(r"https?://[^/\s@?#]+/?", value):
            raise ValueError("must be like http://10.0.0.5:3141")
        return value

    @field_validator("traces", mode="after")
    @classmethod
    def _is_collector(cls, value: str) -> str:
        if value and not re.fullmatch(r"https?://[^/\s@?#]+(/[^\s?#]*)?", value):
            raise ValueError("must be like http://collector:4318")
        return value

    @field_validator("base_path", mode="after")
    @classmethod
    def _is_path(cls, value: str) -> str:
        path = f"/{value.strip('/')}" if value.strip("/") else ""
        if not _BASE_PATH.fullmatch(path):
            raise ValueError("must be a path like /pypi")
        return path

    @model_validator(mode="after")
    def _key_has_certificate(self) -> Self:
        if self.tls_key is not None and self.tls_cert is None:
            raise ValueError("tls_key: is of no use without tls_cert")
        return self

    @field_validator("workers", mode="before")
    @classmethod
    def _auto_is_counted(cls, value: object) -> object:
        if isinstance(value, str) and value != "auto" and not value.strip().isdecimal():
            raise ValueError('must be a whole number, or "auto"')
        return usable_cores() if value == "auto" else value


class Cache(Section):
    """What is kept, where, and for how long."""

    dir: Directory = Field(
        Path("~/.cache/wheelkeep"), description="folder of pages (embedded) and files"
    )
    redis: str = Field(
        "",
        repr=False,
        description="redis://…, rediss://…, unix://…: machines share pages, and files",
    )
    blobs: str = Field(
        "", description="s3://bucket/prefix, gs://…, az://…: files shared between machines"
    )
    max_size: Size = Field(
        ByteSize(20 * 1024**3),
        ge=0,
        description="of files on disk, with a unit (1MB or more; 0: keep none); "
        "what was used least recently goes",
    )
    page_ttl: OptionalDuration = Field(
        None,
        description="how long a page is fresh; empty: what the index says (Cache-Control, Expires)",
    )
    stale_if_error: Duration = Field(
        timedelta(days=30), description="serve the last good page this long while the index fails"
    )
    offline: bool = Field(False, description="never ask an index; what is not here is 504")

    @field_validator("blobs", mode="after")
    @classmethod
    def _is_object_store(cls, value: str) -> str:
        if value and not re.match(r"(s3|gs|az)://[^/]", value):
            raise ValueError("must be like s3://bucket/prefix, gs://bucket or az://container")
        return value

    @field_validator("redis", mode="after")
    @classmethod
    def _is_redis_url(cls, value: str) -> str:
        if value and not value.startswith(("redis://", "rediss://", "unix://")):
            raise ValueError("must begin with redis://, rediss:// or unix://")
        return value


class Index(Section):
    """One upstream: an index that speaks the Simple API, or a folder of wheels."""

    # Neither has a default: an index that somebody forgot to finish is not PyPI.
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]*$", description="name in URLs and logs")
    url: str = Field(
        description="its address, as a rule one that ends in /simple/; or a folder: /srv/wheels",
    )
    projects: tuple[ProjectPattern, ...] = Field(
        ("*",),
        min_length=1,
        description="patterns of the project names it may answer for; any but * reserves them",
    )
    username: str = Field("", description="sent to the host of url and to no other")
    password: SecretStr = Field(SecretStr(""), description="likewise; best in a variable or a file")
    password_file: OptionalFile = Field(
        None, description="file that holds the password; read again when it changes"
    )
    min_age: OptionalDuration = Field(
        None, description="of its files; empty: policy.min_age, and none for a folder"
    )
    link_hosts: tuple[str, ...] = Field(
        (), description="hosts (patterns) its links may lead to, also in private networks"
    )
    proxy: str = Field(
        "",
        repr=False,
        description="HTTP proxy to it; empty: HTTPS_PROXY and NO_PROXY tell; none: never",
    )
    ca_file: OptionalFile = Field(
        None, description="certificates (PEM) to trust for it, beside those of the system"
    )

    traceparent: bool = Field(
        False, description="tell it which trace a question is of (W3C Trace Context)"
    )

    @model_validator(mode="before")
    @classmethod
    def _take_credentials_out_of_url(cls, data: Any) -> Any:
        """`https://user:secret@host/` becomes url, username and password: the URL is shown.

        What is empty there was meant so: some registries take a token as the user name alone.
        As a setting of its own, an empty one is one that was not given.
        """
        if not isinstance(data, dict) or not isinstance(data.get("url"), str):
            return data
        data = {key: one for key, one in data.items() if one != "" or key not in _CREDENTIAL_KEYS}
        try:
            url = URL(data["url"])
        except ValueError:
            return data
        if url.user is None and url.password is None:
            return data
        found = {"username": url.user or "", "password": url.password or ""}
        return {**found, **data, "url": str(url.with_user(None))}

    @field_validator("url", mode="after")
    @classmethod
    def _is_url_or_folder(cls, value: str) -> str:
        if value.startswith(("/", "./", "../", "~")) or value == ".":
            return f"{Path(value).expanduser().absolute().as_uri()}/"
        try:
            url = URL(value)
        except ValueError:  # whose words quote parts of it
            raise ValueError("is not a URL; a password is best given as `password`") from None
        is_folder = url.scheme == "file" and not url.host and url.path.startswith("/")
        if not is_folder and (url.scheme not in ("http", "https") or not url.host):
            raise ValueError("must be an http:// or https:// URL, or a folder: file:///… or ./…")
        if url.query_string or url.fragment:
            raise ValueError("must have neither ? nor #; a token goes into username and password")
        return value if value.endswith("/") else f"{value}/"

    @field_validator("proxy", mode="after")
    @classmethod
    def _is_proxy(cls, value: str) -> str:
        if value not in ("", "none") and not is_origin(value):
            raise ValueError('must be like http://proxy.example:3128, or "none"')
        return value

    @model_validator(mode="after")
    def _has_one_password(self) -> Self:
        if self.password_file is not None and self.password.get_secret_value():
            raise ValueError("password_file: there is a password already")
        return self

    @model_validator(mode="after")
    def _folder_is_not_asked_over_http(self) -> Self:
        for key in (*_CREDENTIAL_KEYS, "proxy", "ca_file", "link_hosts", "traceparent"):
            if self.folder is not None and getattr(self, key):
                raise ValueError(f"{key}: has no effect on a folder")
        return self

    @property
    def lacks(self) -> str:
        """Which of username and password is missing beside the other; empty: none.

        Known once all have had their say: the one may come from a variable, the other from a file.
        """
        has_user = "username" in self.model_fields_set
        has_password = "password" in self.model_fields_set or self.password_file is not None
        if has_user == has_password:
            return ""
        return "password" if has_user else "username"

    @property
    def folder(self) -> Path | None:
        """The folder it is; None where it is asked over HTTP."""
        url = URL(self.url)
        return Path(url.path) if url.scheme == "file" else None


PYPI = Index(name="pypi", url="https://pypi.org/simple/")


class Policy(Section):
    """Which files clients may see. Lines of rules are told in `rules.py`."""

    min_age: Duration = Field(timedelta(0), description="a younger file is not shown, not served")
    min_age_exempt: tuple[RuleLine, ...] = Field((), description="rules: what min_age spares")
    allow: tuple[RuleLine, ...] = Field(("*",), description="rules: what may come in")
    deny: tuple[RuleLine, ...] = Field(
        (), description="rules: what may not, also where it is allowed"
    )
    hide_yanked: bool = Field(False, description="do not show and serve yanked files")


class Auth(Section):
    """Who may ask."""

    tokens: tuple[TokenHash, ...] = Field(
        (), description="sha256 of each accepted token; empty, and no tokens_file: open"
    )
    tokens_file: OptionalFile = Field(
        None, description="file of more of them, one a line, # comments; read again when it changes"
    )
    admin_tokens: tuple[TokenHash, ...] = Field(
        (), description="may purge; none, and no file: purge only from the loopback address"
    )
    admin_tokens_file: OptionalFile = Field(None, description="file of more of them, likewise")
    open_monitoring: bool = Field(
        False, description="/healthz, /readyz and /metrics ask for no token"
    )


class Settings(BaseSettings):
    """All sections. Make one with `load`."""

    model_config = SettingsConfigDict(
        env_prefix=ENVIRONMENT_PREFIX,
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        validate_default=True,
    )

    # Factories: the home folder is looked up when settings are loaded, not at import.
    server: Server = Field(default_factory=Server)
    cache: Cache = Field(default_factory=Cache)
    index: tuple[Index, ...] = Field((PYPI,))
    policy: Policy = Field(default_factory=Policy)
    auth: Auth = Field(default_factory=Auth)

    _file: Path | None = PrivateAttr(None)

    @property
    def file(self) -> Path | None:
        """The file that they were read from; None: there was none."""
        return self._file

    @model_validator(mode="after")
    def _indexes_are_usable(self) -> Self:
        if not self.index:
            raise ValueError("index: at least one is needed")
        names = [index.name for index in self.index]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"index.name: {name!r} is given twice")
        return self


_SECTIONS: dict[str, type[Section]] = {
    "server": Server,
    "cache": Cache,
    "index": Index,
    "policy": Policy,
    "auth": Auth,
}


def load(config: Path | None = None, flags: Mapping[str, Any] | None = None) -> Settings:
    """Put the settings together.

    `config` is the file named by a flag; without it `$WHEELKEEP_CONFIG` is taken, then
    `./wheelkeep.toml` if it is there. `flags` is nested like the model and wins over all.
    Raises `ConfigError`.
    """
    file = _config_file(config)
    _refuse_unknown_variables()
    given: dict[str, Any] = {}

    class Layered(Settings):
        @model_validator(mode="before")
        @classmethod
        def remember(cls, values: dict[str, Any]) -> dict[str, Any]:
            given.update(values)
            return values

        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - we read no .env
            file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            toml = TomlConfigSettingsSource(settings_cls, toml_file=file or Path(os.devnull))
            return init_settings, env_settings, toml

    try:
        settings = Layered(**(flags or {}))
    except tomllib.TOMLDecodeError as problem:
        raise ConfigError(f"{file}: {problem}") from None
    except (OSError, UnicodeDecodeError) as problem:
        raise ConfigError(f"{file}: cannot be read: {problem}") from None
    except SettingsError:
        raise ConfigError(explain_variable(_SECTIONS)) from None
    except ValidationError as problem:
        raise ConfigError(explain(problem, file, flags or {}, given, _SECTIONS)) from None
    settings._file = file  # noqa: SLF001 - no setting, and told by nobody else
    whole = _with_credentials_of_environment(settings)
    for at, index in enumerate(whole.index):
        if key := index.lacks:
            raise ConfigError(f"index.{at}.{key} of the index {index.name}: {_BESIDE[key]}")
    return whole


_BESIDE = {
    "username": "must be given beside a password; any word, where the index does not look at it",
    "password": "must be given beside a username; or leave both to netrc",
}


def _config_file(config: Path | None) -> Path | None:
    named = config or (Path(value) if (value := os.environ.get(CONFIG_VARIABLE)) else None)
    if named is None:
        return DEFAULT_FILE if DEFAULT_FILE.is_file() else None
    if not named.is_file():
        raise ConfigError(f"{named}: there is no such configuration file")
    return named


def _refuse_unknown_variables() -> None:
    """pydantic-settings passes over a variable of a section it does not know; we do not."""
    known = {f"{ENVIRONMENT_PREFIX}{section.upper()}" for section in _SECTIONS}
    for variable in sorted(os.environ):
        name = variable.upper()
        if not name.startswith(ENVIRONMENT_PREFIX) or name in (CONFIG_VARIABLE, TOKEN_VARIABLE):
            continue
        if _OF_KUBERNETES.fullmatch(f"{name}={os.environ[variable]}"):
            continue
        if name.split("__")[0] not in known and not _CREDENTIALS.fullmatch(name):
            raise ConfigError(f"{variable}: there is no such setting{nearest(name, all_names())}")


def all_names() -> list[str]:
    """The environment variable of every key, in the order of the model."""
    names = []
    for section, model in _SECTIONS.items():
        if section == "index":  # a list, in one variable
            names.append(f"{ENVIRONMENT_PREFIX}{section}".upper())
        else:
            names += [f"{ENVIRONMENT_PREFIX}{section}__{key}".upper() for key in model.model_fields]
    return names


# What Kubernetes tells each container of a Service that is called wheelkeep.
_OF_KUBERNETES = re.compile(
    f"{ENVIRONMENT_PREFIX}(SERVICE_HOST=.*|SERVICE_PORT(_[A-Z0-9_]+)?=[0-9]+"
    r"|PORT=(tcp|udp)://.*|PORT_[0-9]+_(TCP|UDP)(_(PROTO|PORT|ADDR))?=.*)"
)
_CREDENTIALS = re.compile(
    f"{ENVIRONMENT_PREFIX}INDEX_(?P<index>[A-Z0-9_]+?)_(?P<key>USERNAME|PASSWORD_FILE|PASSWORD)"
)


def _with_credentials_of_environment(settings: Settings) -> Settings:
    """`WHEELKEEP_INDEX_ACME_PASSWORD` is the password of the index acme, and so on."""
    found: dict[str, dict[str, str]] = {}
    names: dict[str, list[str]] = {}
    for one in settings.index:
        names.setdefault(re.sub(r"[^A-Z0-9]", "_", one.name.upper()), []).append(one.name)
    for variable, value in os.environ.items():
        if (match := _CREDENTIALS.fullmatch(variable.upper())) is None or match["index"][0] == "_":
            continue
        meant = names.get(match["index"], [])
        if not meant:
            there = ", ".join(one.name for one in settings.index)
            raise ConfigError(f"{variable}: there is no such index; there is {there}")
        if len(meant) > 1:
            raise ConfigError(f"{variable}: is meant for {' and for '.join(meant)}")
        found.setdefault(meant[0], {})[match["key"].lower()] = value
    return settings.model_copy(
        update={"index": tuple(_with(one, found.get(one.name, {})) for one in settings.index)}
    )


def _with(index: Index, credentials: dict[str, str]) -> Index:
    if not credentials:
        return index
    given = index.model_dump() | {"password": index.password.get_secret_value()}
    if credentials.keys() & {"password", "password_file"}:
        given |= {"password": "", "password_file": None}
    try:
        return Index.model_validate(given | credentials)
    except ValidationError as problem:
        reason = problem.errors()[0]["msg"].removeprefix("Value error, ")
        raise ConfigError(f"credentials of the index {index.name}: {reason}") from None
