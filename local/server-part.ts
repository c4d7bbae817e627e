/** A server as a supervised part: it keeps its port and its folder over every restart. */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { freePorts, isPortFree } from "./services/port.ts";
import type { ServerName } from "./services/running-server.ts";
import { startServer } from "./services/servers.ts";
import type { Part } from "./supervisor.ts";

const START_LIMIT_MS = 60_000;

export interface ServerPartOptions {
  readonly name: ServerName;
  readonly dataDir: string;
  /** The port that everybody expects it on. */
  readonly usualPort: number;
  /** `auto`: any other when the usual one is taken; `fixed`: refuse, naming who has it. */
  readonly ports: "auto" | "fixed";
}

export function serverPart({ name, dataDir, usualPort, ports }: ServerPartOptions): Part {
  const logDir = join(dataDir, "logs");
  mkdirSync(logDir, { recursive: true });
  let settled: number | undefined;
  return {
    name,
    kind: "server",
    start: async (signal) => {
      const start = (port: number) =>
        startServer(name, { dir: join(dataDir, name), port, logFile: join(logDir, `${name}.log`), limitMs: START_LIMIT_MS, signal });
      const port = settled ?? (ports === "fixed" || (await isPortFree(usualPort)) ? usualPort : (await freePorts(1))[0]!);
      try {
        const server = await start(port);
        settled = port;
        return server;
      } catch (thrown) {
        // Somebody took the port between our look and the server's bind, as two starts at once do.
        if (settled !== undefined || ports === "fixed" || signal.aborted || (await isPortFree(port))) throw thrown;
        const [other = 0] = await freePorts(1);
        const server = await start(other);
        settled = other;
        return server;
      }
    },
  };
}
