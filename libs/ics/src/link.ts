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
  #outBytes = 0;

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
    if (this.#out.length === 0) queueMicrotask(this.#flush);
    this.#out.push(frame);
    this.#outBytes += 4 + frame.length;
    return true;
  }

  readonly #flush = (): void => {
    const out = this.#out;
    const bytes = Buffer.allocUnsafe(this.#outBytes);
    this.#out = [];
    this.#outBytes = 0;
    if (this.#socket.destroyed) return;
    let at = 0;
    for (const frame of out) {
      bytes.writeUInt32LE(frame.length, at);
      bytes.set(frame, at + 4);
      at += 4 + frame.length;
    }
    this.#socket.write(bytes);
  };

  #data(chunk: Buffer): void {
    const bytes = this.#in.length === 0 ? chunk : Buffer.concat([this.#in, chunk]);
    let at = 0;
    while (bytes.length - at >= 4) {
      const length = bytes.readUInt32LE(at);
      if (length > frameMax) {
        this.#socket.destroy();
        return;
      }
      if (bytes.length - at < 4 + length) break;
      this.#onFrame(bytes.subarray(at + 4, at + 4 + length));
      at += 4 + length;
    }
    this.#in = at === 0 ? bytes : bytes.subarray(at);
  }
}
