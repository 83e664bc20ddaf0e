"""Why a row cannot be measured. Whatever else is raised is a mistake of the benchmark itself."""


class CannotMeasure(Exception):
    """A figure would be worth nothing. Its text stands in the report."""


class WrongAnswer(CannotMeasure):
    """A server answered something else than what is to be measured."""


class LoadError(CannotMeasure):
    """wrk failed, or met errors."""


class RivalMissing(CannotMeasure):
    """Another proxy cannot be installed; with what pip says."""


class DidNotStart(CannotMeasure):
    """A program that was started does not answer."""
