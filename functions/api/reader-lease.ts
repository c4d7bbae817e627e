/** A reader for as long as its logins may be trusted: passwords are changed while this runs, and what was opened with the old one is opened anew. */
import { getCACertificates, setDefaultCACertificates } from "node:tls";
import { type Login, readLogin } from "#shared/clients/aws/secret.ts";
import type { Config } from "#shared/config/config.ts";
import { operationEnvironment } from "#shared/config/operation-environment.ts";
import { Reader } from "#shared/read/reader.ts";

const LEASE_MS = 300_000;

interface Lease {
  readonly reader: Promise<Reader>;
  readonly untilMs: number;
}

export class ReaderLease {
  readonly #open: () => Promise<Reader>;
  readonly #nowMs: () => number;
  #lease: Lease | undefined;

  constructor(open: () => Promise<Reader>, nowMs: () => number) {
    this.#open = open;
    this.#nowMs = nowMs;
  }

  /** @throws what opening throws; the next call tries again. */
  async reader(): Promise<Reader> {
    const held = this.#lease;
    if (held !== undefined && this.#nowMs() < held.untilMs) return held.reader;
    const lease = { reader: this.#open(), untilMs: this.#nowMs() + LEASE_MS };
    this.#lease = lease;
    try {
      return await lease.reader;
    } catch (thrown) {
      if (this.#lease === lease) this.#lease = undefined;
      throw thrown;
    } finally {
      // Not before: what it was asked last may still be on its way.
      void held?.reader.then((reader) => reader.close()).catch(() => undefined);
    }
  }

  /** What it answers next is asked on new connections, by logins read anew. */
  end(): void {
    if (this.#lease !== undefined) this.#lease = { ...this.#lease, untilMs: -Infinity };
  }
}

/** By the secrets that the environment names; without them by the configuration as it is. */
export async function openReader(config: Config): Promise<Reader> {
  const { clickhouseSecret, clickhouseCa, redisAddresses, redisSecret } = operationEnvironment();
  trustOnce(clickhouseCa);
  const [clickhouse, redis] = await Promise.all([
    clickhouseSecret === undefined ? null : readLogin(clickhouseSecret),
    redisSecret === undefined ? null : readLogin(redisSecret),
  ]);
  return new Reader({
    ...config,
    ...(clickhouse === null ? {} : { clickhouseUser: clickhouse.username, clickhousePassword: clickhouse.password }),
    ...(redis === null ? {} : { redis: redisAddresses.map((address) => redisUrl(address, redis)).join(",") }),
  });
}

function redisUrl(address: string, { username, password }: Login): string {
  return `rediss://${encodeURIComponent(username)}:${encodeURIComponent(password)}@${address}`;
}

let trusted: string | undefined;

function trustOnce(authority: string | undefined): void {
  if (authority === undefined || authority === trusted) return;
  setDefaultCACertificates([...getCACertificates("default"), authority]);
  trusted = authority;
}
