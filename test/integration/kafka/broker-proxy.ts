/**
 * A relay before one broker that understands Kafka's framing, so that a test can hold a request back, or alter an answer, exactly where it
 * matters. Without a rule it only passes bytes on.
 */
import { connect, createServer, type Server, type Socket } from "node:net";

export const API = { fetch: 1, endTxn: 26 } as const;

/** What is held was sent by a client whose connection is gone: it only knows that no answer came. */
export interface HeldRequest {
  /** Resolves with the broker's answer, as bytes behind the length. */
  release(): Promise<Buffer>;
}

interface HoldRule {
  readonly apiKey: number;
  held(request: HeldRequest): void;
}

export class BrokerProxy {
  readonly port: number;
  readonly #brokerPort: number;
  readonly #sockets = new Set<Socket>();
  #server: Server | null = null;
  #hold: HoldRule | null = null;
  #alter: ((answer: Buffer) => boolean) | null = null;

  constructor(brokerPort: number, port: number) {
    this.#brokerPort = brokerPort;
    this.port = port;
  }

  async open(): Promise<void> {
    if (this.#server !== null) return;
    const server = createServer({ noDelay: true }, (client) => this.#relay(client, this.#brokerPort));
    this.#server = server;
    await new Promise<void>((resolve) => server.listen(this.port, "127.0.0.1", resolve));
  }

  /** Refuses connections from now on, as the port of a dead broker does. */
  async close(): Promise<void> {
    const server = this.#server;
    this.#server = null;
    for (const socket of this.#sockets) socket.destroy();
    if (server !== null) await new Promise((resolve) => server.close(resolve));
  }

  /** The next request of this kind does not arrive; its client loses the connection. */
  holdNext(apiKey: number): Promise<HeldRequest> {
    return new Promise((resolve) => {
      this.#hold = { apiKey, held: resolve };
    });
  }

  /** Sees answers of Fetch until it says that it altered one in place. */
  alterFetch(alter: (answer: Buffer) => boolean): void {
    this.#alter = alter;
  }

  #relay(client: Socket, brokerPort: number): void {
    const broker = connect({ port: brokerPort, host: "127.0.0.1", noDelay: true });
    const asked = new Map<number, number>();
    let answerHeld: ((answer: Buffer) => void) | null = null;
    for (const socket of [client, broker]) {
      this.#sockets.add(socket);
      socket.on("error", () => undefined);
      socket.on("close", () => this.#sockets.delete(socket));
    }
    client.on("close", () => answerHeld ?? broker.destroy());
    broker.on("close", () => client.destroy());
    const toBroker = framed((frame) => {
      const apiKey = frame.readInt16BE(4);
      const hold = this.#hold;
      if (hold?.apiKey !== apiKey) {
        asked.set(frame.readInt32BE(8), apiKey);
        broker.write(frame);
        return;
      }
      this.#hold = null;
      const answered = new Promise<Buffer>((resolve) => {
        answerHeld = resolve;
      });
      client.destroy();
      hold.held({
        release: () => {
          broker.write(frame);
          return answered;
        },
      });
    });
    const toClient = framed((frame) => {
      if (answerHeld !== null) {
        answerHeld(frame.subarray(4));
        broker.destroy();
        return;
      }
      const isFetch = asked.get(frame.readInt32BE(4)) === API.fetch;
      asked.delete(frame.readInt32BE(4));
      if (isFetch && this.#alter?.(frame) === true) this.#alter = null;
      client.write(frame);
    });
    client.on("data", toBroker);
    broker.on("data", toClient);
  }
}

/** Whole frames, length included; each a copy that may be written to. */
function framed(each: (frame: Buffer) => void): (chunk: Buffer) => void {
  let rest = Buffer.alloc(0);
  return (chunk) => {
    rest = Buffer.concat([rest, chunk]);
    while (rest.length >= 4 && rest.length >= 4 + rest.readInt32BE(0)) {
      const size = 4 + rest.readInt32BE(0);
      each(Buffer.from(rest.subarray(0, size)));
      rest = rest.subarray(size);
    }
  };
}
