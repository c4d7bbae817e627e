/** What the read path answers: a value, from where, as of when, and whether it can still change. */
import type { WINDOW_KINDS } from "../events/columns.ts";

export type WindowKind = (typeof WINDOW_KINDS)[number];

export interface Answer<T> {
  /** Null = there is none, or none that the caller may see: the two look the same. */
  readonly value: T | null;
  /** `absent` = in neither. */
  readonly from: "redis" | "clickhouse" | "absent";
  readonly asOf: AsOf;
  /** False: the value is of something still open. */
  readonly isFinal: boolean;
  /** What was not as usual: a store that is down, a value that is old. */
  readonly notes: readonly string[];
}

/** Position and time up to which the store had the log when it answered. */
export interface AsOf {
  /** Epoch milliseconds: log time of the newest record that Redis has of the partition, or when ClickHouse was asked. */
  readonly timeMs: number;
  readonly ageMs: number;
  readonly partition: number | null;
  /** Number of the newest row of the partition's clean output in the value. */
  readonly row: number | null;
}

export interface WindowValue {
  readonly kind: WindowKind;
  readonly userId: string;
  readonly startMs: number;
  readonly events: number;
  /** Null: not known while the window is open, or no event had a value. */
  readonly valueSum: number | null;
  readonly isFinal: boolean;
}

export interface UserValue {
  readonly userId: string;
  readonly lastEventMs: number;
  readonly lastEventType: string;
  /** The newest 5-minute window. */
  readonly window: WindowValue | null;
  readonly session: { readonly startMs: number; readonly lastEventMs: number; readonly events: number; readonly isFinal: boolean } | null;
  /** The newest closed 5-minute window. */
  readonly closedWindow: WindowValue | null;
}

export interface SessionValue {
  readonly sessionId: string;
  readonly userId: string;
  readonly lastEventMs: number;
  readonly lastEventType: string;
  /** Of the user's session of events less than 30 s apart that the newest event belongs to. */
  readonly startMs: number;
  readonly events: number;
  readonly isFinal: boolean;
}

/** Of the newest minute that has closed. */
export interface MetricValue {
  /** As it was asked for: `quality.accuracy:web:click`. */
  readonly name: string;
  readonly minuteMs: number;
  /** Null: there was nothing to measure. */
  readonly value: number | null;
  /** What the value is of, in events. */
  readonly count: number;
}

export interface EventValue {
  readonly eventId: string;
  readonly eventTimeMs: number;
  readonly userId: string;
  readonly eventType: string;
  readonly source: string;
  readonly sessionId: string;
  readonly value: number | null;
  readonly properties: string;
  readonly deviceInfo: string;
  readonly geoLocation: string;
  readonly reason: string;
  readonly loggedMs: number;
  readonly generation: number;
  readonly partition: number;
  readonly row: number;
  readonly sourceOffset: number;
}
