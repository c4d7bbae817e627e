/** One thing that was looked at: silent when right. */
export interface Finding {
  /** `Kafka`, `ClickHouse`, `PostgreSQL`, `Redis`. */
  readonly server: string;
  /** Whose setting: a topic, table, broker, user. */
  readonly where: string;
  readonly what: string;
  /** What breaks with it. */
  readonly why: string;
  readonly fix: string;
}

export interface Examination {
  readonly server: string;
  /** Settings and objects that were looked at. */
  readonly looked: number;
  /** Null: the server could not be asked, so nothing is known. */
  readonly unknown: string | null;
  readonly findings: readonly Finding[];
}

/** Counts what is looked at and keeps what is off. */
export class Examiner {
  readonly #server: string;
  #looked = 0;
  readonly #findings: Finding[] = [];

  constructor(server: string) {
    this.#server = server;
  }

  expect(isRight: boolean, finding: Omit<Finding, "server">): void {
    this.#looked++;
    if (!isRight) this.#findings.push({ server: this.#server, ...finding });
  }

  result(): Examination {
    return { server: this.#server, looked: this.#looked, unknown: null, findings: this.#findings };
  }
}
