import { CorruptStateError } from "#shared/kernel/errors.ts";
import type { ControlRecord } from "#shared/events/control.ts";
import { HEADERS } from "#shared/events/names.ts";
import type { InputRecord } from "../model/ports.ts";

const decoder = new TextDecoder();
const SHA256 = /^[0-9a-f]{64}$/;

/** null = a block. @throws CorruptStateError on a kind or a value that this version does not know. */
export function decodeControl(record: InputRecord): ControlRecord | null {
  const header = record.headers.find(([key]) => key === HEADERS.kind);
  if (header === undefined) return null;
  const kind = decoder.decode(header[1]);
  if (kind === "block") return null;
  const fields = kind === "tick" || kind === "rules" || kind === "enrichment" || kind === "drain" ? parse(record) : null;
  if (kind === "drain" && fields !== null) return { kind };
  if (kind === "tick" && typeof fields?.["now"] === "number") return { kind, now: fields["now"] };
  if (kind === "rules" && typeof fields?.["version"] === "number") return { kind, version: fields["version"] };
  const { version, sha256 } = fields ?? {};
  if (kind === "enrichment" && typeof version === "number" && typeof sha256 === "string" && SHA256.test(sha256))
    return { kind, version, sha256 };
  throw new CorruptStateError(`record ${record.offset} of events.valid is no known control record: kind ${JSON.stringify(kind)}`, {
    code: "CONTROL_UNKNOWN",
    hint: "a newer version of weir may have written it: upgrade this processor",
  });
}

function parse(record: InputRecord): Record<string, unknown> | null {
  try {
    const value: unknown = record.value === null ? null : JSON.parse(decoder.decode(record.value));
    return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : null;
  } catch {
    return null;
  }
}
