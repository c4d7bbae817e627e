/** Serves `/metrics` on loopback, to a scraper on this machine. It must never be a reason for the work behind it to stop. */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { toError } from "../kernel/errors.ts";
import type { Logger } from "./logger.ts";
import { PROMETHEUS_TYPE } from "./prometheus.ts";

const LOOPBACK = "127.0.0.1";

export interface MetricsPage {
  readonly url: string;
  close(): void;
}

/** A taken port is given up for a free one, with a warning: several processors may run on one machine with one configuration. */
export async function openMetricsPage(port: number, text: () => string, log: Logger): Promise<MetricsPage> {
  const server = createServer({ requestTimeout: 10_000, headersTimeout: 5_000 }, (request, response) => {
    // Own address only, so that no page of another site can read it through the browser (DNS rebinding).
    const own = (server.address() as AddressInfo).port;
    if (request.headers.host !== `${LOOPBACK}:${own}` && request.headers.host !== `localhost:${own}`) response.writeHead(403).end();
    else if (request.method !== "GET") response.writeHead(405, { Allow: "GET" }).end();
    else if (request.url !== "/metrics") response.writeHead(404).end("see /metrics\n");
    else {
      try {
        response.writeHead(200, { "Content-Type": PROMETHEUS_TYPE, "Cache-Control": "no-store" }).end(text());
      } catch (thrown) {
        log.warn("metrics could not be read", { error: toError(thrown).message });
        if (!response.headersSent) response.writeHead(500);
        response.end();
      }
    }
  });
  const listen = (at: number): Promise<void> =>
    new Promise((resolve, reject) => {
      server.once("error", reject);
      server.listen(at, LOOPBACK, () => {
        server.off("error", reject);
        resolve();
      });
    });
  await listen(port).catch(async (thrown: unknown) => {
    log.warn("metrics port is taken, another is used", { port, error: toError(thrown).message });
    await listen(0);
  });
  server.on("error", (error) => log.warn("metrics page failed", { error: error.message }));
  server.unref();
  const url = `http://${LOOPBACK}:${(server.address() as AddressInfo).port}/metrics`;
  log.info("metrics page", { url });
  return {
    url,
    close() {
      server.close();
      server.closeAllConnections();
    },
  };
}
