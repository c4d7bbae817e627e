/**
 * What goes over the pipe between the mapping and a runtime, both ways: 4 bytes of length (big endian), then as many bytes. To the runtime:
 * one frame with the order as JSON, one with the event. From it: one frame `{"ready":true}`, then one {@link Answer} per event.
 */
import type { Duplex } from "node:stream";

export interface InvocationHead {
  readonly requestId: string;
  readonly timeoutMs: number;
  readonly throwAtOnce?: boolean;
  readonly failpoint?: string;
}

export type Answer = { readonly ok: true } | { readonly ok: false; readonly name: string; readonly message: string };

export function writeFrame(pipe: Duplex, payload: string): void {
  const head = Buffer.alloc(4);
  const body = Buffer.from(payload);
  head.writeUInt32BE(body.length);
  pipe.cork();
  pipe.write(head);
  pipe.write(body);
  pipe.uncork();
}

/** Calls back with each complete frame, in order. */
export function readFrames(pipe: Duplex, onFrame: (payload: Buffer) => void): void {
  let parts: Buffer[] = [];
  let size = 0;
  pipe.on("data", (chunk: Buffer) => {
    parts.push(chunk);
    size += chunk.length;
    while (size >= 4) {
      const first = parts[0]!;
      if (first.length < 4) parts = [Buffer.concat(parts, size)];
      const length = parts[0]!.readUInt32BE(0);
      if (size < 4 + length) return;
      const all = parts.length === 1 ? parts[0]! : Buffer.concat(parts, size);
      const rest = all.subarray(4 + length);
      parts = rest.length === 0 ? [] : [rest];
      size = rest.length;
      onFrame(all.subarray(4, 4 + length));
    }
  });
}
