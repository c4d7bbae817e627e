/** The validator's kernel: what the host calls. Pure: it knows no clock and reads nothing but its memory. */
import { readHeader } from "./memory";
import { forget } from "./keys";

export { accept } from "./accept";
export { putKey, setChild } from "./keys";
export { putName } from "./names";

/** After the host has written the header. */
export function start(): void {
  readHeader();
  forget();
}
