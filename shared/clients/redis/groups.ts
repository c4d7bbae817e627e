/** The replication groups that share the partitions: partition p is on group p mod N. All keys of a partition are on one server. */
import { Redis, type RedisOptions } from "./client.ts";

export class RedisGroups {
  readonly all: readonly Redis[];

  /** `urls`: one, or several separated by commas, in an order that must not change: it decides which partition is where. */
  constructor(urls: string, options: RedisOptions = {}) {
    this.all = urls.split(",").map((url) => new Redis(url.trim(), options));
  }

  of(partition: number): Redis {
    return this.all[partition % this.all.length]!;
  }

  close(): void {
    for (const redis of this.all) redis.close();
  }
}
