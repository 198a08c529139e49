-- The tables of schema app after all migrations, as pg_dump writes them. Functions are in
-- sql/functions. Generated: UPDATE_SCHEMA=1 ./dev test tests/integration/test_schema.py

CREATE TABLE app.jobs (
    job_id text NOT NULL,
    job_type text NOT NULL,
    version integer NOT NULL,
    parameters jsonb NOT NULL,
    status text DEFAULT 'queued'::text NOT NULL,
    run integer DEFAULT 1 NOT NULL,
    stage integer DEFAULT 0 NOT NULL,
    total_stages integer NOT NULL,
    result jsonb,
    error jsonb,
    redelivered_at timestamp with time zone,
    discarded_at timestamp with time zone,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    started_at timestamp with time zone,
    finished_at timestamp with time zone,
    retry_id uuid,
    correlation_id text,
    priority text DEFAULT 'normal'::text NOT NULL,
    traceparent text,
    CONSTRAINT jobs_check CHECK (((stage >= 0) AND (stage <= total_stages))),
    CONSTRAINT jobs_check1 CHECK (((finished_at IS NOT NULL) = (status <> ALL (ARRAY['queued'::text, 'processing'::text])))),
    CONSTRAINT jobs_job_id_check CHECK ((job_id ~ '^[0-9a-f]{64}$'::text)),
    CONSTRAINT jobs_priority_check CHECK ((priority = ANY (ARRAY['low'::text, 'normal'::text, 'high'::text]))),
    CONSTRAINT jobs_run_check CHECK ((run >= 1)),
    CONSTRAINT jobs_status_check CHECK ((status = ANY (ARRAY['queued'::text, 'processing'::text, 'completed'::text, 'completed_with_errors'::text, 'failed'::text, 'cancelled'::text]))),
    CONSTRAINT jobs_total_stages_check CHECK ((total_stages >= 1))
);

CREATE TABLE app.tasks (
    task_id text NOT NULL,
    job_id text NOT NULL,
    run integer DEFAULT 1 NOT NULL,
    stage integer NOT NULL,
    task_index integer NOT NULL,
    task_type text NOT NULL,
    parameters jsonb NOT NULL,
    status text DEFAULT 'queued'::text NOT NULL,
    attempt integer DEFAULT 0 NOT NULL,
    spent_attempts integer DEFAULT 0 NOT NULL,
    attempt_limit integer NOT NULL,
    scheduled_at timestamp with time zone DEFAULT now(),
    lease_expires_at timestamp with time zone,
    redelivered_at timestamp with time zone,
    progress real DEFAULT 0 NOT NULL,
    progress_message text DEFAULT ''::text NOT NULL,
    result jsonb,
    error jsonb,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    started_at timestamp with time zone,
    finished_at timestamp with time zone,
    claim_id uuid,
    due_at timestamp with time zone GENERATED ALWAYS AS (scheduled_at) STORED,
    lease_until timestamp with time zone GENERATED ALWAYS AS (lease_expires_at) STORED,
    CONSTRAINT tasks_attempt_limit_check CHECK ((attempt_limit >= 1)),
    CONSTRAINT tasks_check CHECK (((status = 'processing'::text) = (lease_expires_at IS NOT NULL))),
    CONSTRAINT tasks_check1 CHECK (((finished_at IS NOT NULL) = (status = ANY (ARRAY['completed'::text, 'failed'::text, 'cancelled'::text])))),
    CONSTRAINT tasks_progress_check CHECK (((progress >= (0)::double precision) AND (progress <= (1)::double precision))),
    CONSTRAINT tasks_status_check CHECK ((status = ANY (ARRAY['queued'::text, 'processing'::text, 'completed'::text, 'failed'::text, 'cancelled'::text])))
)
WITH (fillfactor='60');

