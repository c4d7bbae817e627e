-- What the second stage says of each minute of log time, once all partitions have passed it (metrics.minutes). Idempotent by key: the same row again
-- replaces itself. Read with FINAL. A row without source or event type is of events that name none.
CREATE TABLE {database}.metrics_1min
(
    minute     DateTime('UTC') CODEC(DoubleDelta, ZSTD(1)),
    metric     LowCardinality(String),
    source     LowCardinality(String),
    event_type LowCardinality(String),
    value      Nullable(Float64) CODEC(ZSTD(1)),
    count      UInt64 CODEC(ZSTD(1)),
    lane       LowCardinality(String),
    gen        UInt16,
    p          UInt16,
    oseq       UInt64 CODEC(Delta, ZSTD(1))
)
ENGINE = {ReplacingMergeTree}(oseq)
PARTITION BY toYYYYMM(minute)
ORDER BY (metric, minute, source, event_type, lane, gen)
TTL minute + INTERVAL 90 DAY DELETE WHERE lane = 'live'
SETTINGS {dedup_window};

-- Counts, not percentages: those of several minutes or sources are shares of sums. What each counts: docs/QUALITY.md.
CREATE TABLE {database}.quality_1min
(
    minute     DateTime('UTC') CODEC(DoubleDelta, ZSTD(1)),
    source     LowCardinality(String),
    event_type LowCardinality(String),
    total      UInt64 CODEC(ZSTD(1)),
    complete   UInt64 CODEC(ZSTD(1)),
    consistent UInt64 CODEC(ZSTD(1)),
    timely     UInt64 CODEC(ZSTD(1)),
    unique     UInt64 CODEC(ZSTD(1)),
    accurate   UInt64 CODEC(ZSTD(1)),
    lane       LowCardinality(String),
    gen        UInt16,
    p          UInt16,
    oseq       UInt64 CODEC(Delta, ZSTD(1))
)
ENGINE = {ReplacingMergeTree}(oseq)
PARTITION BY toYYYYMM(minute)
ORDER BY (minute, source, event_type, lane, gen)
TTL minute + INTERVAL 90 DAY DELETE WHERE lane = 'live'
SETTINGS {dedup_window};

CREATE TABLE {database}.cost_1min
(
    minute      DateTime('UTC') CODEC(DoubleDelta, ZSTD(1)),
    source      LowCardinality(String),
    destination LowCardinality(String),
    events      UInt64 CODEC(ZSTD(1)),
    bytes       UInt64 CODEC(ZSTD(1)),
    usd         Float64 CODEC(ZSTD(1)),
    lane        LowCardinality(String),
    gen         UInt16,
    p           UInt16,
    oseq        UInt64 CODEC(Delta, ZSTD(1))
)
ENGINE = {ReplacingMergeTree}(oseq)
PARTITION BY toYYYYMM(minute)
ORDER BY (minute, source, destination, lane, gen)
TTL minute + INTERVAL 90 DAY DELETE WHERE lane = 'live'
SETTINGS {dedup_window};

-- Percentages of one minute, source and event type. It stores nothing.
CREATE VIEW IF NOT EXISTS {database}.quality AS
SELECT
    minute,
    source,
    event_type,
    lane,
    gen,
    total,
    100 * complete / nullIf(total, 0) AS completeness,
    100 * consistent / nullIf(total, 0) AS consistency,
    100 * timely / nullIf(total, 0) AS timeliness,
    100 * unique / nullIf(total, 0) AS uniqueness,
    100 * accurate / nullIf(total, 0) AS accuracy
FROM {database}.quality_1min FINAL;
