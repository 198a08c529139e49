-- Keep a message that ended in a dead-letter queue, and tell its job. Safe to repeat.
--
-- No state changes: the tables know what is due, and the sweep sends its message again.
CREATE OR REPLACE FUNCTION app.record_dead_letter(
    p_queue text, p_message_id text, p_reason text, p_description text, p_body text,
    p_job_id text, p_task_id text
) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    v_job_id text := coalesce(p_job_id, (SELECT job_id FROM app.tasks WHERE task_id = p_task_id));
BEGIN
    INSERT INTO app.dead_letters (queue, message_id, reason, description, body, job_id, task_id)
    VALUES (p_queue, p_message_id, p_reason, p_description, p_body, v_job_id, p_task_id)
    ON CONFLICT DO NOTHING;
    IF FOUND AND EXISTS (SELECT FROM app.jobs WHERE job_id = v_job_id) THEN
        PERFORM app.record_event(v_job_id, 'dead_lettered',
            jsonb_build_object('queue', p_queue, 'reason', p_reason,
                               'description', p_description), p_task_id);
    END IF;
END $$;