CREATE TABLE app.stages (
    job_id text NOT NULL,
    run integer DEFAULT 1 NOT NULL,
    stage integer NOT NULL,
    task_type text NOT NULL,
    best_effort boolean NOT NULL,
    status text NOT NULL,
    total_tasks integer NOT NULL,
    open_tasks integer NOT NULL,
    failed_tasks integer DEFAULT 0 NOT NULL,
    cancelled_tasks integer DEFAULT 0 NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    finished_at timestamp with time zone,
    in_flight_limit integer,
    first_held integer DEFAULT 0 NOT NULL,
    CONSTRAINT stages_check CHECK (((open_tasks >= 0) AND (failed_tasks >= 0) AND (cancelled_tasks >= 0))),
    CONSTRAINT stages_check1 CHECK ((((open_tasks + failed_tasks) + cancelled_tasks) <= total_tasks)),
    CONSTRAINT stages_check2 CHECK (((open_tasks = 0) = (status <> 'processing'::text))),
    CONSTRAINT stages_in_flight_limit_check CHECK ((in_flight_limit >= 1)),
    CONSTRAINT stages_stage_check CHECK ((stage >= 1)),
    CONSTRAINT stages_status_check CHECK ((status = ANY (ARRAY['processing'::text, 'completed'::text, 'completed_with_errors'::text, 'failed'::text, 'cancelled'::text])))
);

COMMENT ON COLUMN app.stages.in_flight_limit IS 'how many of its tasks may be released and open; NULL means all';

COMMENT ON COLUMN app.stages.first_held IS 'no task with a smaller index is held';

CREATE TABLE app.attempts (
    task_id text NOT NULL,
    attempt integer NOT NULL,
    started_at timestamp with time zone NOT NULL,
    finished_at timestamp with time zone DEFAULT now() NOT NULL,
    error jsonb NOT NULL
);

CREATE TABLE app.dead_letters (
    dead_letter_id bigint NOT NULL,
    queue text NOT NULL,
    message_id text NOT NULL,
    reason text,
    description text,
    body text NOT NULL,
    job_id text,
    task_id text,
    at timestamp with time zone DEFAULT now() NOT NULL
);

ALTER TABLE app.dead_letters ALTER COLUMN dead_letter_id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME app.dead_letters_dead_letter_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE app.events (
    event_id bigint NOT NULL,
    job_id text NOT NULL,
    task_id text,
    at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    kind text NOT NULL,
    detail jsonb DEFAULT '{}'::jsonb NOT NULL,
    correlation_id text
);

ALTER TABLE app.events ALTER COLUMN event_id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME app.events_event_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE app.migrations (
    number integer NOT NULL,
    name text NOT NULL,
    applied_at timestamp with time zone DEFAULT now() NOT NULL
);

CREATE TABLE app.output_locations (
    container text NOT NULL,
    location text NOT NULL COLLATE pg_catalog."C",
    owner text NOT NULL
);

CREATE TABLE app.outputs (
    output_id bigint NOT NULL,
    container text NOT NULL,
    name text NOT NULL COLLATE pg_catalog."C",
    location text NOT NULL COLLATE pg_catalog."C",
    tier text NOT NULL,
    source text NOT NULL COLLATE pg_catalog."C",
    source_etag text NOT NULL,
    request text NOT NULL,
    generation integer NOT NULL,
    job_id text NOT NULL,
    task_id text NOT NULL COLLATE pg_catalog."C",
    etag text,
    replaced_etag text,
    checksum text,
    size bigint,
    cog jsonb,
    collection_id text,
    item_id text,
    begun_at timestamp with time zone DEFAULT now() NOT NULL,
    written_at timestamp with time zone,
    superseded_at timestamp with time zone,
    superseded_by text,
    removed_at timestamp with time zone,
    discarded boolean DEFAULT false NOT NULL,
    is_stale boolean DEFAULT false NOT NULL,
    CONSTRAINT outputs_check CHECK (((written_at IS NULL) = (etag IS NULL))),
    CONSTRAINT outputs_check1 CHECK (((collection_id IS NULL) = (item_id IS NULL)))
);

COMMENT ON COLUMN app.outputs.location IS 'folder and name of the COG without its tier';

COMMENT ON COLUMN app.outputs.request IS 'id of the job that the request has in generation 0';

COMMENT ON COLUMN app.outputs.superseded_at IS 'since when a newer output or no output is valid';

COMMENT ON COLUMN app.outputs.superseded_by IS 'the job that wrote the newer output';

COMMENT ON COLUMN app.outputs.removed_at IS 'since when its bytes are gone';

COMMENT ON COLUMN app.outputs.discarded IS 'removed because its job was cancelled';

