#!/usr/bin/env node
// Runs under whatever Node there is: an older one hands over to the Node 24 that the packages carry.
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";

if (Number(process.versions.node.split(".")[0]) >= 24) {
  const { runProcess } = await import("./main.ts");
  await runProcess();
} else {
  const node = fileURLToPath(new URL("../node_modules/.bin/node", import.meta.url));
  if (!existsSync(node)) {
    process.stderr.write(`weir: Node 24 is needed, this is ${process.version}\n  fix: npm ci --include=optional\n`);
    process.exit(4);
  }
  const child = spawn(node, [fileURLToPath(new URL("main.ts", import.meta.url)), ...process.argv.slice(2)], { stdio: "inherit" });
  for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => child.kill(signal));
  child.on("exit", (code, signal) => process.exit(code ?? (signal === "SIGINT" ? 130 : 1)));
}
