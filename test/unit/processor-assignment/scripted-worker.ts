/** Stands in for a worker of the processor: partition 0 runs, 1 is fenced, 2 asks first, and 9 takes the thread down. */
import { parentPort } from "node:worker_threads";
import { endFacts, type FromWorker, type ToWorker } from "#processor/assignment/worker-messages.ts";
import { FencedError } from "#shared/kernel/errors.ts";

const tell = (message: FromWorker): void => parentPort!.postMessage(message);

parentPort!.on("message", (message: ToWorker) => {
  switch (message.kind) {
    case "start": {
      const { partition } = message;
      if (partition === 9) process.exit(7);
      if (partition === 1) {
        const error = new FencedError("a newer owner exists", { code: "KAFKA_FENCED", hint: "none" });
        tell({ kind: "ended", partition, end: endFacts({ kind: "fenced", error }) });
      } else if (partition === 2) tell({ kind: "confirm", question: 5, partition });
      else tell({ kind: "running", partition });
      return;
    }
    case "stop":
      tell({ kind: "ended", partition: message.partition, end: { kind: "stopped" } });
      return;
    case "confirmed":
      if (message.isOurs) tell({ kind: "running", partition: 2 });
      return;
    case "close":
      parentPort!.close();
  }
});
