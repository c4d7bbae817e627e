/**
 * A stream of events as producers send them (docs/ARCHITECTURE.md), deterministic: seed, options and the clock readings that the caller
 * passes in decide every byte. About 330 bytes an event.
 */
import { assert } from "#shared/kernel/assert.ts";
import { POISON_KINDS } from "./poison.ts";
import { createRandom } from "./random.ts";
import { createUserChoice, type Distribution } from "./user-choice.ts";

export const EVENT_KINDS = ["normal", "late", "duplicate", "poison", "futureClock"] as const;
export type EventKind = (typeof EVENT_KINDS)[number];

/** Of all events, in [0, 1]; the rest is normal. */
export type Shares = Readonly<Record<Exclude<EventKind, "normal">, number>>;

export const DEFAULT_SHARES: Shares = { late: 0.005, duplicate: 0.005, poison: 0.002, futureClock: 0.001 };

export interface GeneratorOptions {
  readonly seed: string;
  readonly users: number;
  readonly distribution: Distribution;
  readonly shares: Shares;
}

export interface GeneratedEvent {
  readonly kind: EventKind;
  readonly key: Uint8Array;
  readonly value: Uint8Array;
  /** What the validator must say to it; null = it must pass. */
  readonly reason: string | null;
}

export interface Generator {
  /** `nowMs` is the clock of the producers, epoch milliseconds, never falling. */
  next(nowMs: number): GeneratedEvent;
}

/** Five in a hundred events come a little out of order, within the pipeline's default bound of 5 s. */
const OUT_OF_ORDER_SHARE = 0.05;
const OUT_OF_ORDER_MS = 2_000;
/** Far behind any default bound: the 5-minute window of such an event has closed. */
const LATE_MS = { from: 600_000, to: 1_200_000 };
/** Beyond the validator's 5 minutes. */
const AHEAD_MS = { from: 600_000, to: 3_600_000 };
const AHEAD_REASON = "time.future";
/** A repeated event is one of the last so many, and not older than this: well inside the de-duplication horizon. */
const REPEATABLE = 512;
const REPEATABLE_MS = 60_000;
const SESSION_MS = 1_800_000;

const DEVICES = ["ios 26.1 iPhone17,2", "android 16 Pixel 10", "windows 11 Chrome 142", "macos 26 Safari 26", "linux Firefox 145"] as const;
const PLACES = [
  "DE-BE Berlin",
  "FR-IDF Paris",
  "JP-13 Tokyo",
  "US-CA San Francisco",
  "BR-SP Sao Paulo",
  "IN-KA Bengaluru",
  "ZA-WC Cape Town",
] as const;
const PAGES = ["/", "/search", "/category/shoes", "/category/books", "/cart", "/account/orders", "/help/shipping"] as const;
const WORDS = ["river", "lantern", "notebook", "kettle", "bicycle", "raincoat"] as const;

