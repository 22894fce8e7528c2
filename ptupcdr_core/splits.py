"""The cold-start protocol: which users are held out, what may be trained on, and each user's source history."""

from dataclasses import dataclass
from importlib.resources import files

from ptupcdr_core.catalog import Domain, Pair
from ptupcdr_core.errors import SplitError
from ptupcdr_core.settings import Settings
from ptupcdr_core.views import literal
from ptupcdr_core.warehouse import Warehouse

ASSET = "domain_splits"


@dataclass(frozen=True)
class SplitReport:
    """How a pair's users and ratings were divided."""

    pair: str
    users: dict[str, int]
    source_items: int
    target_items: int
    source_ratings: int
    target_ratings: dict[str, int]
    histories: int
    shared_item_ids: int
    vocabulary: str


def build_split(
    pair: Pair, source: Domain, target: Domain, warehouse: Warehouse, settings: Settings, fingerprint: str = ""
) -> SplitReport:
    """Divide a pair's users and ratings for the cold-start protocol and build the source histories.

    Raises:
        WarehouseError: one of the two domains was not ingested yet.
        SplitError: there is nothing to learn from or nothing to measure with.
    """
    above = settings.positive_above if settings.positive_above is not None else sum(source.scale) / 2
    values = {
        "pair": pair.key, "beta": settings.beta, "seed": settings.seed, "history_length": settings.history_length,
        "validation_fraction": settings.validation_fraction, "positive_above": above,
        "source_low": source.scale[0], "source_high": source.scale[1],
        "target_low": target.scale[0], "target_high": target.scale[1],
    }  # fmt: skip
    for name in (source.name, target.name):
        with warehouse.read("raw_ratings", name):
            pass
    with warehouse.write(
        ASSET, pair.key, fingerprint=fingerprint, settings=settings.model_dump(mode="json")
    ) as connection:
        for side, domain in (("source", source), ("target", target)):
            path = warehouse.file("raw_ratings", domain.name)
            connection.execute(f"attach {literal(path)} as {side}_file (read_only)")
        for name, value in values.items():
            connection.execute(f"set variable {name} = ?", [value])
        connection.execute(files("ptupcdr_core.sql").joinpath("split.sql").read_text(encoding="utf-8"))
        users = dict(connection.execute("select cohort, count(*) from split_users group by all order by all").fetchall())
        parts = dict(
            connection.execute("select part, count(*) from split_target_ratings group by all order by all").fetchall()
        )
        for cohort in ("test", "validation", "bridge"):
            if not users.get(cohort):
                raise SplitError(f"pair {pair.key}: no {cohort} users")
        row = connection.execute(
            """select (select count(*) from split_source_items), (select count(*) from split_target_items),
            (select count(*) from split_source_ratings), (select count(*) from split_histories),
            (select shared_item_ids from split_summary), (select vocabulary from split_summary)"""
        ).fetchall()[0]
    return SplitReport(pair.key, users, row[0], row[1], row[2], parts, row[3], row[4], row[5])
