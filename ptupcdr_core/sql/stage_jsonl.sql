insert into staged
select
    {index}, fields[1], fields[2], fields[3], {timestamp},
    case
        when trim(coalesce(line, ''), ' ' || chr(9) || chr(13)) = '' then 'blank'
        when fields is null then 'malformed_json'
    end
from (select line, try(json_extract_string(line, [{keys}])) as fields from {scan})
