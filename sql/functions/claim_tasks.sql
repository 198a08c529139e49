-- Claim tasks for one attempt each, by compare-and-set.
--
-- claimed    it is ours until lease_until; the attempt fences every later write
-- early      a retry that is not due yet
-- leased     another worker holds it
-- alone      its worker vanished, perhaps because of it: it is not claimed beside others
-- exhausted  no attempt is left and nobody holds it: it should be failed
-- final      it is done
-- No row: the task is unknown, or belonged to a run that is gone.
-- Called again with its p_claim_id, because the answer was lost, it finds what it claimed.
-- Rows are locked in one order everywhere, so that claims of many cannot deadlock.
CREATE OR REPLACE FUNCTION app.claim_tasks(p_task_ids text[], p_lease interval, p_claim_id uuid)
RETURNS TABLE (outcome text, task_row app.tasks) LANGUAGE plpgsql AS $$
DECLARE
    v_task app.tasks;
BEGIN
    FOR v_task IN
        SELECT * FROM app.tasks t WHERE t.task_id = ANY (p_task_ids) ORDER BY t.task_id FOR UPDATE
    LOOP
        outcome := CASE
            WHEN v_task.status NOT IN ('queued', 'processing') THEN 'final'
            WHEN v_task.status = 'processing' AND v_task.claim_id = p_claim_id THEN 'claimed'
            WHEN v_task.status = 'queued' AND v_task.due_at > now() + interval '1 second'
                THEN 'early'
            WHEN v_task.status = 'processing' AND v_task.lease_until > now() THEN 'leased'
            -- Its last attempt is not lost yet: should its worker come back first, it may still win.
            WHEN v_task.attempt - v_task.spent_attempts >= v_task.attempt_limit THEN 'exhausted'
            WHEN v_task.status = 'processing' AND cardinality(p_task_ids) > 1 THEN 'alone'
            ELSE 'claimed' END;
        IF outcome = 'claimed' AND v_task.claim_id IS DISTINCT FROM p_claim_id THEN
            IF v_task.status = 'processing' THEN
                PERFORM app.record_lost_attempt(v_task);
            END IF;
            UPDATE app.tasks t
               SET status = 'processing', attempt = t.attempt + 1, lease_until = now() + p_lease,
                   claim_id = p_claim_id, nudged_at = NULL, started_at = now(), progress = 0, progress_message = ''
             WHERE t.task_id = v_task.task_id
            RETURNING * INTO v_task;
        END IF;
        task_row := v_task;
        RETURN NEXT;
    END LOOP;
END $$;
