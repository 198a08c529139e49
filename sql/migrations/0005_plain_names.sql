-- Columns get the names that the code and the documentation use. A rolling deploy runs hosts of the
-- previous release against this schema, so what their statements name stays until 0.2's migrations:
--   * tasks.due_at and tasks.lease_until, which they read, are generated from the new columns
--     (this rewrites app.tasks once, under an exclusive lock);
--   * stages.run and tasks.run, which no release reads but the previous one writes and requires
--     in a record, get a default and are not written any more;
--   * app.claim_tasks and app.record_dead_letter wrap the functions that replace them.
ALTER TABLE app.jobs RENAME COLUMN nudged_at TO redelivered_at;
ALTER TABLE app.tasks RENAME COLUMN nudged_at TO redelivered_at;
ALTER TABLE app.tasks RENAME COLUMN due_at TO scheduled_at;
ALTER TABLE app.tasks RENAME COLUMN lease_until TO lease_expires_at;
ALTER TABLE app.tasks
    ADD COLUMN due_at timestamptz GENERATED ALWAYS AS (scheduled_at) STORED,
    ADD COLUMN lease_until timestamptz GENERATED ALWAYS AS (lease_expires_at) STORED,
    ALTER COLUMN run SET DEFAULT 1;
ALTER TABLE app.stages ALTER COLUMN run SET DEFAULT 1;

-- Dead letters with the same content are counted by this index; bodies may exceed what an index
-- entry can hold.
CREATE INDEX dead_letters_alike ON app.dead_letters (queue, md5(body));
