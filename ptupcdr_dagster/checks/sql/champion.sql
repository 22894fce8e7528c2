-- Violations of the facts about champion.

-- name: new_model_is_in_use
select distinct version, champion, reason from champion where not promoted or version <> champion;