export function createGenerator(options: GeneratorOptions): Generator {
  const { shares } = options;
  for (const share of Object.values(shares)) assert(share >= 0 && share <= 1, "a share must lie in [0, 1]");
  const random = createRandom(options.seed);
  const chooseUser = createUserChoice(options.distribution, options.users, random);
  const repeatable: { readonly event: GeneratedEvent; readonly atMs: number }[] = [];
  let repeatableNext = 0;
  let poisonNext = 0;

  const upToLate = shares.late;
  const upToDuplicate = upToLate + shares.duplicate;
  const upToPoison = upToDuplicate + shares.poison;
  const upToFuture = upToPoison + shares.futureClock;
  assert(upToFuture <= 1, "the shares must not add up to more than 1");

  const pick = <T>(values: readonly T[]): T => values[random.below(values.length)]!;
  const between = ({ from, to }: { from: number; to: number }): number => from + random.below(to - from);

  /** UUID version 7 (RFC 9562): a restarted generator with the same seed must not repeat the ids of its first life. */
  const eventId = (nowMs: number): string => {
    const time = Math.floor(nowMs).toString(16).padStart(12, "0");
    const a = random.word();
    const b = random.word();
    const c = random.word();
    return `${time.slice(0, 8)}-${time.slice(8)}-7${hex(a & 0xfff, 3)}-${hex(0x8000 | ((a >>> 12) & 0x3fff), 4)}-${hex(b & 0xffff, 4)}${hex(c, 8)}`;
  };

  /** Everything behind user_id. */
  const rest = (userId: number, atMs: number): string => {
    const roll = random.below(100);
    const source = roll % 10 < 6 ? "web" : roll % 10 < 9 ? "mobile" : "api";
    const device = DEVICES[userId % DEVICES.length]!;
    const place = PLACES[userId % PLACES.length]!;
    const session = `${userId.toString(36)}-${Math.floor(atMs / SESSION_MS).toString(36)}`;
    const [type, properties] = body(roll);
    return (
      `"event_type":"${type}","source":"${source}","session_id":"${session}","device_info":"${device}",` +
      `"geo_location":"${place}","schema_version":1,"properties":${properties}}`
    );
  };

  const body = (roll: number): readonly [type: string, properties: string] => {
    const item = 100_000 + random.below(900_000);
    const cents = 100 + random.below(20_000);
    const price = `${Math.floor(cents / 100)}.${String(cents % 100).padStart(2, "0")}`;
    const page = pick(PAGES);
    if (roll < 45)
      return ["page_view", `{"page":"${page}","referrer":"https://example.com${pick(PAGES)}","load_ms":${20 + random.below(900)}}`];
    if (roll < 65)
      return ["click", `{"page":"${page}","element":"button-${random.below(50)}","x":${random.below(1_920)},"y":${random.below(1_080)}}`];
    if (roll < 78) return ["view_item", `{"item":"sku-${item}","price":${price},"category":"${pick(WORDS)}"}`];
    if (roll < 86) return ["search", `{"query":"${pick(WORDS)} ${pick(WORDS)}","results":${random.below(500)},"page":1}`];
    if (roll < 92) return ["add_to_cart", `{"item":"sku-${item}","price":${price},"quantity":${1 + random.below(5)}}`];
    if (roll < 97) return ["purchase", `{"order":"o-${item}","amount":${price},"currency":"EUR","items":${1 + random.below(5)}}`];
    return ["login", `{"method":"password","attempt":${1 + random.below(3)}}`];
  };

  const fresh = (kind: EventKind, nowMs: number): GeneratedEvent => {
    const userId = chooseUser();
    const shiftMs =
      kind === "late"
        ? -between(LATE_MS)
        : kind === "futureClock"
          ? between(AHEAD_MS)
          : random.fraction() < OUT_OF_ORDER_SHARE
            ? -random.below(OUT_OF_ORDER_MS)
            : 0;
    const text = { eventId: eventId(nowMs), eventTime: new Date(nowMs + shiftMs).toISOString(), userId, rest: rest(userId, nowMs) };
    if (kind === "poison") {
      const poison = POISON_KINDS[poisonNext++ % POISON_KINDS.length]!;
      return { kind, key: latin1(poison.key?.(text) ?? String(userId)), value: latin1(poison.value(text)), reason: poison.reason };
    }
    const value = latin1(`{"event_id":"${text.eventId}","event_time":"${text.eventTime}","user_id":${userId},${text.rest}`);
    return { kind, key: latin1(String(userId)), value, reason: kind === "futureClock" ? AHEAD_REASON : null };
  };

  const next = (nowMs: number): GeneratedEvent => {
    const draw = random.fraction();
    if (draw < upToLate) return fresh("late", nowMs);
    if (draw < upToDuplicate) {
      const original = repeatable[random.below(repeatable.length)];
      if (original !== undefined && original.atMs >= nowMs - REPEATABLE_MS) return { ...original.event, kind: "duplicate" };
    } else if (draw < upToPoison) return fresh("poison", nowMs);
    else if (draw < upToFuture) return fresh("futureClock", nowMs);
    const event = fresh("normal", nowMs);
    repeatable[repeatableNext] = { event, atMs: nowMs };
    repeatableNext = (repeatableNext + 1) % REPEATABLE;
    return event;
  };
  return { next };
}

function hex(value: number, digits: number): string {
  return (value >>> 0).toString(16).padStart(digits, "0");
}

function latin1(text: string): Uint8Array {
  return Buffer.from(text, "latin1");
}
