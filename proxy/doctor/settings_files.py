"""The settings that were loaded, where they came from, and who else may read them."""

import os
import stat
from pathlib import Path

from proxy.doctor.findings import Finding, ok, problem, warning
from proxy.setting_problems import ENVIRONMENT_PREFIX
from proxy.settings import Settings
from proxy.web.tokens import read_hashes
from proxy.words import counted

_SETTINGS = "settings"
_NOT_WITHOUT = "serve does not start with it as it is"


def check_settings(settings: Settings) -> list[Finding]:
    """They could be loaded: from which file, by which variables. Blocking."""
    file = settings.file
    found = [ok(_SETTINGS, f"read from {file.absolute()}" if file else "no file is read")]
    variables = sorted(name for name in os.environ if name.upper().startswith(ENVIRONMENT_PREFIX))
    if variables:  # by their names: what stands in them may be a secret
        found.append(ok("environment", f"these count: {', '.join(variables)}"))
    has_secrets = "@" in settings.cache.redis or any(
        index.password.get_secret_value() for index in settings.index
    )
    if file is not None and has_secrets and _mode(file) & stat.S_IROTH:
        advice = f"chmod o-r {file}, or move passwords into the environment or a password_file"
        found.append(warning(_SETTINGS, f"{file} may hold passwords, and all may read it", advice))
    for index in settings.index:
        if index.password_file is not None and _mode(index.password_file) & stat.S_IROTH:
            what = f"{index.password_file}: all on this machine may read it"
            advice = f"chmod o-r {index.password_file}"
            found.append(warning(f"index {index.name}", what, advice))
    return found


def check_tokens(file: Path, setting: str) -> list[Finding]:
    """A file of hashes of tokens: how many, and who may add one. Blocking."""
    name = f"auth.{setting}"
    try:
        count = len(read_hashes(file))
    except UnicodeDecodeError:
        return [problem(name, f"{file} is no text", _NOT_WITHOUT)]
    except ValueError as wrong:
        return [problem(name, f"{file}: {wrong}", _NOT_WITHOUT)]
    except OSError as failure:
        return [problem(name, f"{file} cannot be read: {failure.strerror}", _NOT_WITHOUT)]
    if _mode(file) & stat.S_IWOTH:
        what = f"{file}: all on this machine may add a token"
        return [warning(name, what, f"chmod o-w {file}")]
    if not count:
        what, advice = f"{file} is empty: nobody is let in by it", "`wheelkeep token` makes one"
        return [warning(name, what, advice)]
    return [ok(name, f"{counted(count, 'token')} in {file}")]


def _mode(path: Path) -> int:
    try:
        return path.stat().st_mode
    except OSError:
        return 0
