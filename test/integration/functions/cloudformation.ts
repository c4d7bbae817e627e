/** CloudFormation as a custom resource sees it: a request, and an address that takes the answer. */
import { once } from "node:events";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { z } from "zod";

const answer = z.object({
  Status: z.enum(["SUCCESS", "FAILED"]),
  PhysicalResourceId: z.string(),
  StackId: z.string(),
  RequestId: z.string(),
  LogicalResourceId: z.string(),
  Reason: z.string().optional(),
  Data: z.record(z.string(), z.string()).optional(),
});

export type Answer = z.output<typeof answer>;

export class Cloudformation {
  readonly #server: Server;
  readonly #answers: Answer[] = [];
  #refusals = 0;

  private constructor(server: Server) {
    this.#server = server;
    server.on("request", (request, response) => {
      const pieces: Buffer[] = [];
      request.on("data", (piece: Buffer) => pieces.push(piece));
      request.on("end", () => {
        if (this.#refusals-- > 0) response.writeHead(503).end();
        else {
          this.#answers.push(answer.parse(JSON.parse(Buffer.concat(pieces).toString())));
          response.end();
        }
      });
    });
  }

  static async start(): Promise<Cloudformation> {
    const server = createServer().listen(0, "127.0.0.1");
    await once(server, "listening");
    return new Cloudformation(server);
  }

  /** So many answers are not taken at first. */
  refuse(answers: number): void {
    this.#refusals = answers;
  }

  request(type: "Create" | "Update" | "Delete", properties: object, before?: object): string {
    return JSON.stringify({
      RequestType: type,
      ResponseURL: `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/answer?signature=PLANTED-SIGNATURE`,
      StackId: "arn:aws:cloudformation:eu-central-1:123456789012:stack/weir-test-streaming/1",
      RequestId: "request-1",
      LogicalResourceId: "Access",
      ResourceType: "Custom::KafkaAccess",
      ResourceProperties: { ServiceToken: "arn", ...properties },
      ...(before === undefined ? {} : { OldResourceProperties: { ServiceToken: "arn", ...before } }),
    });
  }

  /** The one that came since the last call. */
  takeAnswer(): Answer {
    const [one, ...more] = this.#answers.splice(0);
    if (one === undefined || more.length > 0) throw new Error(`${one === undefined ? "no answer" : "more than one answer"} came`);
    return one;
  }

  stop(): void {
    this.#server.closeAllConnections();
    this.#server.close();
  }
}
