// Out-of-line streams between endpoints of one process: the Streams port without sockets, for nodes that
// are hosted together. Messages are handed over as they are; back-pressure is by bytes not yet read.
import { fail, ok } from '@ssi/contracts';
import type { Stream, StreamListener, Streams } from '@ssi/ports';

const windowBytes = 4 * 1024 * 1024;
const messageMax = 1024 * 1024;

interface Accepted {
  readonly onStream: (stream: Stream) => void;
  current: MemoryStream | undefined;
}

/** One for all the endpoints of a process; any address reaches it. */
export function memoryStreams(): Streams {
  const listeners = new Map<number, Map<string, Accepted>>();
  let nextPort = 1;
  return {
    async listen(): Promise<StreamListener> {
      const port = nextPort++;
      const tokens = new Map<string, Accepted>();
      listeners.set(port, tokens);
      return {
        port,
        accept(token, onStream) {
          const accepted: Accepted = { onStream, current: undefined };
          tokens.set(token, accepted);
          return {
            revoke: () => {
              if (tokens.get(token) === accepted) tokens.delete(token);
            },
          };
        },
        close: async () => {
          listeners.delete(port);
          for (const a of tokens.values()) a.current?.destroy();
        },
      };
    },
    async connect({ port }, token) {
      const tokens = listeners.get(port);
      if (!tokens) return fail('EHOSTUNREACH', `nobody listens on ${port}`);
      const accepted = tokens.get(token);
      if (!accepted) return fail('EACCES', 'the token is not valid here');
      const near = new MemoryStream();
      const far = new MemoryStream();
      near.join(far);
      accepted.current?.destroy();
      accepted.current = far;
      queueMicrotask(() => accepted.onStream(far));
      return ok(near);
    },
  };
}

class MemoryStream implements Stream {
  readonly closed: Promise<void>;
  #peer: MemoryStream | undefined;
  #close: () => void = () => {};
  #broken = false;
  #ended = false;
  #saidEnd = false;
  /** Came and not read yet; undefined is the end in good order. */
  readonly #inbox: (Uint8Array | undefined)[] = [];
  #unread = 0;
  #reader: (() => void) | undefined;
  #writers: (() => void)[] = [];

  constructor() {
    this.closed = new Promise((done) => {
      this.#close = done;
    });
  }

  join(peer: MemoryStream): void {
    this.#peer = peer;
    peer.#peer = this;
  }

  async read(): Promise<Uint8Array | undefined> {
    while (this.#inbox.length === 0) {
      if (this.#ended) return undefined;
      if (this.#broken) throw new Error('the connection broke');
      await new Promise<void>((done) => {
        this.#reader = done;
      });
    }
    const message = this.#inbox.shift();
    if (message === undefined) this.#finish('ended');
    this.#unread -= message?.length ?? 0;
    for (const writer of this.#writers.splice(0)) writer();
    return message;
  }

  async write(message: Uint8Array): Promise<void> {
    const peer = this.#peer;
    if (this.#broken || !peer) throw new Error('the connection broke');
    if (this.#saidEnd) throw new Error('written after the end');
    if (message.length > messageMax) throw new Error(`${message.length} bytes: 1 MiB at most`);
    peer.#take(message);
    while (peer.#unread > windowBytes && !this.#broken)
      await new Promise<void>((done) => peer.#writers.push(done));
    if (this.#broken) throw new Error('the connection broke');
  }

  async end(): Promise<void> {
    const peer = this.#peer;
    if (this.#broken || this.#saidEnd || !peer) return;
    peer.#take(undefined);
    this.#finish('saidEnd');
  }

  /** Closed in good order once both directions have ended. */
  #finish(direction: 'ended' | 'saidEnd'): void {
    if (direction === 'ended') this.#ended = true;
    else this.#saidEnd = true;
    if (this.#ended && this.#saidEnd) this.#close();
  }

  #take(message: Uint8Array | undefined): void {
    this.#inbox.push(message);
    this.#unread += message?.length ?? 0;
    this.#reader?.();
    this.#reader = undefined;
  }

  destroy(): void {
    if (this.#broken) return;
    this.#broken = true;
    this.#reader?.();
    for (const writer of this.#writers.splice(0)) writer();
    this.#close();
    this.#peer?.destroy();
  }
}
