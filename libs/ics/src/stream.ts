// Messages on an open out-of-line connection: [length u32][crc32 u32][payload], little endian; a length
// of 0xffffffff ends a direction in good order. A wrong checksum or an early close breaks the stream.
import type { Socket } from 'node:net';
import { crc32 } from 'node:zlib';
import type { Stream } from '@ssi/ports';

const headerBytes = 8;
const endMark = 0xffff_ffff;
const messageMax = 1024 * 1024;
/** Bytes handed to the socket before `write` waits; bytes read ahead before the peer is held back. */
const writeAhead = 4 * 1024 * 1024;
const readAhead = 4 * 1024 * 1024;

interface Waiting {
  resolve(message: Uint8Array | undefined): void;
  reject(error: Error): void;
}

export class SocketStream implements Stream {
  readonly closed: Promise<void>;
  readonly #socket: Socket;
  readonly #header = Buffer.alloc(headerBytes);
  #headerAt = 0;
  #body: Buffer | undefined;
  #bodyAt = 0;
  #crc = 0;
  #queue: Uint8Array[] = [];
  #queued = 0;
  #readers: Waiting[] = [];
  #ended = false;
  #ending = false;
  #broken: Error | undefined;

  /** `rest`: what was read after the greeting. */
  constructor(socket: Socket, rest: Uint8Array) {
    this.#socket = socket;
    this.closed = new Promise((done) => {
      socket.on('close', () => {
        this.#fail(new Error('the connection broke'));
        done();
      });
    });
    socket.on('error', (error) => this.#fail(error));
    socket.on('end', () => {
      if (!this.#ended) this.#break(new Error('the peer closed the connection too early'));
    });
    socket.on('data', (chunk: Buffer) => this.#data(chunk));
    if (rest.length > 0) this.#data(Buffer.from(rest.buffer, rest.byteOffset, rest.length));
    if (this.#queued < readAhead) socket.resume();
  }

  read(): Promise<Uint8Array | undefined> {
    const message = this.#queue.shift();
    if (message) {
      this.#queued -= message.length;
      if (this.#queued < readAhead / 2 && this.#socket.isPaused()) this.#socket.resume();
      return Promise.resolve(message);
    }
    if (this.#ended) return Promise.resolve(undefined);
    if (this.#broken) return Promise.reject(this.#broken);
    return new Promise((resolve, reject) => {
      this.#readers.push({ resolve, reject });
    });
  }

  write(message: Uint8Array): Promise<void> {
    if (message.length > messageMax)
      return Promise.reject(new Error(`a message of ${message.length} bytes: 1 MiB at most`));
    if (this.#ending) return Promise.reject(new Error('written after the end'));
    const header = Buffer.allocUnsafe(headerBytes);
    header.writeUInt32LE(message.length, 0);
    header.writeUInt32LE(crc32(message), 4);
    return this.#put(header, message);
  }

  async end(): Promise<void> {
    if (this.#ending) return;
    const mark = Buffer.alloc(headerBytes);
    mark.writeUInt32LE(endMark, 0);
    const put = this.#put(mark);
    this.#ending = true;
    await put;
    await new Promise<void>((done, failed) => {
      const onClose = (): void => failed(this.#broken ?? new Error('the connection broke'));
      this.#socket.once('close', onClose);
      this.#socket.end(() => {
        this.#socket.off('close', onClose);
        done();
      });
    });
  }

  destroy(): void {
    this.#socket.destroy();
  }

  #put(header: Buffer, message?: Uint8Array): Promise<void> {
    const socket = this.#socket;
    if (socket.destroyed || !socket.writable)
      return Promise.reject(this.#broken ?? new Error('the connection broke'));
    socket.cork();
    socket.write(header);
    if (message && message.length > 0) socket.write(message);
    socket.uncork();
    if (socket.writableLength < writeAhead) return Promise.resolve();
    return new Promise((resolve, reject) => {
      const settle = (end: () => void) => (): void => {
        socket.off('drain', onDrain);
        socket.off('close', onClose);
        end();
      };
      const onDrain = settle(resolve);
      const onClose = settle(() => reject(this.#broken ?? new Error('the connection broke')));
      socket.on('drain', onDrain);
      socket.on('close', onClose);
    });
  }

  #data(chunk: Buffer): void {
    let at = 0;
    while (at < chunk.length && !this.#broken) {
      if (this.#ended) {
        this.#fail(new Error('bytes after the end'));
        return;
      }
      at += this.#body ? this.#payload(chunk, at) : this.#head(chunk, at);
    }
    if (this.#queued >= readAhead) this.#socket.pause();
  }

  #head(chunk: Buffer, at: number): number {
    const taken = chunk.copy(this.#header, this.#headerAt, at, at + headerBytes - this.#headerAt);
    this.#headerAt += taken;
    if (this.#headerAt < headerBytes) return taken;
    this.#headerAt = 0;
    const length = this.#header.readUInt32LE(0);
    if (length === endMark) {
      this.#ended = true;
      for (const r of this.#readers.splice(0)) r.resolve(undefined);
    } else if (length > messageMax) this.#break(new Error(`a message of ${length} bytes`));
    else {
      this.#body = Buffer.allocUnsafeSlow(length);
      this.#bodyAt = 0;
      this.#crc = 0;
      if (length === 0) this.#complete(this.#body);
    }
    return taken;
  }

  #payload(chunk: Buffer, at: number): number {
    const body = this.#body;
    if (!body) return 0;
    const taken = chunk.copy(body, this.#bodyAt, at, at + body.length - this.#bodyAt);
    // While the bytes are in the cache anyway.
    this.#crc = crc32(body.subarray(this.#bodyAt, this.#bodyAt + taken), this.#crc);
    this.#bodyAt += taken;
    if (this.#bodyAt === body.length) this.#complete(body);
    return taken;
  }

  #complete(body: Buffer): void {
    this.#body = undefined;
    if (this.#crc !== this.#header.readUInt32LE(4)) {
      this.#break(new Error('a message arrived with a wrong checksum'));
      return;
    }
    const reader = this.#readers.shift();
    if (reader) {
      reader.resolve(body);
      return;
    }
    this.#queue.push(body);
    this.#queued += body.length;
  }

  #break(error: Error): void {
    this.#fail(error);
    this.#socket.destroy();
  }

  /** Messages that came whole are still read; after them `read` rejects, unless the end was seen. */
  #fail(error: Error): void {
    if (this.#ended || this.#broken) return;
    this.#broken = error;
    for (const r of this.#readers.splice(0)) r.reject(error);
  }
}
