/** PostgreSQL by pg: a small pool, transactions, and errors that say what to do. */
import pg from "pg";
import { OperatingError, toError, UnavailableError } from "../../kernel/errors.ts";

/** SQLSTATE classes of a server that starts, stops, fails over or is out of connections: it says nothing about the statement. */
const NOT_SERVING = /^(08|53|57P)/;

export interface Session {
  query<T>(sql: string, parameters?: readonly unknown[]): Promise<T[]>;
}

export class Database implements Session {
  readonly #pool: pg.Pool;
  readonly #address: string;

  constructor(connectionString: string) {
    this.#address = connectionString.replace(/\/\/[^@]*@/, "//***@");
    this.#pool = new pg.Pool({ connectionString, max: 4, connectionTimeoutMillis: 5_000, statement_timeout: 30_000 });
    // An idle connection that breaks is replaced at the next use.
    this.#pool.on("error", () => undefined);
  }

  async query<T>(sql: string, parameters: readonly unknown[] = []): Promise<T[]> {
    return this.#call(async () => (await this.#pool.query(sql, [...parameters])).rows as T[]);
  }

  /**
   * All or nothing. `actor` and `reason` stand in the audit rows that the triggers write. `dryRun`: all is undone at the end. `frozen`: reads only,
   * and every statement sees the database as it was at the first.
   */
  async transaction<T>(
    actor: string,
    work: (session: Session) => Promise<T>,
    {
      reason = "",
      dryRun = false,
      frozen = false,
    }: { readonly reason?: string; readonly dryRun?: boolean; readonly frozen?: boolean } = {},
  ): Promise<T> {
    return this.#call(async () => {
      const client = await this.#pool.connect();
      let isBroken = false;
      // Unheard it would end the process: the pool listens to idle connections only. The query under way, or the next one, reports it.
      const broke = (): void => void (isBroken = true);
      client.on("error", broke);
      try {
        await client.query(frozen ? "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY" : "BEGIN");
        await client.query("SELECT set_config('weir.actor', $1, true), set_config('weir.reason', $2, true)", [actor, reason]);
        const result = await work({
          query: async <R>(sql: string, parameters: readonly unknown[] = []) => (await client.query(sql, [...parameters])).rows as R[],
        });
        await client.query(dryRun ? "ROLLBACK" : "COMMIT");
        return result;
      } catch (thrown) {
        await client.query("ROLLBACK").catch(() => (isBroken = true));
        throw thrown;
      } finally {
        client.off("error", broke);
        client.release(isBroken);
      }
    });
  }

  async close(): Promise<void> {
    await this.#pool.end();
  }

  async #call<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (thrown) {
      const error = toError(thrown);
      if (error instanceof OperatingError) throw error;
      if (error instanceof pg.DatabaseError && !NOT_SERVING.test(error.code ?? ""))
        throw new OperatingError(`PostgreSQL refused: ${error.message}`, { code: "POSTGRES_REFUSED", cause: error });
      throw new UnavailableError(`PostgreSQL at ${this.#address} did not answer: ${error.message}`, {
        code: "POSTGRES_UNAVAILABLE",
        hint: "see whether the server runs and the address is right (WEIR_POSTGRES)",
        cause: error,
      });
    }
  }
}
