-- The registry of outputs: one row for each COG that a task wrote or is about to write, the
-- authority on who wrote what. A row exists before its upload begins, so no blob is ever without
-- one; written_at is set when the upload is recorded.
CREATE TABLE app.outputs (
    output_id     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    container     text NOT NULL,
    name          text COLLATE "C" NOT NULL,
    location      text COLLATE "C" NOT NULL,
    tier          text NOT NULL,
    source        text COLLATE "C" NOT NULL,
    source_etag   text NOT NULL,
    request       text NOT NULL,
    generation    int NOT NULL,
    job_id        text NOT NULL,
    task_id       text COLLATE "C" NOT NULL,
    etag          text,
    replaced_etag text,
    checksum      text,
    size          bigint,
    cog           jsonb,
    collection_id text,
    item_id       text,
    begun_at      timestamptz NOT NULL DEFAULT now(),
    written_at    timestamptz,
    superseded_at timestamptz,
    superseded_by text,
    removed_at    timestamptz,
    discarded     boolean NOT NULL DEFAULT false,
    CHECK ((written_at IS NULL) = (etag IS NULL)),
    CHECK ((collection_id IS NULL) = (item_id IS NULL))
);
COMMENT ON COLUMN app.outputs.location IS 'folder and name of the COG without its tier';
COMMENT ON COLUMN app.outputs.request IS 'id of the job that the request has in generation 0';
COMMENT ON COLUMN app.outputs.superseded_at IS 'since when a newer output or no output is valid';
COMMENT ON COLUMN app.outputs.superseded_by IS 'the job that wrote the newer output';
COMMENT ON COLUMN app.outputs.removed_at IS 'since when its bytes are gone';
COMMENT ON COLUMN app.outputs.discarded IS 'removed because its job was cancelled';

-- A blob has one live output, and a task one upload of it under way.
CREATE UNIQUE INDEX outputs_live ON app.outputs (container, name)
    WHERE written_at IS NOT NULL AND superseded_at IS NULL AND removed_at IS NULL;
CREATE UNIQUE INDEX outputs_begun ON app.outputs (task_id, container, name)
    WHERE written_at IS NULL AND removed_at IS NULL;
CREATE INDEX outputs_of_name ON app.outputs (container, name);
CREATE INDEX outputs_of_location ON app.outputs (container, location) WHERE removed_at IS NULL;
CREATE INDEX outputs_of_source ON app.outputs (source) WHERE removed_at IS NULL;
CREATE INDEX outputs_of_item ON app.outputs (collection_id, item_id);
CREATE INDEX outputs_of_request ON app.outputs (request);
CREATE INDEX outputs_of_job ON app.outputs (job_id);
CREATE INDEX outputs_of_task ON app.outputs (task_id);
CREATE INDEX outputs_to_remove ON app.outputs (superseded_at)
    WHERE superseded_at IS NOT NULL AND removed_at IS NULL;
CREATE INDEX outputs_to_settle ON app.outputs (begun_at)
    WHERE written_at IS NULL AND removed_at IS NULL;

-- Which output of which source a name belongs to. A name stays with the source that had it first.
CREATE TABLE app.output_locations (
    container text NOT NULL,
    location  text COLLATE "C" NOT NULL,
    owner     text NOT NULL,
    PRIMARY KEY (container, location)
);

-- app.removals is not read any more. Hosts of the previous release still read and write it during
-- a rolling deploy: a later migration drops it.
