-- score: standard deviations that `value` lies from what is usual for the user, null where there is none. enrichment: a JSON object, empty where the
-- table of attributes says nothing. Both are the processor's and stand in events.clean, so a retry is the same bytes.
ALTER TABLE {database}.events ADD COLUMN IF NOT EXISTS score Nullable(Float64) CODEC(ZSTD(1)) AFTER session_events;

ALTER TABLE {database}.events ADD COLUMN IF NOT EXISTS enrichment LowCardinality(String) AFTER score;
