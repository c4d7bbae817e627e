import { readPipelineStatus } from "#local/state.ts";
import { type Command, EXIT, parseOptions, table } from "./command.ts";
import { findPipeline, withKafka } from "./pipeline.ts";
import { readProgress } from "./progress.ts";

export const command: Command = {
  summary: "what runs, where, and how far each partition is",
  help: `usage: weir status [--json] [--lane NAME] [--data-dir DIR]

Parts and addresses of the pipeline of this data folder; per partition what is produced, validated and folded, and the processor's ledger.

examples:
  weir status
  weir status --json | jq .partitions
`,
  async run({ args, out }) {
    const { values } = parseOptions(args, {});
    const { config, local } = findPipeline({ dataDir: values["data-dir"], lane: values.lane });
    const parts = (local === undefined ? undefined : readPipelineStatus(local.dataDir))?.parts ?? [];
    const partitions = await withKafka(config, (kafka) => readProgress(kafka, config));
    if (values.json === true) {
      out(
        `${JSON.stringify({ lane: config.lane, generation: config.generation, dataDir: config.dataDir, statusUrl: local?.statusUrl ?? null, parts, partitions })}\n`,
      );
      return EXIT.ok;
    }
    out(
      `lane ${config.lane}, generation ${config.generation}, data ${config.dataDir}${local === undefined ? "" : `, starter pid ${local.pid}`}\n`,
    );
    if (local !== undefined && local.statusUrl !== "") out(`status page ${local.statusUrl}\n`);
    if (parts.length > 0) {
      const nowMs = Date.now();
      const rows = parts.map((part) => [
        part.name,
        part.state,
        part.pid ?? "",
        part.restarts,
        `${Math.round((nowMs - part.sinceMs) / 1_000)} s`,
        part.address ?? "",
      ]);
      out(`\n${table([["part", "state", "pid", "restarts", "since", "address"], ...rows])}`);
      // A starter of an older version does not write it.
      for (const { name, trouble = null } of parts) if (trouble !== null) out(`\n! ${name}: ${trouble}\n`);
    }
    const rows = partitions.map(({ partition, rawStart, rawEnd, validated, progress }) => {
      const counts = progress?.counts;
      const waiting = rawEnd - Math.max(rawStart, (progress?.hw ?? -1) + 1);
      const watermarkMs = progress?.watermarkMs ?? null;
      const watermark = watermarkMs === null ? "" : new Date(watermarkMs).toISOString();
      return [
        partition,
        rawEnd - rawStart,
        Math.max(0, validated - rawStart),
        counts?.raw ?? 0,
        counts?.clean ?? 0,
        counts?.deadLettered ?? 0,
        counts?.duplicate ?? 0,
        counts?.late ?? 0,
        waiting,
        watermark,
      ];
    });
    out(`\n${table([["p", "produced", "validated", "folded", "clean", "dead", "duplicate", "late", "waiting", "watermark"], ...rows])}`);
    return EXIT.ok;
  },
};
