-- One row per clean event. `timestamp` is the log-append time of the event's block, not now(): a retry must be the same bytes.
-- lane to source_offset say where the row comes from; `weir verify` recounts by them. A lane of history has old event times on purpose, so the
-- TTL is for the live lane.
CREATE TABLE {database}.events
(
    event_id       UUID,
    event_time     DateTime64(3, 'UTC') CODEC(DoubleDelta, ZSTD(1)),
    user_id        UInt64 CODEC(ZSTD(1)),
    event_type     LowCardinality(String),
    source         LowCardinality(String),
    session_id     String CODEC(ZSTD(1)),
    value          Nullable(Float64) CODEC(ZSTD(1)),
    device_info    String CODEC(ZSTD(1)),
    geo_location   String CODEC(ZSTD(1)),
    properties     String CODEC(ZSTD(3)),
    reason         LowCardinality(String),
    timestamp      DateTime64(3, 'UTC') CODEC(DoubleDelta, ZSTD(1)),
    window_events  UInt32 CODEC(ZSTD(1)),
    session_start  DateTime64(3, 'UTC') CODEC(ZSTD(1)),
    session_events UInt32 CODEC(ZSTD(1)),
    lane           LowCardinality(String),
    gen            UInt16,
    p              UInt16,
    oseq           UInt64 CODEC(Delta, ZSTD(1)),
    cut            UInt64 CODEC(Delta, ZSTD(1)),
    source_offset  UInt64 CODEC(Delta, ZSTD(1))
)
ENGINE = {MergeTree}
PARTITION BY toYYYYMM(event_time)
ORDER BY (user_id, event_time, lane, gen, p, oseq)
TTL toDateTime(event_time) + INTERVAL 90 DAY DELETE WHERE lane = 'live'
SETTINGS {dedup_window};

-- The name says Summing, once; adding up uniqExact is wrong, so the states are merged instead. Read with sum(events), uniqExactMerge(sessions).
CREATE TABLE {database}.user_activity_1min
(
    minute      DateTime('UTC'),
    user_id     UInt64,
    event_type  LowCardinality(String),
    lane        LowCardinality(String),
    events      SimpleAggregateFunction(sum, UInt64),
    value_sum   SimpleAggregateFunction(sum, Float64),
    value_count SimpleAggregateFunction(sum, UInt64),
    sessions    AggregateFunction(uniqExact, String)
)
ENGINE = {AggregatingMergeTree}
PARTITION BY toYYYYMM(minute)
ORDER BY (user_id, minute, event_type, lane)
TTL minute + INTERVAL 90 DAY DELETE WHERE lane = 'live'
SETTINGS {dedup_window};

-- An event without a session (the empty string) is no session of its own. Never ALTER ... MODIFY QUERY: see migrate.ts.
CREATE MATERIALIZED VIEW {database}.user_activity_1min_view TO {database}.user_activity_1min AS
SELECT
    toStartOfMinute(toDateTime(event_time, 'UTC')) AS minute,
    user_id,
    event_type,
    lane,
    count() AS events,
    sum(ifNull(value, 0)) AS value_sum,
    count(value) AS value_count,
    uniqExactIfState(session_id, session_id != '') AS sessions
FROM {database}.events
GROUP BY minute, user_id, event_type, lane;
