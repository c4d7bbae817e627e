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
