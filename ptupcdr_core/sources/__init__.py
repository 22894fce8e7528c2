"""Where ratings come from: each format becomes the same staged rows."""

import glob

import duckdb

from ptupcdr_core.catalog import Domain
from ptupcdr_core.errors import SourceError


def stage(connection: duckdb.DuckDBPyConnection, domain: Domain) -> None:
    """Fill the temporary tables ``staged`` and ``source_files`` with a domain's rows, as text and unjudged."""
    connection.execute(
        """create temp table staged (file_index integer, source_row bigint, user_id varchar, item_id varchar,
           rating varchar, "timestamp" varchar, fault varchar);
           create temp table source_files (file_index integer, source_file varchar, rows_read bigint)"""
    )
    if domain.format == "demo":
        from ptupcdr_core.sources import demo

        connection.register("demo_ratings", demo.generate(domain.name))
        relation = connection.sql("from demo_ratings")
        names, paths = domain.columns.model_copy(update={"timestamp": "timestamp"}), ["demo"]
        relations = [relation]
    else:
        names, paths = domain.columns, sorted(glob.glob(str(domain.folder / (domain.path or ""))))
        if not paths:
            raise SourceError(f"domain {domain.name}: no file {domain.folder / (domain.path or '')}")
        relations = [connection.sql(f"from read_csv('{path}', all_varchar=true, header=true)") for path in paths]
    for index, (path, relation) in enumerate(zip(paths, relations, strict=True)):
        stamp = f'"{names.timestamp}"::varchar' if names.timestamp else "null"
        connection.execute(
            f"""insert into staged select {index}, row_number() over (), "{names.user}"::varchar,
            "{names.item}"::varchar, "{names.rating}"::varchar, {stamp}, null from ({relation.sql_query()})"""
        )
        connection.execute(
            "insert into source_files select ?, ?, count(*) from staged where file_index = ?", [index, path, index]
        )