COMMENT ON COLUMN app.outputs.is_stale IS 'its item describes other bytes than the blob holds';

ALTER TABLE app.outputs ALTER COLUMN output_id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME app.outputs_output_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE app.overviews (
    name text NOT NULL,
    collection_id text NOT NULL,
    task_id text NOT NULL,
    changed_at timestamp with time zone DEFAULT now()
);

COMMENT ON TABLE app.overviews IS 'overviews of collections that are stored';

COMMENT ON COLUMN app.overviews.name IS 'of the blob in the silver container';

COMMENT ON COLUMN app.overviews.task_id IS 'the task that wrote it';

COMMENT ON COLUMN app.overviews.changed_at IS 'when it was written or the collection''s overview changed; null once the collection is known to name it';

CREATE TABLE app.removals (
    removal_id bigint NOT NULL,
    collection_id text NOT NULL,
    item_id text NOT NULL,
    source text COLLATE pg_catalog."C",
    removed_at timestamp with time zone DEFAULT now() NOT NULL
);

ALTER TABLE app.removals ALTER COLUMN removal_id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME app.removals_removal_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE app.request_keys (
    key text NOT NULL,
    fingerprint text NOT NULL,
    job_id text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT request_keys_key_check CHECK (((length(key) >= 1) AND (length(key) <= 255)))
);

CREATE TABLE app.sweeps (
    only_row boolean DEFAULT true NOT NULL,
    last_run_at timestamp with time zone,
    last_repaired integer DEFAULT 0 NOT NULL,
    total_repaired bigint DEFAULT 0 NOT NULL,
    CONSTRAINT sweeps_only_row_check CHECK (only_row)
);

CREATE TABLE app.transitions (
    entity text NOT NULL,
    from_status text NOT NULL,
    to_status text NOT NULL,
    CONSTRAINT transitions_entity_check CHECK ((entity = ANY (ARRAY['job'::text, 'task'::text])))
);

ALTER TABLE ONLY app.attempts
    ADD CONSTRAINT attempts_pkey PRIMARY KEY (task_id, attempt);

ALTER TABLE ONLY app.dead_letters
    ADD CONSTRAINT dead_letters_pkey PRIMARY KEY (dead_letter_id);

ALTER TABLE ONLY app.dead_letters
    ADD CONSTRAINT dead_letters_queue_message_id_key UNIQUE (queue, message_id);

ALTER TABLE ONLY app.events
    ADD CONSTRAINT events_pkey PRIMARY KEY (event_id);

ALTER TABLE ONLY app.jobs
    ADD CONSTRAINT jobs_pkey PRIMARY KEY (job_id);

ALTER TABLE ONLY app.migrations
    ADD CONSTRAINT migrations_pkey PRIMARY KEY (number);

ALTER TABLE ONLY app.output_locations
    ADD CONSTRAINT output_locations_pkey PRIMARY KEY (container, location);

ALTER TABLE ONLY app.outputs
    ADD CONSTRAINT outputs_pkey PRIMARY KEY (output_id);

ALTER TABLE ONLY app.overviews
    ADD CONSTRAINT overviews_pkey PRIMARY KEY (name);

ALTER TABLE ONLY app.removals
    ADD CONSTRAINT removals_pkey PRIMARY KEY (removal_id);

ALTER TABLE ONLY app.request_keys
    ADD CONSTRAINT request_keys_pkey PRIMARY KEY (key);

ALTER TABLE ONLY app.stages
    ADD CONSTRAINT stages_pkey PRIMARY KEY (job_id, stage);

ALTER TABLE ONLY app.sweeps
    ADD CONSTRAINT sweeps_pkey PRIMARY KEY (only_row);

ALTER TABLE ONLY app.tasks
    ADD CONSTRAINT tasks_pkey PRIMARY KEY (task_id);

ALTER TABLE ONLY app.transitions
    ADD CONSTRAINT transitions_pkey PRIMARY KEY (entity, from_status, to_status);

CREATE INDEX dead_letters_alike ON app.dead_letters USING btree (queue, md5(body));

CREATE INDEX events_of_job ON app.events USING btree (job_id, event_id);

CREATE INDEX jobs_by_age ON app.jobs USING btree (created_at, job_id);

CREATE INDEX jobs_by_status ON app.jobs USING btree (status, created_at, job_id);

