/** What people name things by, brought into the one form in which it is a key. */
import { OperatingError } from "../kernel/errors.ts";

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;
const MAX_USER = 18_446_744_073_709_551_615n;

/** @throws OperatingError READ_KEY */
export function userId(text: string): string {
  const id = /^\d{1,20}$/.test(text) ? BigInt(text) : -1n;
  if (id >= 0n && id <= MAX_USER) return id.toString();
  throw new OperatingError(`a user is a whole number below 2^64, got ${JSON.stringify(text)}`, {
    code: "READ_KEY",
    hint: "weir get user 42",
  });
}

/** @throws OperatingError READ_KEY */
export function eventId(text: string): string {
  const id = text.toLowerCase();
  if (UUID.test(id)) return id;
  throw new OperatingError(`an event_id is a UUID, got ${JSON.stringify(text)}`, { code: "READ_KEY", hint: "weir tail clean -n 1" });
}

/** What is measured, then of which source, then of which event type or destination; as far as it goes. */
export type MetricName = readonly [metric: string, source?: string, of?: string];

/** `quality.accuracy:web:click`, colons inside a part escaped as in Redis. @throws OperatingError READ_KEY */
export function metricName(text: string): MetricName {
  const parts = text.length > 512 ? [] : text.split(":").map(unescaped);
  if (/^[a-z][a-z0-9_.]{0,63}$/.test(parts[0] ?? "") && parts.length <= 3) return parts as unknown as MetricName;
  throw new OperatingError(
    `a metric is a name, then a source, then an event type or destination, got ${JSON.stringify(text.slice(0, 100))}`,
    {
      code: "READ_KEY",
      hint: "quality.accuracy:web:click",
    },
  );
}

function unescaped(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}
