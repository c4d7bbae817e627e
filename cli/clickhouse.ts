import { Clickhouse } from "#shared/clients/clickhouse/client.ts";
import type { Config } from "#shared/config/config.ts";

/** Opens, calls and closes. */
export async function withClickhouse<T>(config: Config, work: (client: Clickhouse) => Promise<T>): Promise<T> {
  const client = new Clickhouse({ url: config.clickhouse, user: config.clickhouseUser, password: config.clickhousePassword });
  try {
    return await work(client);
  } finally {
    await client.close();
  }
}
