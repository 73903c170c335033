// A socket of a node by which its own programs ask a service: one request a connection, a line of words and the text
// that it may tell of; one answer. Who asks is what the kernel says, in this pid namespace. [unix(7): SO_PEERCRED]
import { chmodSync, rmSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { fail, ok, type Reply } from '@ssi/contracts';
import type { Clock, Log, ProgramCaller, ProgramRequest } from '@ssi/ports';
import { peerCredentials } from './syscalls.ts';

/** A program sends its request at once. */
const requestMs = 5_000;

export interface ProgramSocket<T> {
  readonly path: string;
  readonly clock: Clock;
  readonly log: Log;
  readonly connectionsMax: number;
  /** Bytes of the line. */
  readonly lineMax: number;
  /** Bytes of text after the line; absent: 0. What it refuses is refused without its text. */
  readonly textBytes?: (words: readonly string[]) => Reply<number>;
  readonly answer: (caller: ProgramCaller, request: ProgramRequest) => Promise<Reply<T>>;
  readonly told: (reply: Reply<T>) => string | Uint8Array;
}

export function serveProgramSocket<T>(o: ProgramSocket<T>): { stop(): void } {
  // Half closed by a program that a signal has woken: it still reads its answer.
  const server = createServer({ allowHalfOpen: true }, (socket) => take(socket, o));
  server.maxConnections = o.connectionsMax;
  server.on('error', (error) => o.log.error('programs cannot ask', { detail: error.message }));
  rmSync(o.path, { force: true }); // of a predecessor that was killed
  // Whoever is on this node may ask; what for is judged by who he is.
  server.listen(o.path, () => chmodSync(o.path, 0o666));
  return { stop: () => void server.close() };
}

function take<T>(socket: Socket, o: ProgramSocket<T>): void {
  const gone = new AbortController();
  let bytes = Buffer.alloc(0);
  const late = o.clock.after(requestMs, () => socket.destroy());
  const cutShort = () => socket.destroy();
  socket.on('error', () => {}); // it ended: nobody waits for the answer
  socket.on('close', () => {
    late.cancel();
    gone.abort();
  });
  socket.on('end', cutShort);
  socket.on('data', (more: Buffer) => {
    bytes = Buffer.concat([bytes, more]);
    const end = bytes.indexOf('\n');
    if (end < 0 && bytes.length < o.lineMax) return;
    const words = bytes.toString('latin1', 0, Math.max(0, end)).split(' ');
    const length = o.textBytes?.(words) ?? ok(0);
    const text = bytes.subarray(end + 1, end + 1 + (length.ok ? length.value : 0));
    if (length.ok && text.length < length.value) return;
    late.cancel();
    socket.removeAllListeners('data').resume();
    socket.off('end', cutShort).on('end', () => gone.abort());
    const request = { words, text, signal: gone.signal };
    void answered(peerCredentials(socket), request, length).then((r) => socket.end(o.told(r)));
  });

  async function answered(
    caller: ProgramCaller | undefined,
    request: ProgramRequest,
    length: Reply<number>,
  ): Promise<Reply<T>> {
    if (!length.ok) return length;
    return caller ? o.answer(caller, request) : fail('EPERM', 'who asks?');
  }
}
