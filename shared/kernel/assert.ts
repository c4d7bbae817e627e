/** Broken code, not bad input: nothing catches it but the top, which logs and exits so that the platform restarts from the last commit. */
export class InvariantError extends Error {
  override readonly name = "InvariantError";
}

export function assert(condition: unknown, message: string): asserts condition {
  if (!condition) throw new InvariantError(message);
}
