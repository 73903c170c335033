// Length-prefixed frames on one TCP connection: cuts what comes in, gathers what goes out in one turn
// of the event loop into one write. Knows nothing of what the frames mean.
import type { Socket } from 'node:net';

/** A peer that sends more than this in one frame does not speak our protocol. */
const frameMax = 1024 * 1024;
/** Bytes that wait for a slow peer; past it frames are lost here and repeated by the upper layer. */
const backlogMax = 16 * 1024 * 1024;

export class Link {
  readonly #socket: Socket;
  readonly #onFrame: (frame: Buffer) => void;
  #in: Buffer = Buffer.alloc(0);
  #out: Uint8Array[] = [];

  constructor(socket: Socket, onFrame: (frame: Buffer) => void) {
    this.#socket = socket;
    this.#onFrame = onFrame;
    socket.setNoDelay(true);
    socket.on('data', (chunk: Buffer) => this.#data(chunk));
  }

  /** False: the connection is over or its peer does not keep up. */
  send(frame: Uint8Array): boolean {
    const socket = this.#socket;
    if (socket.destroyed || !socket.writable || socket.writableLength > backlogMax) return false;
    const head = Buffer.allocUnsafe(4);
    head.writeUInt32LE(frame.length);
    if (this.#out.length === 0) queueMicrotask(() => this.#flush());
    this.#out.push(head, frame);
    return true;
  }

  #flush(): void {
    const out = this.#out;
    this.#out = [];
    if (this.#socket.destroyed) return;
    this.#socket.write(Buffer.concat(out));
  }

  #data(chunk: Buffer): void {
    let rest = this.#in.length === 0 ? chunk : Buffer.concat([this.#in, chunk]);
    while (rest.length >= 4) {
      const length = rest.readUInt32LE(0);
      if (length > frameMax) {
        this.#socket.destroy();
        return;
      }
      if (rest.length < 4 + length) break;
      this.#onFrame(rest.subarray(4, 4 + length));
      rest = rest.subarray(4 + length);
    }
    this.#in = rest;
  }
}
