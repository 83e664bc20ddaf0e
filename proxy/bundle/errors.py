"""What is wrong with a bundle, in words for whoever carries it."""

from proxy.errors import ConfigError
from proxy.words import counted


class NotABundle(ConfigError):
    """It is no bundle, or none that can be read here. Nothing of it was taken."""

    def __init__(self, problem: str) -> None:
        super().__init__(f"this is no bundle that can be imported: {problem}")


class TooLargeToImport(ConfigError):
    """A bundle that would be written, and that `wheelkeep import` would refuse."""

    def __init__(self, files: int) -> None:
        super().__init__(
            f"a bundle of {counted(files, 'file')} is more than import takes in: "
            "write several, each of some of the --projects"
        )


class BundleRefused(Exception):
    """A member is not what the manifest, or its own name, says. Nothing of it was taken."""

    def __init__(self, member: str, problem: str) -> None:
        super().__init__(f"the bundle is damaged or was tampered with: {member}: {problem}")
        self.member = member
        self.problem = problem


class BundleBrokenOff(Exception):
    """The bundle ends in the middle: a copy that was not finished, as a rule."""

    def __init__(self) -> None:
        super().__init__("the bundle is not complete: it breaks off")
