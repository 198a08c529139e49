-- Overviews of collections that are stored. The timer removes those that no collection names.
CREATE TABLE app.overviews (
    name          text PRIMARY KEY,
    collection_id text NOT NULL,
    task_id       text NOT NULL,
    changed_at    timestamptz DEFAULT now()
);
COMMENT ON TABLE app.overviews IS 'overviews of collections that are stored';
COMMENT ON COLUMN app.overviews.name IS 'of the blob in the silver container';
COMMENT ON COLUMN app.overviews.task_id IS 'the task that wrote it';
COMMENT ON COLUMN app.overviews.changed_at IS
    'when it was written or the collection''s overview changed; null once the collection is known to name it';
CREATE INDEX overviews_to_check ON app.overviews (changed_at) WHERE changed_at IS NOT NULL;
CREATE INDEX overviews_of_collection ON app.overviews (collection_id);
