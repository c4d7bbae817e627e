-- One row per closed window of a user. Idempotent by key: the same row again replaces itself. Read with FINAL.
CREATE TABLE {database}.windows
(
    kind         LowCardinality(String),
    user_id      UInt64,
    window_start DateTime64(3, 'UTC'),
    window_end   DateTime64(3, 'UTC'),
    events       UInt32,
    value_count  UInt32,
    value_sum    Nullable(Float64),
    value_min    Nullable(Float64),
    value_max    Nullable(Float64),
    first_event  DateTime64(3, 'UTC'),
    last_event   DateTime64(3, 'UTC'),
    lane         LowCardinality(String),
    gen          UInt16,
    p            UInt16,
    oseq         UInt64
)
ENGINE = {ReplacingMergeTree}(oseq)
PARTITION BY toYYYYMM(window_start)
ORDER BY (kind, user_id, window_start, lane, gen)
TTL toDateTime(window_start) + INTERVAL 90 DAY DELETE WHERE lane = 'live'
SETTINGS {dedup_window};
