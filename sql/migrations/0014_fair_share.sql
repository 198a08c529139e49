-- A stage releases only some of its tasks at once, so that jobs share the queues fairly.
--
-- A held task has no scheduled_at and no message. Stages of the previous release have no limit.
ALTER TABLE app.jobs
    ADD COLUMN priority text NOT NULL DEFAULT 'normal'
        CHECK (priority IN ('low', 'normal', 'high'));

ALTER TABLE app.stages
    ADD COLUMN in_flight_limit int CHECK (in_flight_limit >= 1),
    ADD COLUMN first_held int NOT NULL DEFAULT 0;

COMMENT ON COLUMN app.stages.in_flight_limit IS
    'how many of its tasks may be released and open; NULL means all';
COMMENT ON COLUMN app.stages.first_held IS
    'no task with a smaller index is held';

ALTER TABLE app.tasks ALTER COLUMN scheduled_at DROP NOT NULL;
