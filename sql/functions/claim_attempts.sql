-- Claim one attempt of each task, by compare-and-set.
--
-- claimed    the caller holds it until lease_expires_at; the attempt fences every later write
-- early      a retry that is not due yet
-- leased     another worker holds it
-- run_alone  its last worker was lost, perhaps because of it: not claimed in a batch
-- exhausted  no attempts are left and no worker holds it: the caller should fail it
-- final      it has ended
-- No row: the task does not exist, or belonged to an earlier run of its job.
-- Repeated with the same p_claim_id, because the answer was lost, it returns the same claims.
-- All functions lock task rows in the order of their ids, so batches cannot deadlock.
CREATE OR REPLACE FUNCTION app.claim_attempts(p_task_ids text[], p_lease interval, p_claim_id uuid)
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
            WHEN v_task.status = 'queued' AND v_task.scheduled_at > now() + interval '1 second'
                THEN 'early'
            WHEN v_task.status = 'processing' AND v_task.lease_expires_at > now() THEN 'leased'
            -- The last attempt is not recorded as lost here: its worker may still complete it.
            WHEN v_task.attempt - v_task.spent_attempts >= v_task.attempt_limit THEN 'exhausted'
            WHEN v_task.status = 'processing' AND cardinality(p_task_ids) > 1 THEN 'run_alone'
            ELSE 'claimed' END;
        IF outcome = 'claimed' AND v_task.claim_id IS DISTINCT FROM p_claim_id THEN
            IF v_task.status = 'processing' THEN
                PERFORM app.record_lost_attempt(v_task);
            END IF;
            UPDATE app.tasks t
               SET status = 'processing', attempt = t.attempt + 1, claim_id = p_claim_id,
                   lease_expires_at = now() + p_lease, redelivered_at = NULL,
                   started_at = now(), progress = 0, progress_message = ''
             WHERE t.task_id = v_task.task_id
            RETURNING * INTO v_task;
        END IF;
        task_row := v_task;
        RETURN NEXT;
    END LOOP;
END $$;
