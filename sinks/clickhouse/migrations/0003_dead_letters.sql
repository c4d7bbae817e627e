-- One row per dead letter, with the original bytes. The topic events.dlq is the truth; this is for looking. Read with FINAL.
CREATE TABLE {database}.dead_letters
(
    at            DateTime64(3, 'UTC'),
    reason        LowCardinality(String),
    pointer       String,
    key           String,
    value         String CODEC(ZSTD(3)),
    rules_version UInt32,
    lane          LowCardinality(String),
    gen           UInt16,
    p             UInt16,
    oseq          UInt64,
    source_offset UInt64
)
ENGINE = {ReplacingMergeTree}
PARTITION BY toYYYYMM(at)
ORDER BY (lane, gen, p, oseq)
TTL toDateTime(at) + INTERVAL 90 DAY
SETTINGS {dedup_window};
