-- Claim a task for one attempt, by compare-and-set.
--
-- claimed    it is ours until lease_until; the attempt fences every later write
-- early      a retry that is not due yet
-- leased     another worker holds it
-- exhausted  no attempt is left and nobody holds it: it should be failed
-- final      it is done
-- No row: the task is unknown, or belonged to a run that is gone.
CREATE OR REPLACE FUNCTION app.claim_task(p_task_id text, p_lease interval)
RETURNS TABLE (outcome text, task_row app.tasks) LANGUAGE plpgsql AS $$
DECLARE
    v_task app.tasks;
BEGIN
    SELECT * INTO v_task FROM app.tasks t WHERE t.task_id = p_task_id FOR UPDATE;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    IF v_task.status NOT IN ('queued', 'processing') THEN
        RETURN QUERY SELECT 'final', v_task;
        RETURN;
    END IF;
    IF v_task.status = 'queued' AND v_task.due_at > now() + interval '1 second' THEN
        RETURN QUERY SELECT 'early', v_task;
        RETURN;
    END IF;
    IF v_task.status = 'processing' AND v_task.lease_until > now() THEN
        RETURN QUERY SELECT 'leased', v_task;
        RETURN;
    END IF;
    -- Its last attempt is not lost yet: should its worker come back first, it may still win.
    IF v_task.attempt - v_task.spent_attempts >= v_task.attempt_limit THEN
        RETURN QUERY SELECT 'exhausted', v_task;
        RETURN;
    END IF;
    IF v_task.status = 'processing' THEN
        PERFORM app.record_lost_attempt(v_task);
    END IF;

    UPDATE app.tasks t
       SET status = 'processing', attempt = t.attempt + 1, lease_until = now() + p_lease,
           nudged_at = NULL, started_at = now(), progress = 0, progress_message = ''
     WHERE t.task_id = p_task_id
    RETURNING * INTO v_task;
    RETURN QUERY SELECT 'claimed', v_task;
END $$;
