-- Outputs whose item describes other bytes than their blob holds: a job wrote over a published COG
-- and has not published its own, or the blob was modified or deleted by others. The timer takes
-- such an asset out of the catalogue once no job will describe it.
ALTER TABLE app.outputs ADD COLUMN is_stale boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN app.outputs.is_stale IS 'its item describes other bytes than the blob holds';
CREATE INDEX outputs_stale ON app.outputs (output_id) WHERE is_stale;

-- Rows of removed outputs are deleted after the retention of jobs.
CREATE INDEX outputs_to_purge ON app.outputs (removed_at) WHERE removed_at IS NOT NULL;
