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
