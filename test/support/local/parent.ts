/** A parent to be killed: starts the named servers and services below a folder, says their pids, and waits. */
import { join } from "node:path";
import { startChild } from "#local/services/child-process.ts";
import { startServer } from "#local/services/servers.ts";
import type { ServerName } from "#local/services/running-server.ts";

const [folder = "", ...names] = process.argv.slice(2);
const pids: number[] = [];
for (const name of names) {
  if (name === "stubborn") {
    // Ignores SIGTERM and the end of its stdin, and has a child of its own.
    const script = "trap '' TERM; sleep 1000 & echo $! >&2; wait; while :; do sleep 1; done";
    const options = {
      command: "/bin/sh",
      args: ["-c", script],
      cwd: folder,
      environment: { PATH: "/usr/bin:/bin" },
      logFile: join(folder, "stubborn.log"),
    };
    const child = await startChild({ name, ...options, stdin: true });
    while (child.lastLines().length === 0) await new Promise((resolve) => setTimeout(resolve, 5));
    pids.push(child.pid, Number(child.lastLines()[0]));
  } else {
    pids.push((await startServer(name as ServerName, { dir: join(folder, name) })).pid);
  }
}
process.stdout.write(`${JSON.stringify(pids)}\n`);
setInterval(() => {}, 60_000);
