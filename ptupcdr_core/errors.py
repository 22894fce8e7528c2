"""Errors a user can act on: each message names the place and the remedy."""


class PtupcdrError(Exception):
    """Base of all errors whose cause is the input or the set-up, not the program."""


class CatalogError(PtupcdrError):
    """The catalog file (domains.toml) is missing or says something that cannot be used."""


class SourceError(PtupcdrError):
    """A domain's ratings cannot be read as the catalog describes them."""


class FetchError(SourceError):
    """A file could not be fetched over the network; trying again later may help."""


class WarehouseError(PtupcdrError):
    """A table that is needed is not in the warehouse, or cannot be made there."""


class StorageError(PtupcdrError):
    """A file cannot be written: no space is left, or writing is not permitted there."""


class SettingsError(PtupcdrError):
    """Settings cannot be used together, or not for this task."""


class DeviceError(PtupcdrError):
    """The device that training should run on is unknown or not available."""


class EngineError(PtupcdrError):
    """The engine that a domain names is not installed, or cannot be reached."""


class TrackingError(PtupcdrError):
    """What was measured cannot be sent to the tracking store."""


class TuningError(PtupcdrError):
    """A search for settings cannot start, or found nothing."""


class SplitError(PtupcdrError):
    """A pair of domains cannot be split for the cold-start protocol."""


class ArtifactError(PtupcdrError):
    """A checkpoint is missing, damaged, or was trained on another split."""


class EvaluationError(PtupcdrError):
    """Predictions cannot be compared with ratings: a score is missing, or nothing is there to compare."""


class UnknownUserError(PtupcdrError):
    """Recommendations were asked for a user who is not a cold-start user of the pair."""


def first_line(error: BaseException) -> str:
    """The first line of an error's text, or the name of its type if it has no text."""
    return next(iter(str(error).splitlines()), "") or type(error).__name__
