/**
 * What a reject keeps of its record at most. Together they stay below the broker's default limit of 1,048,588 bytes per record, so no event
 * can block its partition by being too large to dead-letter; the record itself stands in events.raw.
 */
export const KEPT_BYTES = { value: 900_000, key: 16_384, headers: 65_536 } as const;
