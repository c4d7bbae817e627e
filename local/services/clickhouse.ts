/** ClickHouse on HTTP and the native protocol, as its own process; see clickhouse/main.ts for what that process is. */
import { copyFile } from "node:fs/promises";
import { join } from "node:path";
import { packageFile } from "./parts.ts";
import { freePorts, LOOPBACK } from "./port.ts";
import { claimPort, ensureDir, exchange, launch, type RunningServer, type ServerOptions } from "./running-server.ts";

/** The tables are closed 0.1 s after the end of stdin; then the library hangs in its own teardown and is killed. */
const STOP_LIMIT_MS = 1_500;

export async function startClickhouse(options: ServerOptions & { readonly tcpPort?: number }): Promise<RunningServer> {
  const dir = await ensureDir(options.dir);
  const port = await claimPort("ClickHouse", options.port);
  const tcpPort = options.tcpPort ?? (await freePorts(1))[0]!;
  const here = join(import.meta.dirname, "clickhouse");
  for (const file of ["config.xml", "users.xml"]) await copyFile(join(here, file), join(dir, file));
  return launch("clickhouse", options, {
    port,
    address: `http://${LOOPBACK}:${port}`,
    child: {
      command: process.execPath,
      args: [
        join(here, "main.ts"),
        packageFile("@chdb/lib-linux-x64-gnu/libchdb.so"),
        join(dir, "config.xml"),
        join(dir, "data"),
        String(port),
        String(tcpPort),
      ],
      cwd: dir,
      environment: { LC_ALL: "C", TZ: "UTC" },
      stdin: true,
    },
    probe: async () => {
      const answer = await exchange(port, `GET /?query=SELECT+1 HTTP/1.1\r\nHost: ${LOOPBACK}\r\nConnection: close\r\n\r\n`, { want: 15 });
      if (!answer.toString("latin1").startsWith("HTTP/1.1 200")) throw new Error(answer.toString("latin1").split("\r\n")[0]);
    },
    stop: async (child) => {
      child.closeStdin();
      const timer = setTimeout(() => child.signal("SIGKILL"), STOP_LIMIT_MS);
      await child.exited;
      clearTimeout(timer);
    },
  });
}
