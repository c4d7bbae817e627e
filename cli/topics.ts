import { OUTPUT_ROLES, topicName, type TopicRole } from "#shared/events/names.ts";
import { OperatingError } from "#shared/kernel/errors.ts";
import { type Command, EXIT, parseOptions, table } from "./command.ts";
import { findPipeline, withKafka } from "./pipeline.ts";

const ROLES: readonly TopicRole[] = ["raw", "valid", ...OUTPUT_ROLES];

export const command: Command = {
  summary: "the pipeline's topics: partitions, first and next offset, records",
  help: `usage: weir topics [--json] [--lane NAME] [--data-dir DIR]

The topics of one lane. Offsets of outputs count transaction markers too, so that records is an upper bound there.

examples:
  weir topics
  weir topics --lane historical --json
`,
  async run({ args, out }) {
    const { values } = parseOptions(args, {});
    const { config } = findPipeline({ dataDir: values["data-dir"], lane: values.lane });
    const topics = await withKafka(config, (kafka) =>
      Promise.all(
        ROLES.map(async (role) => {
          const topic = topicName(config.lane, role);
          try {
            const partitions = Array.from({ length: await kafka.partitionCount(topic) }, (_, partition) => ({ topic, partition }));
            const sum = async (where: "earliest" | "latest"): Promise<number> =>
              (await Promise.all(partitions.map((at) => kafka.listOffset(at, where, "read_committed")))).reduce((a, b) => a + b, 0);
            const [first, next] = await Promise.all([sum("earliest"), sum("latest")]);
            return { role, topic, partitions: partitions.length, records: next - first, expired: first };
          } catch (thrown) {
            if (!(thrown instanceof OperatingError) || thrown.code !== "KAFKA_UNKNOWN_TOPIC") throw thrown;
            return { role, topic, partitions: 0, records: 0, expired: 0 };
          }
        }),
      ),
    );
    if (values.json === true) out(`${JSON.stringify({ lane: config.lane, topics })}\n`);
    else out(table([["topic", "partitions", "records", "expired"], ...topics.map((t) => [t.topic, t.partitions, t.records, t.expired])]));
    return topics.some((topic) => topic.partitions === 0) ? EXIT.checkFailed : EXIT.ok;
  },
};
