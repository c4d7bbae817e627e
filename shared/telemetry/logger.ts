/**
 * JSON lines on stderr. The message is a constant fragment, values are fields. ERROR = data loss or a human must act, WARN = unexpected and
 * recovered, INFO = lifecycle, DEBUG = per batch; nothing per record. Payloads and credentials never appear.
 */
import { processFlags } from "../config/config.ts";

const LEVELS = { debug: 10, info: 20, warn: 30, error: 40 } as const;
export type LogLevel = keyof typeof LEVELS;
export type LogFields = Readonly<Record<string, string | number | boolean | null | undefined>>;

export interface Logger {
  debug(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  error(message: string, fields?: LogFields): void;
  child(fields: LogFields): Logger;
}

const threshold = LEVELS[processFlags.logLevel as LogLevel] ?? LEVELS.info;

export function createLogger(fields: LogFields, write: (line: string) => void = (line) => void process.stderr.write(line)): Logger {
  const log = (level: LogLevel, message: string, more: LogFields = {}): void => {
    if (LEVELS[level] < threshold) return;
    write(`${JSON.stringify({ time: new Date().toISOString(), level, message, ...fields, ...more })}\n`);
  };
  return {
    debug: (message, more) => log("debug", message, more),
    info: (message, more) => log("info", message, more),
    warn: (message, more) => log("warn", message, more),
    error: (message, more) => log("error", message, more),
    child: (more) => createLogger({ ...fields, ...more }, write),
  };
}
