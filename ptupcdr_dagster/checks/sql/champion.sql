-- Violations of the facts about champion.

-- name: new_model_is_in_use
select mode, version, champion, reason from champion where not promoted;
