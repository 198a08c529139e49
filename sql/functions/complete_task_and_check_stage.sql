-- Close the task of one attempt, and return its stage, counted down.
--
-- The call that brings open_tasks to zero belongs to the last task of the stage; completions lock
-- the stage's row first, so there is exactly one such call. A task that fails in a stage where all
-- must succeed closes the stage: its other tasks are cancelled.
--
-- Only the attempt that holds the task changes it. Repeated by that attempt, the call changes
-- nothing and gives the same answer; a call of an earlier attempt changes nothing and adds an
-- event. No row: the task belonged to an earlier run of its job.
--
-- `released` is the task that may run in its place, if the stage holds tasks: release_tasks.sql. A
-- repeated call does not return it again; the sweep sends its message.
DROP FUNCTION IF EXISTS app.complete_task_and_check_stage(text, int, jsonb, jsonb);
CREATE OR REPLACE FUNCTION app.complete_task_and_check_stage(
    p_task_id text, p_attempt int, p_result jsonb, p_error jsonb
) RETURNS TABLE (applied boolean, stage_row app.stages, released text) LANGUAGE plpgsql AS $$
DECLARE
    v_task      app.tasks;
    v_stage     app.stages;
    v_fails     boolean := p_error IS NOT NULL;
    v_cancelled int := 0;
BEGIN
    SELECT s.* INTO v_stage
      FROM app.tasks t JOIN app.stages s USING (job_id, stage)
     WHERE t.task_id = p_task_id
       FOR UPDATE OF s;
    IF NOT FOUND THEN
        RETURN;
    END IF;

    IF v_fails AND NOT v_stage.best_effort THEN
        -- All that will be cancelled, in the order in which the heartbeat locks them.
        PERFORM FROM app.tasks t
          WHERE t.job_id = v_stage.job_id AND t.stage = v_stage.stage
            AND t.status IN ('queued', 'processing')
          ORDER BY t.task_id
            FOR UPDATE;
    END IF;

    UPDATE app.tasks t
       SET status = CASE WHEN v_fails THEN 'failed' ELSE 'completed' END,
           result = p_result, error = p_error, lease_expires_at = NULL, finished_at = now(),
           progress = CASE WHEN v_fails THEN t.progress ELSE 1 END
     WHERE t.task_id = p_task_id AND t.attempt = p_attempt AND t.status = 'processing'
    RETURNING * INTO v_task;
    IF NOT FOUND THEN
        PERFORM app.record_late_write(p_task_id, p_attempt);
        RETURN QUERY SELECT false, v_stage, NULL::text;
        RETURN;
    END IF;

    IF v_fails THEN
        PERFORM app.record_event(v_task.job_id, 'task_failed',
            p_error || jsonb_build_object('attempt', p_attempt), p_task_id);
        IF NOT v_stage.best_effort THEN
            v_cancelled := app.cancel_open_tasks(v_stage.job_id, v_stage.stage);
        END IF;
    END IF;

    v_stage := app.count_down(
        v_stage.job_id, v_stage.stage, (NOT v_fails)::int, v_fails::int, v_cancelled);
    IF v_stage.status = 'processing' THEN
        released := (app.release_tasks(v_stage.job_id, v_stage.stage, 1))[1];
    END IF;
    RETURN QUERY SELECT true, v_stage, released;
END $$;
