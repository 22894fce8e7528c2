-- How texts become numbers and times wherever ratings are read.

-- DuckDB would read 4_0 as 40.
create or replace temp macro number_in(written) as
    case when not contains(written, '_') then try_cast(written as double) end;

-- A number is taken as it is: seconds, or ordinal bins. An ISO date or date-time is UTC where it names no zone, and its
-- year has four digits: DuckDB would accept 'epoch' too, and years before Christ.
create or replace temp macro moment_in(written, ticks) as coalesce(
    number_in(written) / ticks,
    case when regexp_matches(written, '^\s*[0-9]{4}[-/][^(]*$') then epoch(try_cast(written as timestamptz)) end
);

-- 1e19 is not a time, not even in nanoseconds.
create or replace temp macro is_time(moment) as coalesce(abs(moment) < 1e19, false);
