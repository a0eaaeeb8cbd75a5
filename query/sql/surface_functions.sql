-- What the relations of a trail have in common: an instant as a person writes it, and a key value. Nothing is guessed.
CREATE MACRO instant_of(written) AS CASE
    WHEN written IS NULL THEN NULL
    WHEN typeof(written) NOT IN ('VARCHAR', 'TIMESTAMP WITH TIME ZONE')
        THEN error('a ' || typeof(written) || ' has no time zone: write for example ''2026-09-16T12:00:00Z'' or now()')
    WHEN NOT regexp_full_match(
            written::VARCHAR,
            '\d\d\d\d-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d(:?\d\d)?)'
        )
        THEN error('''' || written || ''' is no instant with a time zone: write for example ''2026-09-16T12:00:00Z''')
    WHEN try_cast(written::VARCHAR AS TIMESTAMPTZ) IS NULL THEN error('''' || written || ''' is no real date and time')
    ELSE try_cast(written::VARCHAR AS TIMESTAMPTZ)
END;

-- A number in a spelling that is the same for equal numbers: its digits without zeros at either end, and where they stand.
CREATE MACRO number_value(written) AS CASE
    WHEN NOT regexp_full_match(written, '[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?')
        THEN error('''' || written || ''' is not a number')
    WHEN trim(split_part(lower(written), 'e', 1), '+-.0') = '' THEN '0'
    ELSE
        CASE WHEN starts_with(written, '-') THEN '-' ELSE '' END
        || trim(replace(ltrim(split_part(lower(written), 'e', 1), '+-'), '.', ''), '0')
        || 'e'
        || coalesce(nullif(ltrim(split_part(lower(written), 'e', 2), '+'), '')::BIGINT, 0)
        + length(split_part(ltrim(split_part(lower(written), 'e', 1), '+-'), '.', 1))
        - length(replace(ltrim(split_part(lower(written), 'e', 1), '+-'), '.', ''))
        + length(ltrim(replace(ltrim(split_part(lower(written), 'e', 1), '+-'), '.', ''), '0'))
END;

-- A value of a key attribute as it is compared: of type S the text, of N the number's value, of B base64.
CREATE MACRO key_value(written, kind) AS CASE
    WHEN written IS NULL THEN NULL
    WHEN kind = 'N' AND typeof(written) IN ('DOUBLE', 'FLOAT')
        THEN error('a ' || typeof(written) || ' is not exact: write the number as text, ''' || written || '''')
    WHEN kind = 'N' THEN number_value(written::VARCHAR)
    WHEN kind = 'B' AND typeof(written) = 'BLOB' THEN to_base64(written::VARCHAR::BLOB)
    WHEN typeof(written) <> 'VARCHAR'
        THEN error('a key of type ' || kind || ' is no ' || typeof(written) || ': write it as text')
    WHEN kind = 'B' AND starts_with(written::VARCHAR, 'b64:') THEN substr(written::VARCHAR, 5)
    WHEN kind = 'B' AND starts_with(written::VARCHAR, 'hex:') THEN to_base64(from_hex(substr(written::VARCHAR, 5)))
    WHEN kind = 'B' THEN error('''' || written || ''' is not binary: it begins with neither b64: nor hex:')
    ELSE written::VARCHAR
END;

-- A name as a step of a JSON pointer (RFC 6901).
CREATE MACRO pointer_step(name) AS replace(replace(name, '~', '~0'), '/', '~1');
