-- Violations that are possible in any table. $columns and $table are filled in where a fact is defined.

-- name: unique
-- Great Expectations' own counts in a window over all rows, twice, which takes three times as long.
select $columns, count(*) as times
from {batch}
group by all
having times > 1;

-- name: declared_columns
select wanted.column_name, wanted.data_type as expected, found.data_type as found
from (values $columns) as wanted(column_name, data_type)
left join duckdb_columns() as found
    on found.database_name = current_database() and found.table_name = '$table'
    and found.column_name = wanted.column_name
where found.data_type is null or found.data_type not like wanted.data_type;
