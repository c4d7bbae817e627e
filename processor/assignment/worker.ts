/** A worker thread: tasks of some partitions, with connections, folds and memory of its own. The main thread says which and answers for the group. */
import { parentPort } from "node:worker_threads";
import type { HostedTask } from "#shared/assignment/partition-owner.ts";
import { openKafka } from "#shared/clients/kafka/client.ts";
import { kafkaOptions } from "#shared/clients/kafka/kafka-options.ts";
import { loadConfig, processFlags } from "#shared/config/config.ts";
import { assert } from "#shared/kernel/assert.ts";
import { armFailpoint } from "#shared/kernel/failpoint.ts";
import { createLogger } from "#shared/telemetry/logger.ts";
import { LocalHost } from "./task-host.ts";
import { taskMaker } from "./task-maker.ts";
import { endFacts, errorOf, type FromWorker, type ToWorker } from "./worker-messages.ts";

export async function runWorker(name: string): Promise<void> {
  const port = parentPort;
  assert(port !== null, "a worker has a parent");
  if (processFlags.failpoint !== undefined) armFailpoint(processFlags.failpoint);
  const config = loadConfig();
  const log = createLogger({ service: "processor", pid: process.pid, worker: name });
  const tell = (message: FromWorker): void => port.postMessage(message);
  const tasks = new Map<number, HostedTask>();
  const questions = new Map<number, PromiseWithResolvers<boolean>>();
  let asked = 0;
  const confirm = (partition: number): Promise<boolean> => {
    const answer = Promise.withResolvers<boolean>();
    questions.set(++asked, answer);
    tell({ kind: "confirm", question: asked, partition });
    return answer.promise;
  };
  // What is said before it is open waits in the port.
  const kafka = await openKafka({ ...(await kafkaOptions(config)), clientId: "weir-processor" });
  const host = new LocalHost(taskMaker(config, kafka, log), confirm);
  port.on("message", (message: ToWorker) => {
    switch (message.kind) {
      case "start": {
        const { partition } = message;
        const task = host.start(partition);
        tasks.set(partition, task);
        void task.running.then(() => tell({ kind: "running", partition }));
        void task.end.then((end) => {
          tasks.delete(partition);
          tell({ kind: "ended", partition, end: endFacts(end) });
        });
        return;
      }
      case "stop":
        tasks.get(message.partition)?.stop();
        return;
      case "confirmed": {
        const question = questions.get(message.question);
        questions.delete(message.question);
        if (message.error === null) question?.resolve(message.isOurs);
        else question?.reject(errorOf(message.error));
        return;
      }
      case "close":
        void kafka.close().finally(() => port.close());
    }
  });
}
