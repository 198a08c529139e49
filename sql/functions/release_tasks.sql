-- Release held tasks of a stage, those with the smallest index first. Returns their ids in order.
--
-- The caller holds the lock of the stage's row, and sends the messages once it has committed; the
-- sweep sends those that are lost. first_held only grows, so all calls for a stage together read
-- each of its tasks once.
CREATE OR REPLACE FUNCTION app.release_tasks(p_job_id text, p_stage int, p_count int)
RETURNS text[] LANGUAGE plpgsql AS $$
DECLARE
    v_stage    app.stages;
    v_released text[];
    v_last     int;
BEGIN
    SELECT * INTO v_stage FROM app.stages s WHERE s.job_id = p_job_id AND s.stage = p_stage;
    IF v_stage.first_held >= v_stage.total_tasks OR p_count = 0 THEN
        RETURN '{}';
    END IF;
    WITH held AS (
        SELECT t.task_id FROM app.tasks t
         WHERE t.job_id = p_job_id AND t.stage = p_stage AND t.task_index >= v_stage.first_held
           AND t.status = 'queued' AND t.scheduled_at IS NULL
         ORDER BY t.task_index
         LIMIT p_count
    ), released AS (
        UPDATE app.tasks t SET scheduled_at = now() FROM held h WHERE t.task_id = h.task_id
        RETURNING t.task_id, t.task_index
    )
    SELECT coalesce(array_agg(r.task_id ORDER BY r.task_index), '{}'), max(r.task_index)
      INTO v_released, v_last FROM released r;
    UPDATE app.stages s
       SET first_held = CASE WHEN cardinality(v_released) = p_count THEN v_last + 1
                             ELSE s.total_tasks END
     WHERE s.job_id = p_job_id AND s.stage = p_stage;
    RETURN v_released;
END $$;
