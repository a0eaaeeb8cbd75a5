-- For Athena: every change once. Rows that tell of the same change in the same words are one row, and `copies` says how
-- many there were. Rows that tell of it in different words all stay, and `tellings` says how many of them there are: 1,
-- or the evidence contradicts itself and nobody has chosen. What a segment knew and another did not yet (pk, sk) is filled
-- in. Hour and day are among the words so that a condition on them still leaves out what need not be read.
SELECT
    max(change_id) AS change_id,
    op,
    changed_at,
    sequence_number,
    stream_label,
    item_key,
    max(pk) AS pk,
    max(sk) AS sk,
    old_image,
    new_image,
    max(user_identity) AS user_identity,
    max(event) AS event,
    dt,
    hour,
    count(*) AS copies,
    count(*) OVER (PARTITION BY dt, hour, stream_label, sequence_number, item_key) AS tellings
FROM segments
GROUP BY op, changed_at, sequence_number, stream_label, item_key, old_image, new_image, dt, hour
