-- split_*  ->  the same tables of fewer people, who are numbered from 1 again: those whom a program reads that holds a
-- pair in memory. They are drawn by a hash of seed and id, in the shares that split_summary has.
create temp table people_read as
select user_index as of_split, row_number() over (order by user_index)::integer as user_index
from partition_file.split_users, partition_file.split_summary
where unit(seed || ':read:' || user_id) < if(cohort in ('test', 'validation', 'bridge'), overlapping_read, others_read);

create temp view split_users as
select u.* replace (p.user_index as user_index)
from partition_file.split_users as u join people_read as p on u.user_index = of_split;

create temp view split_source_ratings as
select r.* replace (p.user_index as user_index)
from partition_file.split_source_ratings as r join people_read as p on r.user_index = of_split;

create temp view split_target_ratings as
select r.* replace (p.user_index as user_index)
from partition_file.split_target_ratings as r join people_read as p on r.user_index = of_split;

create temp view split_histories as
select h.* replace (p.user_index as user_index)
from partition_file.split_histories as h join people_read as p on h.user_index = of_split;
