-- Make outputs the assets of an item; the caller writes the item in the same transaction.
--
-- published   they are referenced by the item; what the item or the location had before and does
--             not have any more is superseded, to be removed after a grace period
-- superseded  one of them is not live: superseded_by names the job that wrote over it
-- incomplete  the location has another published tier of the same source: describe that, too
-- `vacated` are the items that have no output left: the caller deletes them.
CREATE OR REPLACE FUNCTION app.publish_outputs(
    p_output_ids bigint[], p_collection_id text, p_item_id text
) RETURNS TABLE (outcome text, superseded_by text, vacated jsonb) LANGUAGE plpgsql AS $$
DECLARE
    v_first app.outputs;
    v_lost  app.outputs;
    v_items jsonb;
BEGIN
    SELECT o.* INTO v_first FROM app.outputs o WHERE o.output_id = p_output_ids[1];
    PERFORM pg_advisory_xact_lock(
        hashtextextended('location ' || v_first.container || '/' || v_first.location, 0));
    PERFORM FROM app.outputs o
      WHERE o.output_id = ANY (p_output_ids) ORDER BY o.output_id FOR UPDATE;
    SELECT o.* INTO v_lost FROM app.outputs o
     WHERE o.output_id = ANY (p_output_ids)
       AND (o.written_at IS NULL OR o.superseded_at IS NOT NULL OR o.removed_at IS NOT NULL)
     LIMIT 1;
    IF FOUND THEN
        RETURN QUERY SELECT 'superseded', v_lost.superseded_by, '[]'::jsonb;
        RETURN;
    END IF;
    IF EXISTS (SELECT FROM app.outputs o
                WHERE o.container = v_first.container AND o.location = v_first.location
                  AND o.source_etag = v_first.source_etag AND o.item_id IS NOT NULL
                  AND o.cog IS NOT NULL AND o.output_id <> ALL (p_output_ids)
                  AND o.superseded_at IS NULL AND o.removed_at IS NULL) THEN
        RETURN QUERY SELECT 'incomplete', NULL::text, '[]'::jsonb;
        RETURN;
    END IF;

    UPDATE app.outputs o
       SET superseded_at = now(), superseded_by = v_first.job_id, is_stale = false
     WHERE o.output_id <> ALL (p_output_ids) AND o.superseded_at IS NULL AND o.removed_at IS NULL
       AND o.item_id IS NOT NULL
       AND (o.container = v_first.container AND o.location = v_first.location
            OR o.collection_id = p_collection_id AND o.item_id = p_item_id);
    -- Items that showed this location under another id.
    SELECT coalesce(jsonb_agg(DISTINCT jsonb_build_array(o.collection_id, o.item_id)), '[]')
      INTO v_items
      FROM app.outputs o
     WHERE o.container = v_first.container AND o.location = v_first.location
       AND o.item_id IS NOT NULL AND o.removed_at IS NULL
       AND (o.collection_id, o.item_id) <> (p_collection_id, p_item_id);
    UPDATE app.outputs o
       SET collection_id = p_collection_id, item_id = p_item_id, is_stale = false
     WHERE o.output_id = ANY (p_output_ids);
    -- Blobs that the item showed and that are gone: the item has been written without them.
    UPDATE app.outputs o SET is_stale = false
     WHERE o.is_stale AND o.collection_id = p_collection_id AND o.item_id = p_item_id;
    SELECT coalesce(jsonb_agg(each), '[]') INTO v_items FROM jsonb_array_elements(v_items) each
     WHERE NOT EXISTS (SELECT FROM app.outputs o
                        WHERE o.collection_id = each->>0 AND o.item_id = each->>1
                          AND o.superseded_at IS NULL AND o.removed_at IS NULL);
    RETURN QUERY SELECT 'published', NULL::text, v_items;
END $$;
