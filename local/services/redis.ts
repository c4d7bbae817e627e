/** Redis or Valkey with an append-only file: after kill -9 it has lost at most a second, and what it lost is rebuilt from the log. */

import { part } from "./parts.ts";
import { LOOPBACK } from "./port.ts";
import { claimPort, ensureDir, exchange, launch, type RunningServer, type ServerOptions } from "./running-server.ts";

export async function startRedis(options: ServerOptions): Promise<RunningServer> {
  const dir = await ensureDir(options.dir);
  const port = await claimPort("Redis", options.port);
  const settings: Readonly<Record<string, string>> = {
    port: String(port),
    bind: LOOPBACK,
    dir,
    appendonly: "yes",
    appendfsync: "everysec",
    save: "",
    // What ElastiCache is set to as well: a full cache refuses writes, it never drops another key's value silently.
    "maxmemory-policy": "noeviction",
    maxmemory: "512mb",
    loglevel: "notice",
  };
  return launch("redis", options, {
    port,
    address: `redis://${LOOPBACK}:${port}`,
    child: {
      command: part("bin/redis-server"),
      args: Object.entries(settings).flatMap(([key, value]) => [`--${key}`, value]),
      cwd: dir,
      environment: { LC_ALL: "C" },
    },
    probe: async () => {
      const answer = await exchange(port, "PING\r\n", { want: 5 });
      if (!answer.toString("latin1").startsWith("+PONG")) throw new Error(answer.toString("latin1").trim());
    },
    stop: (child) => child.stop({ limitMs: 5_000 }),
  });
}
