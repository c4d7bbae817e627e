-- One row per incident, replaced as it develops: `id` is a function of the series and the start, so that a replay finds its own rows. Read with FINAL.
CREATE TABLE {database}.alerts
(
    id          String,
    started     DateTime64(3, 'UTC'),
    ended       Nullable(DateTime64(3, 'UTC')),
    kind        LowCardinality(String),
    metric      LowCardinality(String),
    source      LowCardinality(String),
    event_type  LowCardinality(String),
    value       Nullable(Float64),
    lower_bound Nullable(Float64),
    upper_bound Nullable(Float64),
    score       Nullable(Float64),
    evidence    String CODEC(ZSTD(3)),
    lane        LowCardinality(String),
    gen         UInt16,
    p           UInt16,
    oseq        UInt64
)
ENGINE = {ReplacingMergeTree}(oseq)
PARTITION BY toYYYYMM(started)
ORDER BY (started, id, lane, gen)
TTL toDateTime(started) + INTERVAL 90 DAY DELETE WHERE lane = 'live'
SETTINGS {dedup_window};
