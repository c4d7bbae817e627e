/**
 * Transactions that nobody ends: they hold the last stable offset back, so that committed rows behind it reach no reader. Those of a healthy
 * processor last milliseconds; one that stays the same for seconds is named.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { kafkaOptions } from "#shared/clients/kafka/kafka-options.ts";
import { openTransactions } from "#shared/clients/kafka/open-transactions.ts";
import type { Kafka, TopicPartition } from "#shared/clients/kafka/types.ts";
import type { Config } from "#shared/config/config.ts";
import { OUTPUT_ROLES, topicName } from "#shared/events/names.ts";
import type { Mismatch } from "#shared/ledger/verdict.ts";

const STUCK_AFTER_MS = 5_000;
const POLL_MS = 250;

interface Held {
  readonly place: TopicPartition;
  readonly stable: number;
  readonly end: number;
}

export async function stuckTransactions(kafka: Kafka, config: Config, partitions: readonly number[]): Promise<Mismatch[]> {
  const places = OUTPUT_ROLES.flatMap((role) => partitions.map((partition) => ({ topic: topicName(config.lane, role), partition })));
  let held = await heldBack(kafka, places);
  const deadline = performance.now() + STUCK_AFTER_MS;
  while (held.length > 0 && performance.now() < deadline) {
    await sleep(POLL_MS);
    const now = await heldBack(kafka, held.map(({ place }) => place)); // prettier-ignore
    // The offset moved on: another transaction, or none.
    held = now.filter((each) => held.some(({ place, stable }) => place === each.place && stable === each.stable));
  }
  const address = await kafkaOptions(config);
  const lists = await Promise.all(
    held.map(async ({ place, stable, end }) => {
      const open = await openTransactions({ ...address, clientId: "weir-cli" }, place);
      const holder = open.find(({ startOffset }) => startOffset === stable) ?? open[0];
      const who =
        holder === undefined
          ? "a transaction"
          : `a transaction of producer ${holder.producerId}, epoch ${holder.epoch}, last written at ${new Date(holder.lastWriteMs).toISOString()},`;
      return {
        what: `${place.topic}, partition ${place.partition}: ${who} is open at offset ${stable}; end that can be read`,
        recounted: stable,
        claimed: end,
      };
    }),
  );
  return lists;
}

async function heldBack(kafka: Kafka, places: readonly TopicPartition[]): Promise<Held[]> {
  const found = await Promise.all(
    places.map(async (place) => {
      const stable = await kafka.listOffset(place, "latest", "read_committed");
      const end = await kafka.listOffset(place, "latest", "read_uncommitted");
      return { place, stable, end };
    }),
  );
  return found.filter(({ stable, end }) => stable < end);
}
