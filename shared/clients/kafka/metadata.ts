/** What Metadata v9 and ApiVersions v3 answer. */
import { CODE } from "./broker-error.ts";
import type { WireReader } from "./wire.ts";

export interface TopicLeaders {
  /** host:port by partition; undefined while there is no leader. */
  readonly leaders: readonly (string | undefined)[];
}

export function readMetadata(reader: WireReader): Map<string, TopicLeaders & { readonly code: number }> {
  reader.int32();
  const brokers = new Map<number, string>();
  reader.array(() => {
    const node = reader.int32();
    brokers.set(node, `${reader.string()}:${reader.int32()}`);
    reader.nullableString();
    reader.tags();
  });
  reader.nullableString();
  reader.int32();
  const topics = new Map<string, TopicLeaders & { readonly code: number }>();
  reader.array(() => {
    const code = reader.int16();
    const name = reader.string();
    reader.boolean();
    const leaders: (string | undefined)[] = [];
    reader.array(() => {
      const partitionCode = reader.int16();
      const partition = reader.int32();
      const leader = brokers.get(reader.int32());
      reader.int32();
      for (let list = 0; list < 3; list++) reader.array(() => reader.int32());
      reader.tags();
      leaders[partition] = partitionCode === CODE.none ? leader : undefined;
    });
    reader.int32();
    reader.tags();
    topics.set(name, { code, leaders });
  });
  return topics;
}

/** Level of the finalised feature `transaction.version`; 0 = the cluster has none. */
export function readTransactionVersion(reader: WireReader): number {
  reader.int16();
  reader.array(() => {
    reader.int16();
    reader.int16();
    reader.int16();
    reader.tags();
  });
  reader.int32();
  let level = 0;
  reader.tags((tag, field) => {
    if (tag !== 2) return;
    field.array(() => {
      const name = field.string();
      const max = field.int16();
      field.int16();
      field.tags();
      if (name === "transaction.version") level = max;
    });
  });
  return level;
}
