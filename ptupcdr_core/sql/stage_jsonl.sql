insert into staged
select
    {index}, {picked},
    -- The line is read again only where no object could be read: lines can be as long as whole reviews.
    case when fields is null then
        if(trim(coalesce(line, ''), ' ' || chr(9) || chr(13)) = '', 'blank', 'malformed_json')
    end
from (select line, try(json_extract_string(line, [{keys}])) as fields from {scan})
