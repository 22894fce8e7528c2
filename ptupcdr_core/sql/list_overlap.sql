-- recommendations of tonight, last_night.recommendations  ->  the share of a person's items that were in last night's
-- list too, averaged over people with both lists; null where there are none. The shorter list counts as the whole,
-- since a longer one has new items for that reason alone.
with tonight as (select user_id, count(*) as length from recommendations group by user_id),
last as (select user_id, count(*) as length from last_night.recommendations group by user_id),
shared as (
    select user_id, count(*) as items
    from recommendations
    semi join last_night.recommendations using (user_id, item_id)
    group by user_id
)
select avg(coalesce(items, 0) / least(tonight.length, last.length))
from tonight
join last using (user_id)
left join shared using (user_id);
