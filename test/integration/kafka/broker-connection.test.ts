/** One connection against a broker that does what no real one does on demand. */
import { createServer, type Server, type Socket } from "node:net";
import { setTimeout as pause } from "node:timers/promises";
import { afterEach, describe, expect, test } from "vitest";
import type { Api } from "#shared/clients/kafka/api.ts";
import { BrokerConnection } from "#shared/clients/kafka/broker-connection.ts";
import { BufferPool } from "#shared/clients/kafka/buffer-pool.ts";
import { ConnectionLostError } from "#shared/clients/kafka/broker-error.ts";
import { WireWriter } from "#shared/clients/kafka/wire.ts";
import { UnavailableError } from "#shared/kernel/errors.ts";
import { settles } from "#test/support/process.ts";

const ECHO: Api = { name: "Echo", key: 1, version: 12 };
const CLASSIC: Api = { name: "Classic", key: 17, version: 1, flexible: false };
const TIMEOUT_MS = 5_000;

let server: Server | undefined;
let sockets: Socket[] = [];
let connection: BrokerConnection | undefined;

afterEach(async () => {
  connection?.close();
  for (const socket of sockets) socket.destroy();
  sockets = [];
  await new Promise<void>((resolve) => (server === undefined ? resolve() : server.close(() => resolve())));
  server = undefined;
});

/** Gives each whole request, without its length, to `answer`. */
async function connectTo(answer: (socket: Socket, request: Buffer) => unknown): Promise<BrokerConnection> {
  server = createServer((socket) => {
    sockets.push(socket);
    let received = Buffer.alloc(0);
    socket.on("error", () => undefined);
    socket.on("data", (chunk) => {
      received = Buffer.concat([received, chunk]);
      while (received.length >= 4 && received.length >= 4 + received.readInt32BE(0)) {
        const end = 4 + received.readInt32BE(0);
        void answer(socket, received.subarray(4, end));
        received = received.subarray(end);
      }
    });
  });
  const { port } = await new Promise<{ port: number }>((resolve) => {
    server!.listen(0, "127.0.0.1", () => resolve(server!.address() as { port: number }));
  });
  connection = await BrokerConnection.open(`127.0.0.1:${port}`, { brokers: [], clientId: "test" }, new BufferPool());
  return connection;
}

function answerTo(request: Buffer, content: Uint8Array): Buffer {
  const head = Buffer.alloc(9);
  head.writeInt32BE(5 + content.length, 0);
  request.copy(head, 4, 4, 8);
  return Buffer.concat([head, content]);
}

const echo = (socket: Socket, request: Buffer): unknown => socket.write(answerTo(request, request));
const ask = (content: Uint8Array, timeoutMs = TIMEOUT_MS): Promise<Buffer> =>
  connection!.request(ECHO, new WireWriter().bytes(content).tags().finish(), (reader) => readRest(reader), timeoutMs);

function readRest(reader: { int8(): number }): Buffer {
  const bytes: number[] = [];
  for (;;) {
    try {
      bytes.push(reader.int8() & 0xff);
    } catch {
      return Buffer.from(bytes);
    }
  }
}

describe("a request", () => {
  test("goes out as the protocol says: key, version, number, client, then the body", async () => {
    await connectTo(echo);
    expect((await ask(Buffer.from("hi"))).toString("hex")).toBe(
      ["0001", "000c", "00000001", "0004", "74657374", "00", "03", "6869", "00"].join(""),
    );
    const classic = await connection!.request(CLASSIC, new WireWriter().int8(7).finish(), readRest, TIMEOUT_MS);
    expect(classic.toString("hex")).toBe(["00", "0011", "0001", "00000002", "0004", "74657374", "07"].join(""));
  });

  test.each([1, 3, 4_093, 4_096, 65_536])("gets its answer whole when it comes in pieces of %d bytes", async (size) => {
    await connectTo(async (socket, request) => {
      const whole = answerTo(request, request);
      socket.setNoDelay(true);
      for (let at = 0; at < whole.length; at += size) {
        socket.write(whole.subarray(at, at + size));
        if (at < 20 * size) await new Promise((resolve) => setImmediate(resolve));
      }
    });
    const content = Buffer.from(Array.from({ length: 20_000 }, (_, i) => i % 251));
    for (let round = 0; round < 3; round++) {
      const got = await ask(content);
      expect(got.indexOf(content)).toBeGreaterThan(0);
    }
    expect(connection!.isUsable).toBe(true);
  });
});

describe("a connection is given up, and the request's outcome called unknown, when", () => {
  test("no answer comes in time", async () => {
    await connectTo(() => undefined);
    await expect(ask(Buffer.from("x"), 50)).rejects.toBeInstanceOf(ConnectionLostError);
    expect(connection!.isUsable).toBe(false);
    await expect(ask(Buffer.from("x"), 50)).rejects.toThrow("no answer within 50 ms");
  });

  test("the broker closes in the middle of an answer", async () => {
    await connectTo((socket, request) => socket.end(answerTo(request, Buffer.alloc(50_000)).subarray(0, 20_000)));
    await expect(ask(Buffer.from("x"))).rejects.toThrow("the broker closed the connection");
  });

  test("the broker resets it", async () => {
    await connectTo((socket) => socket.resetAndDestroy());
    await expect(ask(Buffer.from("x"))).rejects.toBeInstanceOf(ConnectionLostError);
  });

  test("the answer belongs to another request", async () => {
    await connectTo((socket, request) => {
      request.writeInt32BE(99, 4);
      socket.write(answerTo(request, request));
    });
    await expect(ask(Buffer.from("x"))).rejects.toThrow("another request");
  });

  test("more comes than was asked for", async () => {
    await connectTo((socket, request) => socket.write(Buffer.concat([answerTo(request, request), Buffer.alloc(100)])));
    await expect(ask(Buffer.from("x"))).rejects.toBeInstanceOf(ConnectionLostError);
    expect(connection!.isUsable).toBe(false);
  });

  test.each([
    ["a TLS alert", "15030100020246"],
    ["a web server", Buffer.from("HTTP/1.1 400 Bad Request\r\n").toString("hex")],
  ])("%s answers", async (_who, bytes) => {
    await connectTo((socket) => socket.write(Buffer.from(bytes, "hex")));
    await expect(ask(Buffer.from("x"))).rejects.toThrow("perhaps this port wants TLS");
  });
});

test("an idle connection that the broker closes is not used again", async () => {
  await connectTo(echo);
  await ask(Buffer.from("x"));
  expect(connection!.isUsable).toBe(true);
  sockets[0]!.end();
  await settles(() => expect(connection!.isUsable).toBe(false));
});

test("nobody listening is said with the address", async () => {
  const opening = BrokerConnection.open("127.0.0.1:1", { brokers: [], clientId: "test" }, new BufferPool());
  await expect(opening).rejects.toBeInstanceOf(UnavailableError);
  await expect(opening).rejects.toThrow("127.0.0.1:1");
});

test("a second request on a busy connection is a bug, and does no harm to the first", async () => {
  await connectTo(async (socket, request) => {
    await pause(20);
    echo(socket, request);
  });
  const first = ask(Buffer.from("first"));
  await expect(ask(Buffer.from("second"))).rejects.toThrow("one request at a time");
  expect((await first).includes("first")).toBe(true);
});
