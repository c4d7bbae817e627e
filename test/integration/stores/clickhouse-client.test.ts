import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, describe, expect, inject, test } from "vitest";
import { Clickhouse } from "#shared/clients/clickhouse/client.ts";

let clickhouse: Clickhouse;

beforeAll(() => {
  clickhouse = new Clickhouse({ url: inject("stack").clickhouse, user: "default", password: "" });
});

afterAll(async () => {
  await clickhouse.close();
});

/** A server that answers each request in one way, for as long as the work lasts. */
async function against(
  answer: Parameters<typeof createServer>[1] & object,
  work: (client: Clickhouse) => Promise<void>,
  requestTimeoutMs = 5_000,
): Promise<void> {
  const server = createServer(answer);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const client = new Clickhouse({
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    user: "default",
    password: "",
    requestTimeoutMs,
  });
  try {
    await work(client);
  } finally {
    await client.close();
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }
}

const INSERT = { table: "t", bytes: new Uint8Array(100), token: "x", queryId: "x#1" };

describe("an error says what to do", () => {
  test("content that the server refuses will never be taken", async () => {
    await expect(clickhouse.query("SELECT nothing FROM nowhere")).rejects.toMatchObject({
      name: "OperatingError",
      code: "CLICKHOUSE_REFUSED",
    });
    await expect(clickhouse.insertArrow({ ...INSERT, table: "system.one", queryId: "test-refused" })).rejects.toMatchObject({
      code: "CLICKHOUSE_REFUSED",
    });
  });

  test("what took too long on the server has ended there and may go again", async () => {
    const slow = clickhouse.query("SELECT sleepEachRow(0.5) FROM numbers(20) SETTINGS max_execution_time = 1, max_block_size = 1");
    await expect(slow).rejects.toMatchObject({ name: "TransientError", code: "CLICKHOUSE_BUSY" });
  });

  test("where nothing listens nothing was done", async () => {
    const nowhere = new Clickhouse({ url: "http://127.0.0.1:1", user: "default", password: "" });
    await expect(nowhere.insertArrow(INSERT)).rejects.toMatchObject({ name: "UnavailableError", code: "CLICKHOUSE_UNAVAILABLE" });
    await nowhere.close();
  });

  test.each<[string, Parameters<typeof against>[0]]>([
    [
      "breaks the connection behind the request",
      (request) => request.on("data", () => undefined).on("end", () => request.socket.destroy()),
    ],
    ["does not answer in time", (request) => request.resume()],
    [
      "is a gateway that gave up",
      (request, response) => request.on("end", () => response.writeHead(504).end("<html>gateway time-out</html>")).resume(),
    ],
    ["says 200 and then something else", (request, response) => request.on("end", () => response.end("Code: 241. DB::Exception")).resume()],
  ])("an insert to a server that %s may have happened", async (_, answer) => {
    await against(
      answer,
      async (client) => {
        await expect(client.insertArrow(INSERT)).rejects.toMatchObject({ name: "UnknownOutcomeError", code: "CLICKHOUSE_UNCLEAR" });
      },
      1_000,
    );
  });

  test("a large result that breaks off in the middle is an error of the same kinds, never a shorter result", async () => {
    let rows = 0;
    const reading = (async () => {
      const sql = "SELECT number, throwIf(number = 3000000) FROM numbers(4000000) SETTINGS max_threads = 1, wait_end_of_query = 0";
      for await (const chunk of clickhouse.stream<unknown[]>(sql)) rows += chunk.length;
    })();
    await expect(reading).rejects.toMatchObject({ code: expect.stringMatching(/^CLICKHOUSE_/) as string });
    expect(rows).toBeLessThan(4_000_000);
  });
});

test("waiting for a query to be gone ends when it has, and at once when there is none", async () => {
  await clickhouse.waitUntilGone("test-never-was");
  const url = new URL(inject("stack").clickhouse);
  url.search = new URLSearchParams({ query: "SELECT sleepEachRow(1) FROM numbers(2) FORMAT Null", query_id: "test-still-runs" }).toString();
  const running = fetch(url, { method: "POST" }).then((answer) => answer.text());
  const isRunning = async (): Promise<boolean> =>
    (await clickhouse.query("SELECT 1 FROM system.processes WHERE query_id = 'test-still-runs'")).length > 0;
  while (!(await isRunning()));
  await clickhouse.waitUntilGone("test-still-runs");
  expect(await isRunning()).toBe(false);
  expect(await running).toBe("");
});
