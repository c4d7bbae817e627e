/**
 * The status page: read-only, on loopback. It answers requests for its own address only, so that no page of another site can read it through
 * the browser (DNS rebinding), and serves nothing from elsewhere.
 */
import { readFile } from "node:fs/promises";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { Clickhouse } from "#shared/clients/clickhouse/client.ts";
import { openKafka } from "#shared/clients/kafka/client.ts";
import { kafkaOptions } from "#shared/clients/kafka/kafka-options.ts";
import type { Kafka } from "#shared/clients/kafka/types.ts";
import { toError } from "#shared/kernel/errors.ts";
import { runService } from "#shared/telemetry/service.ts";
import { StatusReader, type StatusView } from "./status-reader.ts";

const WEB = join(import.meta.dirname, "../web");
const LOOPBACK = "127.0.0.1";
/** However many look: the sources are asked this often at most. */
const FRESH_MS = 1_000;

const FILES: Readonly<Record<string, readonly [file: string, type: string]>> = {
  "/": ["index.html", "text/html; charset=utf-8"],
  "/page.js": ["page.js", "text/javascript; charset=utf-8"],
  "/page.css": ["page.css", "text/css; charset=utf-8"],
};

const HEADERS = {
  "Content-Security-Policy":
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  "X-Content-Type-Options": "nosniff",
  "Referrer-Policy": "no-referrer",
  "Cache-Control": "no-store",
} as const;

function isOwn(request: IncomingMessage, port: number): boolean {
  const hosts = [`${LOOPBACK}:${port}`, `localhost:${port}`];
  const { host, origin } = request.headers;
  return host !== undefined && hosts.includes(host) && (origin === undefined || hosts.some((own) => origin === `http://${own}`));
}

await runService("status", async ({ config, log, stop, ready }) => {
  // Opened by the first look that finds it: a page about an outage must not need the part that is out.
  let opened: Promise<Kafka> | undefined;
  const kafka = (): Promise<Kafka> =>
    (opened ??= kafkaOptions(config)
      .then((access) => openKafka({ ...access, clientId: "weir-status", unavailableAfterMs: 3_000 }))
      .catch((thrown: unknown) => {
        opened = undefined;
        throw thrown;
      }));
  const clickhouse = new Clickhouse({
    url: config.clickhouse,
    user: config.clickhouseUser,
    password: config.clickhousePassword,
    requestTimeoutMs: 5_000,
  });
  const reader = new StatusReader(config, kafka, clickhouse);
  let latest: { readonly atMs: number; readonly view: Promise<StatusView>; isRead: boolean } | undefined;

  const status = (): Promise<StatusView> => {
    const nowMs = Date.now();
    // A read that waits for a source that is down is shared too, however long it takes.
    if (latest === undefined || (latest.isRead && nowMs - latest.atMs > FRESH_MS)) {
      const entry = { atMs: nowMs, view: reader.read(nowMs).finally(() => (entry.isRead = true)), isRead: false };
      latest = entry;
    }
    return latest.view;
  };

  const answer = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const { port } = server.address() as AddressInfo;
    const path = (request.url ?? "/").split("?")[0]!;
    const file = FILES[path];
    if (!isOwn(request, port)) response.writeHead(403, HEADERS).end("this page answers to its own address only\n");
    else if (request.method !== "GET") response.writeHead(405, { ...HEADERS, Allow: "GET" }).end("read-only\n");
    else if (path === "/api/status")
      response.writeHead(200, { ...HEADERS, "Content-Type": "application/json" }).end(JSON.stringify(await status()));
    else if (file !== undefined) response.writeHead(200, { ...HEADERS, "Content-Type": file[1] }).end(await readFile(join(WEB, file[0])));
    else response.writeHead(404, HEADERS).end("no such page\n");
  };

  const server = createServer({ requestTimeout: 10_000, headersTimeout: 5_000 }, (request, response) => {
    answer(request, response).catch((thrown: unknown) => {
      log.warn("status page request failed", { error: toError(thrown).message });
      if (!response.headersSent) response.writeHead(500, HEADERS);
      response.end("the status could not be read, see the log\n");
    });
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(config.statusPort, LOOPBACK, resolve);
  });
  ready({ url: `http://${LOOPBACK}:${(server.address() as AddressInfo).port}` });
  await new Promise<void>((resolve) => stop.addEventListener("abort", () => resolve(), { once: true }));
  server.close();
  server.closeAllConnections();
  await clickhouse.close();
  // Still opening or refused: nothing to close, and the process ends anyway.
  await opened?.then(
    (client) => client.close(),
    () => {},
  );
});
