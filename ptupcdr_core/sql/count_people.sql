-- judged, person_of  ->  ingest_people: users of kept rows, by what the table of people says of their ids; empty
-- without such a table.
create table ingest_people as
select getvariable('domain') as domain, coalesce(is_person, 'not_listed') as is_person, count(distinct user_id) as users
from judged
where reason is null and exists (from person_of)
group by all
order by all;
