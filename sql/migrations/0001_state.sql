-- Jobs, stages and tasks: the truth of the orchestrator. Messages are only hints.

CREATE TABLE app.jobs (
    job_id       text PRIMARY KEY CHECK (job_id ~ '^[0-9a-f]{64}$'),
    job_type     text NOT NULL,
    version      int NOT NULL,
    parameters   jsonb NOT NULL,
    status       text NOT NULL DEFAULT 'queued' CHECK (status IN
                 ('queued', 'processing', 'completed', 'completed_with_errors', 'failed', 'cancelled')),
    run          int NOT NULL DEFAULT 1 CHECK (run >= 1),
    stage        int NOT NULL DEFAULT 0 CHECK (stage BETWEEN 0 AND total_stages),
    total_stages int NOT NULL CHECK (total_stages >= 1),
    result       jsonb,
    error        jsonb,
    nudged_at    timestamptz,
    discarded_at timestamptz,
    created_at   timestamptz NOT NULL DEFAULT now(),
    updated_at   timestamptz NOT NULL DEFAULT now(),
    started_at   timestamptz,
    finished_at  timestamptz,
    CHECK ((finished_at IS NOT NULL) = (status NOT IN ('queued', 'processing')))
);
CREATE INDEX jobs_newest ON app.jobs (created_at DESC, job_id);
CREATE INDEX jobs_open ON app.jobs (updated_at) WHERE status IN ('queued', 'processing');
CREATE INDEX jobs_undiscarded ON app.jobs (finished_at)
    WHERE status = 'cancelled' AND discarded_at IS NULL;
CREATE INDEX jobs_finished ON app.jobs (finished_at) WHERE finished_at IS NOT NULL;

CREATE TABLE app.stages (
    job_id          text NOT NULL REFERENCES app.jobs ON DELETE CASCADE,
    run             int NOT NULL,
    stage           int NOT NULL CHECK (stage >= 1),
    task_type       text NOT NULL,
    best_effort     boolean NOT NULL,
    status          text NOT NULL CHECK (status IN
                    ('processing', 'completed', 'completed_with_errors', 'failed', 'cancelled')),
    total_tasks     int NOT NULL,
    open_tasks      int NOT NULL,
    failed_tasks    int NOT NULL DEFAULT 0,
    cancelled_tasks int NOT NULL DEFAULT 0,
    created_at      timestamptz NOT NULL DEFAULT now(),
    finished_at     timestamptz,
    PRIMARY KEY (job_id, stage),
    -- Counters that drift would be refused here.
    CHECK (open_tasks >= 0 AND failed_tasks >= 0 AND cancelled_tasks >= 0),
    CHECK (open_tasks + failed_tasks + cancelled_tasks <= total_tasks),
    CHECK ((open_tasks = 0) = (status <> 'processing'))
);

-- Half-empty pages let the two updates of a task's life stay on their page (HOT):
-- none of the indexed columns changes.
CREATE TABLE app.tasks (
    task_id          text PRIMARY KEY,
    job_id           text NOT NULL,
    run              int NOT NULL,
    stage            int NOT NULL,
    task_index       int NOT NULL,
    task_type        text NOT NULL,
    parameters       jsonb NOT NULL,
    status           text NOT NULL DEFAULT 'queued' CHECK (status IN
                     ('queued', 'processing', 'completed', 'failed', 'cancelled')),
    attempt          int NOT NULL DEFAULT 0,
    spent_attempts   int NOT NULL DEFAULT 0,
    attempt_limit    int NOT NULL CHECK (attempt_limit >= 1),
    due_at           timestamptz NOT NULL DEFAULT now(),
    lease_until      timestamptz,
    nudged_at        timestamptz,
    progress         real NOT NULL DEFAULT 0 CHECK (progress BETWEEN 0 AND 1),
    progress_message text NOT NULL DEFAULT '',
    result           jsonb,
    error            jsonb,
    created_at       timestamptz NOT NULL DEFAULT now(),
    started_at       timestamptz,
    finished_at      timestamptz,
    FOREIGN KEY (job_id, stage) REFERENCES app.stages ON DELETE CASCADE,
    CHECK ((status = 'processing') = (lease_until IS NOT NULL)),
    CHECK ((finished_at IS NOT NULL) = (status IN ('completed', 'failed', 'cancelled')))
) WITH (fillfactor = 60);
CREATE UNIQUE INDEX tasks_of_stage ON app.tasks (job_id, stage, task_index);

