-- Store a dead-lettered message, add it to its job's timeline, and return how many messages of
-- that queue with the same body and reason are stored. Storing a message again changes nothing.
--
-- No task or job changes state: the sweep sends the message of whatever is due again.
CREATE OR REPLACE FUNCTION app.store_dead_letter(
    p_queue text, p_message_id text, p_reason text, p_description text, p_body text,
    p_job_id text, p_task_id text
) RETURNS bigint LANGUAGE plpgsql AS $$
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
    RETURN (SELECT count(*) FROM app.dead_letters
             WHERE queue = p_queue AND md5(body) = md5(p_body) AND body = p_body
               AND reason IS NOT DISTINCT FROM p_reason);
END $$;
