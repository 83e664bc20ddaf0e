"""What a URL calls a project."""

from proxy.errors import ProjectNotFound
from proxy.simple.model import ProjectName, normalize


def project_named(given: str) -> ProjectName:
    """The normalised name. Raises `ProjectNotFound` where no project can be called so."""
    name = normalize(given)
    if name is None:
        raise ProjectNotFound(ascii(given))
    return name
