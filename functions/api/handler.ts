/**
 * The read API: Redis first, ClickHouse on a miss, as `weir get` and the dashboard read (shared/read). Decode, ask, encode; whatever happens, the caller gets
 * an answer that says whether to ask again.
 */
import { Logger } from "@aws-lambda-powertools/logger";
import { loadConfig } from "#shared/config/config.ts";
import { describeError, OperatingError } from "#shared/kernel/errors.ts";
import { EmfMetrics, type Metrics, NO_METRICS } from "#shared/telemetry/emf.ts";
import { type ApiRequest, questionOf } from "./question.ts";
import { openReader, ReaderLease } from "./reader-lease.ts";
import { type ApiResponse, failureOf, responseOf } from "./response.ts";

interface InvocationContext {
  readonly awsRequestId?: string;
}

const config = loadConfig();
const logger = new Logger({ serviceName: "weir-api" });
const lease = new ReaderLease(() => openReader(config), Date.now);
const metrics: Metrics =
  config.metrics === "none"
    ? NO_METRICS
    : new EmfMetrics({
        dimensions: { service: "api", environment: config.environment, lane: config.lane },
        intervalMs: config.metricsIntervalMs,
        now: Date.now,
        write: (line) => void process.stdout.write(`${line}\n`),
      });

// Before the first request, while nobody waits for it; one that fails is tried again by the request.
await lease.reader().catch(() => undefined);

export async function handler(request: ApiRequest, context: InvocationContext = {}): Promise<ApiResponse> {
  try {
    const { asked, answer } = questionOf(request);
    const found = await answer(await lease.reader());
    metrics.count("Reads", 1);
    metrics.count("ReadMisses", found.from === "redis" ? 0 : 1);
    metrics.count("ReadsDegraded", found.notes.length === 0 ? 0 : 1);
    if (found.notes.length > 0) logger.warn("answered without one of the stores", { notes: found.notes, requestId: context.awsRequestId });
    return responseOf(asked, found);
  } catch (thrown) {
    const response = failureOf(thrown);
    if (response.statusCode >= 500) {
      const code = thrown instanceof OperatingError ? thrown.code : undefined;
      logger.error("request failed", { problem: describeError(thrown), code, requestId: context.awsRequestId });
      lease.end();
    }
    return response;
  } finally {
    metrics.flush();
  }
}