CREATE INDEX jobs_by_type ON app.jobs USING btree (job_type, created_at, job_id);

CREATE INDEX jobs_finished ON app.jobs USING btree (finished_at) WHERE (finished_at IS NOT NULL);

CREATE INDEX jobs_open ON app.jobs USING btree (updated_at) WHERE (status = ANY (ARRAY['queued'::text, 'processing'::text]));

CREATE INDEX jobs_undiscarded ON app.jobs USING btree (finished_at) WHERE ((status = 'cancelled'::text) AND (discarded_at IS NULL));

CREATE UNIQUE INDEX outputs_begun ON app.outputs USING btree (task_id, container, name) WHERE ((written_at IS NULL) AND (removed_at IS NULL));

CREATE UNIQUE INDEX outputs_live ON app.outputs USING btree (container, name) WHERE ((written_at IS NOT NULL) AND (superseded_at IS NULL) AND (removed_at IS NULL));

CREATE INDEX outputs_of_item ON app.outputs USING btree (collection_id, item_id);

CREATE INDEX outputs_of_job ON app.outputs USING btree (job_id);

CREATE INDEX outputs_of_location ON app.outputs USING btree (container, location) WHERE (removed_at IS NULL);

CREATE INDEX outputs_of_name ON app.outputs USING btree (container, name);

CREATE INDEX outputs_of_request ON app.outputs USING btree (request);

CREATE INDEX outputs_of_source ON app.outputs USING btree (source) WHERE (removed_at IS NULL);

CREATE INDEX outputs_of_task ON app.outputs USING btree (task_id);

CREATE INDEX outputs_stale ON app.outputs USING btree (output_id) WHERE is_stale;

CREATE INDEX outputs_to_purge ON app.outputs USING btree (removed_at) WHERE (removed_at IS NOT NULL);

CREATE INDEX outputs_to_remove ON app.outputs USING btree (superseded_at) WHERE ((superseded_at IS NOT NULL) AND (removed_at IS NULL));

CREATE INDEX outputs_to_settle ON app.outputs USING btree (begun_at) WHERE ((written_at IS NULL) AND (removed_at IS NULL));

CREATE INDEX overviews_of_collection ON app.overviews USING btree (collection_id);

CREATE INDEX overviews_to_check ON app.overviews USING btree (changed_at) WHERE (changed_at IS NOT NULL);

CREATE INDEX removals_of_source ON app.removals USING btree (collection_id, source);

CREATE INDEX request_keys_of_job ON app.request_keys USING btree (job_id);

CREATE UNIQUE INDEX tasks_of_stage ON app.tasks USING btree (job_id, stage, task_index);

CREATE INDEX tasks_with_error ON app.tasks USING btree (job_id, stage, task_index) WHERE (error IS NOT NULL);

CREATE TRIGGER jobs_transition BEFORE UPDATE OF status ON app.jobs FOR EACH ROW WHEN ((old.status <> new.status)) EXECUTE FUNCTION app.refuse_transition('job');

CREATE TRIGGER tasks_transition BEFORE UPDATE OF status ON app.tasks FOR EACH ROW WHEN ((old.status <> new.status)) EXECUTE FUNCTION app.refuse_transition('task');

ALTER TABLE ONLY app.attempts
    ADD CONSTRAINT attempts_task_id_fkey FOREIGN KEY (task_id) REFERENCES app.tasks(task_id) ON DELETE CASCADE;

ALTER TABLE ONLY app.events
    ADD CONSTRAINT events_job_id_fkey FOREIGN KEY (job_id) REFERENCES app.jobs(job_id) ON DELETE CASCADE;

ALTER TABLE ONLY app.request_keys
    ADD CONSTRAINT request_keys_job_id_fkey FOREIGN KEY (job_id) REFERENCES app.jobs(job_id) ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED;

ALTER TABLE ONLY app.stages
    ADD CONSTRAINT stages_job_id_fkey FOREIGN KEY (job_id) REFERENCES app.jobs(job_id) ON DELETE CASCADE;

ALTER TABLE ONLY app.tasks
    ADD CONSTRAINT tasks_job_id_stage_fkey FOREIGN KEY (job_id, stage) REFERENCES app.stages(job_id, stage) ON DELETE CASCADE;
