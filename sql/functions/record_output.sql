-- Record what an output's upload stored: it becomes the live output of its blob.
--
-- lost        the attempt does not hold its task any more: nothing is recorded
-- superseded  another upload to the blob came after this one
-- live        this is what the blob holds
-- Uploads replace a version of the blob that they name, so the versions form a chain: when an
-- output that replaced this one is recorded first, this one is superseded on arrival. p_is_current
-- says whether the blob still had this ETag after the upload. An item that showed the blob goes
-- on showing it, so the item stays with the live output, which is stale until it is published if
-- the bytes differ. With p_attempt NULL a row is restored from the blob's mark, after its worker
-- was lost. Repeated, it gives the same answer.
CREATE OR REPLACE FUNCTION app.record_output(
    p_output_id bigint, p_attempt int, p_etag text, p_replaced_etag text, p_is_current boolean,
    p_checksum text, p_size bigint, p_cog jsonb
) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    v_output app.outputs;
    v_live   app.outputs;
    v_newer  text;
BEGIN
    SELECT * INTO v_output FROM app.outputs WHERE output_id = p_output_id;
    PERFORM pg_advisory_xact_lock(
        hashtextextended('output ' || v_output.container || '/' || v_output.name, 0));
    SELECT * INTO v_output FROM app.outputs WHERE output_id = p_output_id FOR UPDATE;
    IF v_output.written_at IS NOT NULL AND v_output.etag = p_etag THEN
        RETURN CASE WHEN v_output.superseded_at IS NULL THEN 'live' ELSE 'superseded' END;
    END IF;
    IF v_output.removed_at IS NOT NULL OR v_output.written_at IS NOT NULL THEN
        RETURN 'lost';
    END IF;
    IF p_attempt IS NOT NULL THEN
        PERFORM FROM app.tasks t
          WHERE t.task_id = v_output.task_id AND t.attempt = p_attempt AND t.status = 'processing'
            FOR SHARE;
        IF NOT FOUND THEN
            RETURN 'lost';
        END IF;
    END IF;

    SELECT * INTO v_live FROM app.outputs o
     WHERE o.container = v_output.container AND o.name = v_output.name
       AND o.written_at IS NOT NULL AND o.superseded_at IS NULL AND o.removed_at IS NULL
       FOR UPDATE;
    SELECT o.job_id INTO v_newer FROM app.outputs o
     WHERE o.container = v_output.container AND o.name = v_output.name
       AND o.written_at IS NOT NULL AND o.replaced_etag = p_etag
     ORDER BY o.output_id DESC LIMIT 1;
    IF v_newer IS NOT NULL OR NOT p_is_current THEN
        UPDATE app.outputs
           SET etag = p_etag, replaced_etag = p_replaced_etag, checksum = p_checksum,
               size = p_size, cog = p_cog, written_at = now(), superseded_at = now(),
               superseded_by = coalesce(v_newer, v_live.job_id), removed_at = now()
         WHERE output_id = p_output_id;
        RETURN 'superseded';
    END IF;

    UPDATE app.outputs
       SET superseded_at = now(), superseded_by = v_output.job_id, removed_at = now(),
           is_stale = false
     WHERE output_id = v_live.output_id;
    -- Superseded already, and waiting to be removed: its bytes are overwritten now.
    UPDATE app.outputs o SET removed_at = now()
     WHERE o.container = v_output.container AND o.name = v_output.name
       AND o.written_at IS NOT NULL AND o.superseded_at IS NOT NULL AND o.removed_at IS NULL;
    UPDATE app.outputs
       SET etag = p_etag, replaced_etag = p_replaced_etag, checksum = p_checksum, size = p_size,
           cog = p_cog, written_at = now(),
           collection_id = v_live.collection_id, item_id = v_live.item_id,
           is_stale = v_live.item_id IS NOT NULL
                      AND (v_live.is_stale OR v_live.checksum IS DISTINCT FROM p_checksum)
     WHERE output_id = p_output_id;
    RETURN 'live';
END $$;
