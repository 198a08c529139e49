-- The previous release's name for store_dead_letter. Dropped once no host of that release can run.
CREATE OR REPLACE FUNCTION app.record_dead_letter(
    p_queue text, p_message_id text, p_reason text, p_description text, p_body text,
    p_job_id text, p_task_id text
) RETURNS void LANGUAGE sql AS $$
    SELECT app.store_dead_letter(
        p_queue, p_message_id, p_reason, p_description, p_body, p_job_id, p_task_id);
$$;
