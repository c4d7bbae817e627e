/**
 * Events that no validator may let pass, each with the reason code that it must get (docs/OPERATIONS.md lists them). The generator takes
 * them in turn, so that every kind comes along however small the share is.
 */

export interface EventText {
  readonly eventId: string;
  readonly eventTime: string;
  readonly userId: number;
  readonly rest: string;
}

export interface PoisonKind {
  readonly name: string;
  readonly reason: string;
  /** Latin-1 text of the value: what stands for a byte above 7F is that byte. */
  readonly value: (event: EventText) => string;
  /** Default: the user's own. */
  readonly key?: (event: EventText) => string;
}

const head = (event: EventText, time = event.eventTime, user: string | number = event.userId): string =>
  `{"event_id":"${event.eventId}","event_time":"${time}","user_id":${user},`;

export const POISON_KINDS: readonly PoisonKind[] = [
  { name: "truncated", reason: "json.syntax", value: (e) => `${head(e)}${e.rest}`.slice(0, -2) },
  { name: "empty", reason: "json.empty", value: () => " " },
  { name: "not-an-object", reason: "schema.not_object", value: (e) => `[${e.userId}]` },
  { name: "no-type", reason: "schema.required", value: (e) => `${head(e)}"properties":{}}` },
  { name: "unknown-type", reason: "unknown_event", value: (e) => `${head(e)}"event_type":"page_vlew","properties":{}}` },
  { name: "user-as-boolean", reason: "schema.type", value: (e) => `${head(e, e.eventTime, "true")}${e.rest}` },
  { name: "unsafe-user", reason: "number.unsafe", value: (e) => `${head(e, e.eventTime, "9007199254740993")}${e.rest}` },
  { name: "no-such-day", reason: "time.unparseable", value: (e) => `${head(e, "2026-02-30T12:00:00Z")}${e.rest}` },
  { name: "ancient", reason: "time.ancient", value: (e) => `${head(e, "1999-12-31T23:59:59Z")}${e.rest}` },
  { name: "twice-the-key", reason: "json.duplicate_key", value: (e) => `${head(e)}"user_id":1,${e.rest}` },
  { name: "prototype", reason: "forbidden_key", value: (e) => `${head(e)}"__proto__":{"admin":true},${e.rest}` },
  {
    name: "latin-1",
    reason: "encoding",
    value: (e) => `${head(e)}"device_info":"caf\u00e9",${e.rest.replace(/"device_info":"[^"]*",/, "")}`,
  },
  { name: "foreign-key", reason: "key.mismatch", value: (e) => `${head(e)}${e.rest}`, key: (e) => String(e.userId + 1) },
];
