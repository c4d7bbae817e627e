/** The questions of docs/ANALYSTS.md, as the page has them: tests and the bench run what people read. */
import { readFileSync } from "node:fs";
import { join } from "node:path";

export interface Question {
  readonly title: string;
  readonly sql: string;
  /** What the plan must name, in backquotes on the page. */
  readonly uses: readonly string[];
}

/** `database` takes the place of `weir`. */
export function readQuestions(database: string): Question[] {
  const page = readFileSync(join(import.meta.dirname, "../../docs/ANALYSTS.md"), "utf8");
  return page
    .split(/^## (?=\d+\. )/m)
    .slice(1)
    .map((section) => {
      const [title = ""] = section.split("\n");
      const sql = /```sql\n(.*?)```/s.exec(section)?.[1];
      const uses = /^Uses: (.*)$/m.exec(section)?.[1];
      if (sql === undefined || uses === undefined) throw new Error(`docs/ANALYSTS.md: ${title} lacks its query or what it uses`);
      return {
        title,
        sql: sql.replaceAll(/\bweir\./g, `${database}.`).trim(),
        uses: [...uses.replace("`FINAL`", "").matchAll(/`([\w-]+)`/g)].map(([, word]) => word!),
      };
    });
}
