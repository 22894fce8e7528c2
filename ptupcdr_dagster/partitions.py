"""Partition sets of the lineage, read from the catalog: one for domains, one for domain pairs."""

import dagster as dg

from ptupcdr_core.store.catalog_file import load_catalog
from ptupcdr_core.store.home import catalog_path_from_environment

CATALOG = load_catalog(catalog_path_from_environment())

DOMAINS = dg.StaticPartitionsDefinition([domain.name for domain in CATALOG.domains])
PAIRS = dg.StaticPartitionsDefinition([pair.key for pair in CATALOG.pairs])

# Only a static mapping requests exactly the pairs of a re-materialized domain everywhere: on the command line, in asset
# backfills and in automation.
DOMAIN_TO_PAIRS = dg.StaticPartitionMapping(
    {domain.name: {pair.key for pair in CATALOG.pairs_of(domain.name)} for domain in CATALOG.domains}
)
