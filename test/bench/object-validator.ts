/** The usual way to validate: JSON.parse, checks by hand, one object per event. What the scanner is measured against. */
import type { Limits } from "#functions/validator/scanner/limits.ts";
import type { EventTypeRule, Release } from "#shared/rules/release.ts";

interface ParsedEvent {
  readonly offset: number;
  readonly eventId: string;
  readonly eventTimeMs: number;
  readonly userId: bigint;
  readonly eventType: string;
  readonly source: string | null;
  readonly sessionId: string | null;
  readonly value: number | null;
  readonly deviceInfo: string | null;
  readonly geoLocation: string | null;
  readonly properties: string;
}

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;
const RFC_3339 = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d+)?(Z|[+-]\d{2}:\d{2})$/;

export class ObjectValidator {
  readonly #types: ReadonlyMap<string, EventTypeRule>;
  readonly #sources: ReadonlyMap<string, { readonly historical: boolean }>;
  readonly #limits: Limits;
  accepted: ParsedEvent[] = [];
  rejected: { readonly offset: number; readonly reason: string }[] = [];

  constructor(release: Release, limits: Limits) {
    this.#types = new Map(release.eventTypes.map((type) => [type.name, type]));
    this.#sources = new Map(release.sources.map((source) => [source.name, source]));
    this.#limits = limits;
  }

  begin(): void {
    this.accepted = [];
    this.rejected = [];
  }

  add(value: Buffer, key: Buffer, offset: number, timestampMs: number): void {
    const event = this.#validate(value, key, offset, timestampMs);
    if (typeof event === "string") this.rejected.push({ offset, reason: event });
    else this.accepted.push(event);
  }

  #validate(value: Buffer, key: Buffer, offset: number, timestampMs: number): ParsedEvent | string {
    let event: Record<string, unknown>;
    try {
      event = JSON.parse(value.toString()) as Record<string, unknown>;
    } catch {
      return "json.syntax";
    }
    if (typeof event !== "object" || event === null || Array.isArray(event)) return "schema.not_object";
    const { event_id: id, event_time: time, user_id: user, event_type: typeName, source = null, session_id: session = null } = event;
    const { device_info: device = null, geo_location: place = null, properties = {} } = event;
    if (typeof id !== "string" || !UUID.test(id)) return "id.format";
    if (typeof time !== "string" || !RFC_3339.test(time)) return "time.unparseable";
    const eventTimeMs = Date.parse(time);
    if (Number.isNaN(eventTimeMs)) return "time.unparseable";
    if (typeof user !== "number" && typeof user !== "string") return "schema.type";
    if (typeof typeName !== "string") return "schema.type";
    const type = this.#types.get(typeName);
    if (type === undefined) return "unknown_event";
    if (source !== null && (typeof source !== "string" || !this.#sources.has(source))) return "unknown_source";
    if (session !== null && typeof session !== "string") return "schema.type";
    if (typeof properties !== "object" || properties === null) return "schema.type";
    let measured: number | null = null;
    for (const [pointer, rule] of Object.entries(type.fields)) {
      const member = (properties as Record<string, unknown>)[pointer.slice("/properties/".length)];
      if (member === undefined && !type.required.includes(pointer)) continue;
      if (rule.type === "number" || rule.type === "integer") {
        if (typeof member !== "number" || member < (rule.min ?? -Infinity) || member > (rule.max ?? Infinity)) return "schema.range";
        if (pointer === type.measure) measured = member;
      } else if (typeof member !== "string") return "schema.type";
    }
    if (eventTimeMs > timestampMs + this.#limits.maxFutureSkewMs) return "time.future";
    if (eventTimeMs < timestampMs - this.#limits.maxAgeMs) return "time.ancient";
    if (key.toString() !== String(user)) return "key.mismatch";
    return {
      offset,
      eventId: id,
      eventTimeMs,
      userId: BigInt(user),
      eventType: typeName,
      source,
      sessionId: session,
      value: measured,
      deviceInfo: textOf(device),
      geoLocation: textOf(place),
      properties: JSON.stringify(properties),
    };
  }
}

function textOf(value: unknown): string | null {
  return value === null || typeof value === "string" ? value : JSON.stringify(value);
}
