-- The tables that cleaning starts from; rating is an event's weight where there are no stars. The rowid of staged is a
-- row's place: files by name, then the order within the file.
create temp table staged (
    file_index integer, user_id varchar, item_id varchar, rating varchar, "timestamp" varchar, fault varchar
);
-- Lines that the CSV reader refused; broken JSON is in staged, with its fault.
create temp table unreadable (file_index integer, source_row bigint, fault varchar);
create temp table source_files (
    file_index integer, source_file varchar, rows_read bigint, first_place bigint, ticks integer
);
