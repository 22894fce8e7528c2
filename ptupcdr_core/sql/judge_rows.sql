-- staged, source_files, person_of, forgotten  ->  judged: what is wrong with each row; value is its stars, or the weight of an event.
create temp table judged as
with typed as (
    select
        s.rowid as place, file_index, item_id, fault,
        s.user_id in (from forgotten) or p.person in (from forgotten) as forgotten,
        case when p.person is not null then 'joined' when taken.person is not null then 'set_apart' end as is_person,
        -- An id that is in no row of the table of people is a person of its own, even if another domain uses the same
        -- id.
        coalesce(p.person, if(taken.person is null, s.user_id, getvariable('domain') || ':' || s.user_id)) as user_id,
        "timestamp" as timestamp_text,
        number_in(rating) as value,
        moment_in("timestamp", ticks) as moment
    from staged s join source_files using (file_index)
    left join person_of p on p.written = s.user_id
    left join (select distinct person from person_of) taken on taken.person = s.user_id
    where fault is null or fault <> 'blank'
)
select
    place, file_index, is_person, user_id, item_id, value, moment,
    case
        when fault is not null then fault
        when forgotten then 'forgotten'
        when trim(coalesce(user_id, '')) = '' then 'empty_user_id'
        when trim(coalesce(item_id, '')) = '' then 'empty_item_id'
        when getvariable('rated') and not coalesce(isfinite(value), false) then 'rating_not_a_number'
        when value not between getvariable('low') and getvariable('high') then 'rating_off_scale'
        when getvariable('weighed') and not coalesce(isfinite(value), false) then 'weight_not_a_number'
        when value < getvariable('least_weight') then 'weight_below_floor'
        -- An empty timestamp means that the time is unknown; any other text must be readable as a time.
        when trim(coalesce(timestamp_text, '')) <> '' and not is_time(moment)
            then 'timestamp_unparseable'
    end as reason
from typed;
