-- split_*  ->  the same tables of fewer people, who are numbered from 1 again: those whom a program reads that holds a
-- pair in memory. They are drawn by a hash of seed and id, in the shares that split_summary has.
create temp table people_read as
select user_index as of_split, row_number() over (order by user_index)::integer as user_index
from partition_file.split_users, partition_file.split_summary
where unit(seed || ':read:' || user_id) < if(cohort in ('test', 'validation', 'bridge'), overlapping_read, others_read);

create temp macro of_people(rows) as table
select r.* replace (p.user_index as user_index)
from query_table(rows) as r join people_read as p on r.user_index = of_split;

create temp view split_users as from of_people('partition_file.split_users');
create temp view split_source_ratings as from of_people('partition_file.split_source_ratings');
create temp view split_target_ratings as from of_people('partition_file.split_target_ratings');
create temp view split_histories as from of_people('partition_file.split_histories');
