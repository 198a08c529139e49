-- Count a stage down by tasks that ended, and close it with its last one.
--
-- The caller holds the lock of the stage's row, so exactly one call brings open_tasks to zero.
CREATE OR REPLACE FUNCTION app.count_down(
    p_job_id text, p_stage int, p_completed int, p_failed int, p_cancelled int
) RETURNS app.stages LANGUAGE plpgsql AS $$
DECLARE
    v_ended int := p_completed + p_failed + p_cancelled;
    v_stage app.stages;
BEGIN
    UPDATE app.stages s
       SET open_tasks      = s.open_tasks - v_ended,
           failed_tasks    = s.failed_tasks + p_failed,
           cancelled_tasks = s.cancelled_tasks + p_cancelled,
           finished_at     = CASE WHEN s.open_tasks = v_ended THEN now() END,
           status = CASE WHEN s.open_tasks > v_ended THEN s.status
                         WHEN s.failed_tasks + p_failed = 0 THEN 'completed'
                         WHEN s.best_effort THEN 'completed_with_errors'
                         ELSE 'failed' END
     WHERE s.job_id = p_job_id AND s.stage = p_stage
    RETURNING * INTO v_stage;
    IF v_stage.open_tasks = 0 THEN
        PERFORM app.record_event(p_job_id, 'stage_' || v_stage.status,
            jsonb_build_object('stage', p_stage, 'failed', v_stage.failed_tasks,
                               'cancelled', v_stage.cancelled_tasks));
    END IF;
    RETURN v_stage;
END $$;
