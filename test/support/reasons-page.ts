/** docs/REASONS.md, written from the code: the table of reasons and the advice that `weir dlq show` gives. */
import { REASON_CODES, REASONS } from "#shared/events/reasons.ts";
import { reasonText } from "../../cli/dlq/reason-advice.ts";

const HEAD = `# Reasons

Every event that is not clean has one reason code. Codes are an interface: dead letters (header \`weir-reason\`), metrics, \`weir dlq\` and alarms use
them, so a code is never renamed and never reused. The checks run in the order of this table, and an event has the code of the first that fails;
within a stage, of the first place in the text.

Severity: **error** = the event becomes a dead letter, bytes unchanged; **warning** = it is kept and flagged (column \`reason\` of the clean row);
**info** = counted, nothing else. Stage: where it is decided; \`processor\` is the fold, everything before it the validator.

Beside a code stands a pointer (header \`weir-pointer\`): a JSON pointer (RFC 6901) to the failing field, empty for the whole event; or, where the
bytes are no JSON, \`@\` and the position of the first bad byte.
`;

const TAIL = `This page is checked against the code; after a change of a reason, write it anew with
\`npx vitest run --project unit test/unit/events -u\`.
`;

export function reasonsPage(): string {
  const rows = REASON_CODES.map((code) => {
    const { severity, stage, text } = REASONS[code];
    return [`\`${code}\``, severity, stage, text, reasonText(code).advice].map((cell) =>
      cell.replaceAll("\\", "\\\\").replaceAll("|", "\\|").replaceAll("__proto__", "`__proto__`"),
    );
  });
  return `${HEAD}\n${table([["code", "severity", "stage", "what it says", "what to do"], ...rows])}\n${TAIL}`;
}

function table(rows: readonly (readonly string[])[]): string {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  const line = (cells: readonly string[]): string => `| ${cells.map((cell, column) => cell.padEnd(widths[column]!)).join(" | ")} |\n`;
  const [head, ...body] = rows;
  return line(head!) + line(widths.map((width) => "-".repeat(width))) + body.map(line).join("");
}