-- Attempts that did not complete their task; the last one's times stand on the task.
CREATE TABLE app.attempts (
    task_id     text NOT NULL REFERENCES app.tasks ON DELETE CASCADE,
    attempt     int NOT NULL,
    started_at  timestamptz NOT NULL,
    finished_at timestamptz NOT NULL DEFAULT now(),
    error       jsonb NOT NULL,
    PRIMARY KEY (task_id, attempt)
);

CREATE TABLE app.events (
    event_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    job_id   text NOT NULL REFERENCES app.jobs ON DELETE CASCADE,
    task_id  text,
    at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    kind     text NOT NULL,
    detail   jsonb NOT NULL DEFAULT '{}'
);
CREATE INDEX events_of_job ON app.events (job_id, event_id);

-- Messages that ended in a dead-letter queue, readable or not.
CREATE TABLE app.dead_letters (
    dead_letter_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    queue          text NOT NULL,
    message_id     text NOT NULL,
    reason         text,
    description    text,
    body           text NOT NULL,
    job_id         text,
    task_id        text,
    at             timestamptz NOT NULL DEFAULT now(),
    UNIQUE (queue, message_id)
);

-- One row: when the sweep last ran and what it has repaired.
CREATE TABLE app.sweeps (
    only_row       boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    last_run_at    timestamptz,
    last_repaired  int NOT NULL DEFAULT 0,
    total_repaired bigint NOT NULL DEFAULT 0
);
INSERT INTO app.sweeps DEFAULT VALUES;

-- Which status may follow which. Everything else is refused, whoever asks.
CREATE TABLE app.transitions (
    entity      text NOT NULL CHECK (entity IN ('job', 'task')),
    from_status text NOT NULL,
    to_status   text NOT NULL,
    PRIMARY KEY (entity, from_status, to_status)
);
INSERT INTO app.transitions VALUES
    ('job', 'queued', 'processing'),
    ('job', 'queued', 'failed'),
    ('job', 'queued', 'cancelled'),
    ('job', 'processing', 'completed'),
    ('job', 'processing', 'completed_with_errors'),
    ('job', 'processing', 'failed'),
    ('job', 'processing', 'cancelled'),
    ('job', 'failed', 'queued'),
    ('job', 'cancelled', 'queued'),
    ('job', 'failed', 'processing'),
    ('job', 'completed_with_errors', 'processing'),
    ('task', 'queued', 'processing'),
    ('task', 'queued', 'cancelled'),
    ('task', 'processing', 'queued'),
    ('task', 'processing', 'completed'),
    ('task', 'processing', 'failed'),
    ('task', 'processing', 'cancelled'),
    ('task', 'failed', 'queued'),
    ('task', 'cancelled', 'queued');

CREATE FUNCTION app.refuse_transition() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM app.transitions
                    WHERE entity = TG_ARGV[0]
                      AND from_status = OLD.status AND to_status = NEW.status) THEN
        RAISE EXCEPTION 'a % cannot go from % to %', TG_ARGV[0], OLD.status, NEW.status
              USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;

CREATE TRIGGER jobs_transition BEFORE UPDATE OF status ON app.jobs
    FOR EACH ROW WHEN (OLD.status <> NEW.status) EXECUTE FUNCTION app.refuse_transition('job');
CREATE TRIGGER tasks_transition BEFORE UPDATE OF status ON app.tasks
    FOR EACH ROW WHEN (OLD.status <> NEW.status) EXECUTE FUNCTION app.refuse_transition('task');
