insert into unreadable
select
    {index}, line - {skipped},
    -- One line can break several rules; the first one, by column, is named.
    case arg_min(error_type, column_idx)
        when 'MISSING COLUMNS' then 'wrong_number_of_fields'
        when 'TOO MANY COLUMNS' then 'wrong_number_of_fields'
        when 'INVALID ENCODING' then 'invalid_utf8'
        when 'UNQUOTED VALUE' then 'unterminated_quote'
        when 'LINE SIZE OVER MAXIMUM' then 'line_too_long'
        else 'malformed'
    end
from {rejects}
group by line
