insert into staged
select
    {index}, {picked},
    -- Only where no object could be read is the line looked at again: lines can be whole reviews long.
    case when fields is null then
        if(trim(coalesce(line, ''), ' ' || chr(9) || chr(13)) = '', 'blank', 'malformed_json')
    end
from (select line, try(json_extract_string(line, [{keys}])) as fields from {scan})
