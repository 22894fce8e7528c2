"""The digest of a pair's vocabularies, a tree: of blocks of ids, and of the blocks' digests."""

import hashlib
from collections.abc import Mapping
from typing import NamedTuple

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

BLOCK = 65_536
"""Ids that are digested together; ``ptupcdr_core/sql/split.sql`` has the same number."""


class Vocabulary(NamedTuple):
    """Numbered ids.

    Args:
        ids: one row for each id.
        number: the column of its number, from 1.
        id: the column of its text.
    """

    ids: DataFrame
    number: str
    id: str


def digest(vocabularies: Mapping[str, Vocabulary]) -> str:
    """SHA-256 of vocabularies by their kinds, as ``ptupcdr_core/sql/split.sql`` has it.

    What is collected is one digest for every 65,536 ids.
    """
    blocks = [
        (kind, block, digest)
        for kind, vocabulary in vocabularies.items()
        for block, digest in _blocks(kind, vocabulary).collect()
    ]
    return hashlib.sha256("\n".join(digest for *_, digest in sorted(blocks)).encode()).hexdigest()


def _blocks(kind: str, vocabulary: Vocabulary) -> DataFrame:
    place, text = F.col(vocabulary.number), F.col(vocabulary.id)
    told = F.concat(F.lit(kind), F.octet_length(text).cast("string"), F.lit(":"), text)
    block = F.floor((place - 1) / BLOCK).cast("bigint").alias("block")
    in_order = F.array_sort(F.collect_list(F.struct(place.alias("place"), told.alias("told"))))
    joined = F.array_join(F.transform(in_order, lambda row: row["told"]), "\n")
    return vocabulary.ids.groupBy(block).agg(F.sha2(joined, 256))
