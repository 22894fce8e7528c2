-- source_given, target_given, known_source, known_target (item_id)  ->  shares of ratings of unknown items: among
-- source ratings of people without target ratings, and among all target ratings.
select
    (
        select coalesce(avg((item_id not in (select item_id from known_source))::integer), 0)
        from source_given
        anti join target_given using (user_id)
    ) as source,
    (
        select coalesce(avg((item_id not in (select item_id from known_target))::integer), 0)
        from target_given
    ) as target;
