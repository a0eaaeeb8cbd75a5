-- The first and the last change of the segments, in order; NULL where they have none.
SELECT min(stream_label || ' ' || sequence_number), max(stream_label || ' ' || sequence_number) FROM stat_rows_of_segments
