-- What DuckDB alone makes of images. Canonical DynamoDB JSON is read token by token: every brace at an even depth is the
-- wrapper of a value, {"S":"PAID"}, so the token after it is the type; inside SS, NS and BS there are elements only.
CREATE MACRO image_tokens(image) AS TABLE
WITH listed AS (
    SELECT regexp_extract_all(image, '"(?:[^"\\]|\\.)*"|[}{\[\],:]|true|false|null') AS tokens
),
placed AS (
    SELECT unnest(tokens) AS token, generate_subscripts(tokens, 1) AS place FROM listed
),
nested AS (
    SELECT
        place,
        token,
        coalesce(sum((token IN ('{', '['))::INTEGER) OVER upto, 0)
        - coalesce(sum((token IN ('}', ']'))::INTEGER) OVER before, 0) AS depth
    FROM placed
    WINDOW
        upto AS (ORDER BY place ROWS UNBOUNDED PRECEDING),
        before AS (ORDER BY place ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
),
typed AS (
    SELECT
        *,
        token IN ('{', '}') AND depth % 2 = 0 AS is_wrapper,
        coalesce(lag(token = '{' AND depth % 2 = 0) OVER places, false) AS is_type
    FROM nested
    WINDOW places AS (ORDER BY place)
),
told AS (
    SELECT
        *,
        is_wrapper OR is_type OR coalesce(lag(is_type) OVER places, false) AS is_syntax,
        CASE WHEN lag(is_type, 2) OVER places THEN lag(token, 2) OVER places END AS kind
    FROM typed
    WINDOW places AS (ORDER BY place)
),
in_sets AS (
    SELECT
        *,
        max(CASE WHEN token = '[' AND kind IN ('"SS"', '"NS"', '"BS"') THEN {'place': place, 'kind': kind} END) OVER upto
            AS set_begun,
        max(CASE WHEN token = ']' THEN place END) OVER upto AS list_ended
    FROM told
    WINDOW upto AS (ORDER BY place ROWS UNBOUNDED PRECEDING)
),
marked AS (
    SELECT
        *,
        coalesce(set_begun.place > coalesce(list_ended, 0) AND place > set_begun.place, false) AS is_in_set
    FROM in_sets
)
SELECT
    place,
    token,
    is_syntax,
    is_in_set,
    CASE WHEN is_in_set THEN set_begun.kind ELSE kind END AS kind,
    CASE WHEN is_in_set THEN set_begun.place ELSE place END AS group_place,
    CASE WHEN starts_with(token, '"') THEN token[2:-2] END AS text
FROM marked
WHERE NOT (is_in_set AND token = ',');

-- Numbers in order: sign, where the digits begin, digits.
CREATE MACRO number_order(value) AS CASE
    WHEN value = '0' THEN {'sign': 0, 'place': 0::BIGINT, 'digits': ''}
    WHEN starts_with(value, '-') THEN {
        'sign': -1,
        'place': -(split_part(value, 'e', 2)::BIGINT),
        'digits': translate(split_part(value[2:], 'e', 1), '0123456789', '9876543210') || '~'
    }
    ELSE {'sign': 1, 'place': split_part(value, 'e', 2)::BIGINT, 'digits': split_part(value, 'e', 1)}
END;

-- A number as JSON writes it: as it was written, unless JSON has no such spelling.
CREATE MACRO plain_number(written) AS CASE
    WHEN regexp_full_match(written, '-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?') THEN written
    WHEN number_value(written) = '0' THEN '0'
    ELSE CASE WHEN starts_with(written, '-') THEN '-0.' ELSE '0.' END || ltrim(number_value(written), '-')
END;

-- The tokens of an image written once more without types, elements of a set in order, commas put between them anew.
CREATE MACRO plain_item(image) AS CASE WHEN image IS NOT NULL THEN (
    SELECT string_agg(CASE WHEN rank > 1 THEN ',' ELSE '' END || written, '' ORDER BY group_place, rank)
    FROM (
        SELECT
            group_place,
            CASE
                WHEN kind IN ('"N"', '"NS"') AND text IS NOT NULL THEN plain_number(text)
                WHEN kind = '"NULL"' THEN 'null'
                ELSE token
            END AS written,
            CASE WHEN is_in_set
                THEN row_number() OVER (PARTITION BY is_in_set, group_place ORDER BY number_place, element)
                ELSE 0
            END AS rank
        FROM (
            SELECT
                *,
                CASE WHEN is_in_set AND kind = '"NS"' AND text IS NOT NULL THEN number_order(number_value(text)) END
                    AS number_place,
                CASE WHEN is_in_set AND text IS NOT NULL THEN json_extract_string(token, '$') END AS element
            FROM image_tokens(image)
            WHERE NOT is_syntax
        )
    )
) END;

-- A text that two images share exactly if they are the same value: sets as sets, numbers as numbers.
CREATE MACRO value_text(image) AS CASE WHEN image IS NOT NULL THEN (
    SELECT string_agg(CASE WHEN rank > 1 THEN ',' ELSE '' END || written, '' ORDER BY group_place, rank)
    FROM (
        SELECT
            group_place,
            written,
            CASE WHEN is_in_set THEN row_number() OVER (PARTITION BY is_in_set, group_place ORDER BY written) ELSE 0 END
                AS rank
        FROM (
            SELECT DISTINCT
                group_place,
                is_in_set,
                CASE WHEN kind IN ('"N"', '"NS"') AND text IS NOT NULL THEN '"' || number_value(text) || '"' ELSE token END
                    AS written
            FROM image_tokens(image)
        )
    )
) END;

CREATE MACRO is_comparable(op, old_image, new_image) AS
    (old_image IS NOT NULL OR op = 'INSERT') AND (new_image IS NOT NULL OR op = 'REMOVE');

CREATE MACRO changed_attributes(op, old_image, new_image) AS CASE WHEN is_comparable(op, old_image, new_image) THEN (
    SELECT
        list_filter(
            list_sort(list_distinct(list_concat(json_keys(older), json_keys(newer)))),
            lambda name: json_extract(older, '/' || pointer_step(name))
            IS DISTINCT FROM json_extract(newer, '/' || pointer_step(name))
        )
    FROM (
        SELECT coalesce(value_text(old_image), '{' || '}') AS older, coalesce(value_text(new_image), '{' || '}') AS newer
    )
) END;
