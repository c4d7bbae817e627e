/**
 * A server of the S3 protocol for one test file: moto's, in a process of its own, with one thread, since only so are its conditional writes
 * atomic. Undefined where the machine's Python has no moto.
 */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { freePorts } from "#local/services/port.ts";
import { settles } from "./process.ts";

const PROGRAM = `
import sys
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import run_simple
run_simple("127.0.0.1", int(sys.argv[1]), DomainDispatcherApplication(create_backend_app), threaded=False)
`;

export const hasS3Server = ((): boolean => {
  try {
    execFileSync("python3", ["-c", "import moto.moto_server.werkzeug_app"], { stdio: "ignore", timeout: 30_000 });
    return true;
  } catch {
    return false;
  }
})();

export interface S3Server {
  readonly endpoint: string;
  /** What an AWS client takes from its environment to come here. */
  readonly environment: Readonly<Record<string, string>>;
  readonly process: ChildProcess;
  stop(): Promise<void>;
}

export async function startS3Server(): Promise<S3Server> {
  const [port] = await freePorts(1);
  const child = spawn("python3", ["-c", PROGRAM, String(port)], { stdio: ["ignore", "ignore", "pipe"] });
  let log = "";
  child.stderr?.on("data", (chunk: Buffer) => (log += chunk.toString()));
  const endpoint = `http://127.0.0.1:${port}`;
  await settles(
    async () => {
      const answer = await fetch(`${endpoint}/moto-api/`).catch((thrown: unknown) => {
        throw new Error(`the S3 server does not answer: ${String(thrown)}\n${log}`);
      });
      if (!answer.ok) throw new Error(`the S3 server answers ${answer.status}`);
    },
    { limitMs: 30_000, unless: () => child.exitCode !== null },
  );
  return {
    endpoint,
    environment: {
      AWS_ENDPOINT_URL_S3: endpoint,
      AWS_REGION: "eu-central-1",
      AWS_ACCESS_KEY_ID: "test",
      AWS_SECRET_ACCESS_KEY: "test",
    },
    process: child,
    async stop() {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const exited = once(child, "exit");
      child.kill("SIGKILL");
      await exited;
    },
  };
}
