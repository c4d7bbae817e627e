/** What a block's Kafka headers repeat of it, so that a reader can trim and route without decoding. */
import type { OutgoingRecord } from "#shared/clients/kafka/types.ts";
import { HEADERS } from "#shared/events/names.ts";
import type { BlockPlace } from "./batch-validator.ts";

const encoder = new TextEncoder();
const BLOCK = encoder.encode("block");

export function blockHeaders(generation: number, place: BlockPlace): NonNullable<OutgoingRecord["headers"]> {
  const headers: [string, Uint8Array][] = [
    [HEADERS.kind, BLOCK],
    [HEADERS.generation, encoder.encode(String(generation))],
    [HEADERS.firstSourceOffset, encoder.encode(String(place.firstSourceOffset))],
    [HEADERS.lastSourceOffset, encoder.encode(String(place.lastSourceOffset))],
    [HEADERS.count, encoder.encode(String(place.count))],
    [HEADERS.rulesVersion, encoder.encode(String(place.rulesVersion))],
  ];
  if (place.oldestMs !== null) headers.push([HEADERS.oldest, encoder.encode(String(place.oldestMs))]);
  if (place.traces !== null) headers.push([HEADERS.traces, encoder.encode(place.traces)]);
  return headers;
}
