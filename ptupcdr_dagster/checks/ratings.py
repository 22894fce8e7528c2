"""Facts about ``raw_ratings``."""

from collections.abc import Iterator, Mapping
from typing import Any

import dagster as dg

from ptupcdr_core.catalog import Domain
from ptupcdr_core.store.home import Home
from ptupcdr_core.store.warehouse import Warehouse
from ptupcdr_dagster.checks.facts import (
    Expectation,
    Fact,
    Parameter,
    between,
    facts_about,
    has_columns,
    not_null,
    specs,
    unique,
)
from ptupcdr_dagster.partitions import CATALOG, DOMAINS

ASSET = "raw_ratings"

RATINGS: dict[str, tuple[Expectation, ...]] = {
    "ratings_have_the_declared_columns": (
        has_columns(
            "raw_ratings",
            domain="VARCHAR",
            user_id="VARCHAR",
            item_id="VARCHAR",
            rating="DOUBLE",
            timestamp="DOUBLE",
            place="BIGINT",
        ),
        has_columns("rejected_ratings", domain="VARCHAR", reason="VARCHAR", source_file="VARCHAR"),
    ),
    "ratings_are_complete": (not_null("user_id"), not_null("item_id"), not_null("rating")),
    "ratings_within_scale": (between("rating", Parameter("low"), Parameter("high")),),
}
EVENTS: dict[str, tuple[Expectation, ...]] = {
    "ratings_have_the_declared_columns": (
        has_columns(
            "raw_ratings", domain="VARCHAR", user_id="VARCHAR", item_id="VARCHAR", events="INTEGER", weight="DOUBLE",
            first_time="DOUBLE", timestamp="DOUBLE", place="BIGINT",
        ),
        has_columns("rejected_ratings", domain="VARCHAR", reason="VARCHAR", source_file="VARCHAR"),
    ),
    "ratings_are_complete": (not_null("user_id"), not_null("item_id"), not_null("events")),
    "ratings_within_scale": (between("events", 1, None),),
}  # fmt: skip


def _facts(own: Mapping[str, tuple[Expectation, ...]]) -> tuple[Fact, ...]:
    """The facts; some differ between events and ratings."""
    return facts_about(
        ASSET,
        Fact(
            "ratings_have_the_declared_columns",
            "The tables have the columns and types that every later stage relies on.",
            own["ratings_have_the_declared_columns"],
        ),
        Fact(
            "ratings_are_complete",
            "Every kept rating has a user, an item and a value; every kept event has a user, an item and a count.",
            own["ratings_are_complete"],
        ),
        Fact(
            "ratings_within_scale",
            "Every kept rating lies on the scale that the catalog declares for the domain; events count at least 1.",
            own["ratings_within_scale"],
        ),
        Fact(
            "one_rating_per_user_and_item",
            "A user and an item have only one row: of repeated ratings the latest is kept, repeated events are merged.",
            (unique("user_id", "item_id"),),
        ),
        Fact(
            "every_row_is_accounted_for",
            "Rows read = kept + rejected, for each file and in total: no row is lost on the way.",
        ),
        Fact(
            "every_rejected_row_has_a_reason",
            "A rejected row says why it was rejected and where it came from.",
        ),
    )


FACTS, EVENT_FACTS = _facts(RATINGS), _facts(EVENTS)

KNOWN_COUNTS = Fact(
    "counts_are_those_of_the_published_file",
    "A 5-core file of the Amazon reviews of 2014 has as many users, items and ratings as publications report.",
    warning=True,
)


@dg.multi_asset_check(specs=specs(ASSET, (*FACTS, KNOWN_COUNTS), DOMAINS), name="raw_ratings_checks")
def raw_ratings_checks(
    context: dg.AssetCheckExecutionContext, home: dg.ResourceParam[Home]
) -> Iterator[dg.AssetCheckResult]:
    """Validate one domain's kept and rejected ratings."""
    from ptupcdr_dagster.checks.validation import validate_table

    domain = CATALOG.domain(context.partition_key)
    file = Warehouse(home.warehouse).file(ASSET, domain.name)
    facts = FACTS if domain.stars else EVENT_FACTS
    yield from validate_table(file, ASSET, ASSET, facts, parameters_of(domain), documented=(home, domain.name))
    yield known_counts(home, domain)


def parameters_of(domain: Domain) -> dict[str, Any]:
    """Values that the facts' queries need: the ends of the scale, and how kept rows are counted."""
    from ptupcdr_core.sources.ingest import kept_rows

    low, high = domain.stars or (None, None)
    return {"low": low, "high": high, "kept": kept_rows(domain)}


def known_counts(home: Home, domain: Domain) -> dg.AssetCheckResult:
    """Compare a domain's counts with those of the published file of its name; other domains have none to compare."""
    from ptupcdr_core.experiments.published import count_problems, published_name

    with Warehouse.from_environment(home.warehouse).read(ASSET, domain.name) as connection:
        query = "select count(distinct user_id), count(distinct item_id), count(*) from raw_ratings"
        [(users, items, ratings)] = connection.execute(query).fetchall()
    problems = count_problems(domain, users=users, items=items, ratings=ratings)
    known = published_name(domain)
    agreed = f"as in the 5-core {known} of 2014" if known else "no known counts: not a 5-core file of 2014"
    return dg.AssetCheckResult(
        passed=not problems,
        check_name=KNOWN_COUNTS.name,
        asset_key=ASSET,
        severity=dg.AssetCheckSeverity.WARN,
        description="; ".join(problems) or agreed,
        metadata={"users": users, "items": items, "ratings": ratings},
    )
