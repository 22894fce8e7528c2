"""The columns that say what a row of results is about."""

from ptupcdr_core.settings import Mode, Settings

LABELS = ("pair", "method", "recipe", "mode", "beta", "seed", "base_model")


def labels(pair: str, method: str, mode: Mode, settings: Settings, base_model: str | None = None) -> dict[str, object]:
    """The labels of one method's rows.

    Args:
        pair: its key.
        method: its name in the tables.
        mode: in which it was measured.
        settings: that it was trained with.
        base_model: its base model, if not that of the settings.
    """
    return {
        "pair": pair,
        "method": method,
        "recipe": settings.recipe,
        "mode": mode,
        "beta": settings.beta,
        "seed": settings.seed,
        "base_model": base_model or settings.base_model,
    }
