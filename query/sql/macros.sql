-- Order and place of a row in one text, and back. A pack is "label sequence row changed_at": its order is the order of
-- changes, and it says where to read the rest. A mirror counts rows the other way round, so that the greatest pack and
-- the greatest mirror name different rows exactly when several rows tell of the same change.
CREATE MACRO pack_of(ord, row_id, changed_at_ms) AS ord || ' ' || (1000000000000000000 + row_id) || ' ' || changed_at_ms;
CREATE MACRO mirror_of(ord, row_id) AS ord || ' ' || (2000000000000000000 - row_id);
CREATE MACRO label_of(pack) AS split_part(pack, ' ', 1);
CREATE MACRO ord_of(pack) AS split_part(pack, ' ', 1) || ' ' || split_part(pack, ' ', 2);
CREATE MACRO row_of(pack) AS split_part(pack, ' ', 3)::BIGINT - 1000000000000000000;
CREATE MACRO ms_of(pack) AS split_part(pack, ' ', 4)::BIGINT;
CREATE MACRO is_tied(pack, mirror) AS 2000000000000000000 - split_part(mirror, ' ', 3)::BIGINT <> row_of(pack);

-- The same in one number of 127 bits: sequence number (90 bits), file (17 bits), row in the file (20 bits).
CREATE MACRO place_of(row_id) AS ((row_id >> 32) << 20) | (row_id & 1048575);
CREATE MACRO number_of(sequence_number, place) AS (right(sequence_number, 27)::HUGEINT << 37) | place;
CREATE MACRO mirrored(place) AS 137438953471 - place;
CREATE MACRO place_in(number) AS (number & 137438953471)::BIGINT;
CREATE MACRO row_in(number) AS ((place_in(number) >> 20) << 32) | (place_in(number) & 1048575);

-- The top-level names of two images whose values differ as text, in order. NULL: an image that should be there was not
-- carried. Names and values of an object come in the same order; where both images have the same names, values are
-- compared one by one, else what stands in one of them only is left of both, sorted.
CREATE MACRO members_of(image) AS list_zip(json_keys(image), json_extract(image, '$.*')::VARCHAR[]);
CREATE MACRO named_alike(names, older, newer) AS list_transform(
    list_filter(list_zip(names, older, newer), lambda one: one[2] <> one[3]), lambda one: one[1]
);
CREATE MACRO left_alone(members) AS list_filter(
    list_zip(members, list_concat([NULL], members), list_concat(members[2:], [NULL])),
    lambda one: one[1] IS NOT NULL AND one[1] IS DISTINCT FROM one[2] AND one[1] IS DISTINCT FROM one[3]
);
CREATE MACRO named_otherwise(older, newer) AS list_sort(list_distinct(
    list_transform(left_alone(list_sort(list_concat(older, newer))), lambda one: one[1][1])
));
CREATE MACRO names_differing(older, newer) AS CASE WHEN json_keys(older) = json_keys(newer)
    THEN named_alike(json_keys(newer), json_extract(older, '$.*')::VARCHAR[], json_extract(newer, '$.*')::VARCHAR[])
    ELSE named_otherwise(members_of(older), members_of(newer))
END;
CREATE MACRO changed_names(op, old_image, new_image) AS CASE op
    WHEN 'INSERT' THEN json_keys(new_image)
    WHEN 'REMOVE' THEN json_keys(old_image)
    ELSE CASE WHEN old_image IS NOT NULL AND new_image IS NOT NULL THEN names_differing(old_image, new_image) END
END;

-- Where a row stands among the files of a question, the files of the newest layer first, and whether the item existed.
CREATE MACRO place_at(file_rank, row, existed) AS (file_rank::BIGINT << 40) | (row::BIGINT << 1) | existed::BIGINT;
CREATE MACRO rank_of(place) AS place >> 40;
CREATE MACRO row_at(place) AS (place & 1099511627775) >> 1;
CREATE MACRO existed_at(place) AS place & 1 = 1;

-- An item in 16 bytes: the first half of the SHA-256 of its key.
CREATE MACRO item_digest(item_key) AS left(sha256(item_key), 32)::UUID;
