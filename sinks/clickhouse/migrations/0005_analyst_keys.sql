-- What people ask about all users is answered without reading all users' rows. A projection is part of the table's own parts: unlike a view it can
-- neither lag nor count twice. Its expressions are the questions of docs/ANALYSTS.md, word for word: others do not find it.
ALTER TABLE {database}.events ADD PROJECTION IF NOT EXISTS by_minute
(
    SELECT
        lane,
        toStartOfMinute(event_time) AS minute,
        source,
        event_type,
        count(),
        sum(value),
        count(value),
        countIf(reason != ''),
        countIf(timestamp > event_time + toIntervalSecond(5))
    GROUP BY lane, minute, source, event_type
);

ALTER TABLE {database}.events ADD INDEX IF NOT EXISTS by_event_id event_id TYPE bloom_filter(0.001) GRANULARITY 1;

ALTER TABLE {database}.events ADD INDEX IF NOT EXISTS by_reason reason TYPE set(16) GRANULARITY 1;
