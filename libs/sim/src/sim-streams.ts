// The out-of-line streams port: in order, whole, with back-pressure, until a fault breaks the
// connection or one end dies. What a cut link would lose breaks the connection; what it holds waits.
import { fail, ok, type Reply } from '@ssi/contracts';
import type { Stream, StreamListener, Streams } from '@ssi/ports';
import type { Life } from './life.ts';
import type { SimNet } from './sim-net.ts';

/** Bytes on their way before `write` waits. */
const windowBytes = 1024 * 1024;
/** A packet that does not come through is tried again this often, then the connection is broken. */
const retryMs = 200;
const triesMax = 10;

interface Listener {
  readonly host: number;
  readonly life: Life;
  readonly tokens: Map<string, Accepted>;
}
interface Accepted {
  readonly onStream: (stream: Stream) => void;
  current: End | undefined;
}

export class SimStreams {
  readonly #net: SimNet;
  readonly #listeners = new Map<string, Listener>();
  readonly #hosts = new Map<string, number>();
  #nextPort = 20_000;

  constructor(net: SimNet) {
    this.#net = net;
  }

  /** `address` is where this host is reached. */
  name(address: string, host: number): void {
    this.#hosts.set(address, host);
  }

  /** The port as one life on a host has it. */
  port(host: number, life: Life): Streams {
    return {
      listen: async (): Promise<StreamListener> => {
        const port = this.#nextPort++;
        const key = `${host}:${port}`;
        const listener: Listener = { host, life, tokens: new Map() };
        this.#listeners.set(key, listener);
        life.onEnd(() => this.#listeners.delete(key));
        return {
          port,
          accept: (token, onStream) => {
            const accepted: Accepted = { onStream, current: undefined };
            listener.tokens.set(token, accepted);
            return {
              revoke: () => {
                if (listener.tokens.get(token) === accepted) listener.tokens.delete(token);
              },
            };
          },
          close: async () => {
            this.#listeners.delete(key);
          },
        };
      },
      connect: ({ addresses, port }, token, timeoutMs) =>
        new Promise((done) => {
          if (!life.alive) return;
          let over = false;
          const answer = (reply: Reply<Stream, 'EHOSTUNREACH' | 'ETIMEDOUT' | 'EACCES'>): void => {
            if (over) return;
            over = true;
            timer.cancel();
            done(reply);
          };
          const timer = life.clock.after(timeoutMs, () =>
            answer(fail('ETIMEDOUT', `no answer from ${addresses.join()}`)),
          );
          const to = addresses.map((a) => this.#hosts.get(a)).find((h) => h !== undefined);
          if (to === undefined) {
            answer(fail('EHOSTUNREACH', `no host at ${addresses.join()}`));
            return;
          }
          this.#net.send(host, to, () => {
            if (over) return;
            const listener = this.#listeners.get(`${to}:${port}`);
            const accepted = listener?.tokens.get(token);
            const back = (fn: () => void): void => this.#net.send(to, host, () => life.run(fn));
            if (!listener) back(() => answer(fail('EHOSTUNREACH', 'connection refused')));
            else if (!accepted) back(() => answer(fail('EACCES', 'unknown token')));
            else
              back(() => {
                if (over) return;
                const near = new End(this.#net, host, life);
                const far = new End(this.#net, to, listener.life);
                near.join(far);
                accepted.current?.destroy();
                accepted.current = far;
                listener.life.run(() => accepted.onStream(far));
                answer(ok(near));
              });
          });
        }),
    };
  }
}

/** One end of a connection. */
class End implements Stream {
  readonly closed: Promise<void>;
  readonly #net: SimNet;
  readonly #host: number;
  readonly #life: Life;
  #peer: End | undefined;
  #close: () => void = () => {};
  #broken = false;
  /** Messages that came, undefined is the end in good order. */
  readonly #inbox: (Uint8Array | undefined)[] = [];
  #reader: (() => void) | undefined;
  #ended = false;
  /** Sent, not yet read over there. */
  #unread = 0;
  #writers: (() => void)[] = [];
  #outbox: (Uint8Array | undefined)[] = [];
  #sending = false;

  constructor(net: SimNet, host: number, life: Life) {
    this.#net = net;
    this.#host = host;
    this.#life = life;
    this.closed = new Promise((done) => {
      this.#close = done;
    });
    life.onEnd(() => this.destroy());
  }

  join(peer: End): void {
    this.#peer = peer;
    peer.#peer = this;
  }

  async read(): Promise<Uint8Array | undefined> {
    while (this.#inbox.length === 0) {
      if (this.#broken) throw new Error('the connection is broken');
      if (this.#ended) return undefined;
      await new Promise<void>((done) => {
        this.#reader = done;
      });
    }
    const message = this.#inbox.shift();
    if (message === undefined) this.#ended = true;
    else if (this.#peer) this.#peer.#wasRead(message.length);
    return message;
  }

  async write(message: Uint8Array): Promise<void> {
    if (this.#broken) throw new Error('the connection is broken');
    this.#unread += message.length;
    this.#outbox.push(message.slice());
    this.#send(0);
    while (this.#unread > windowBytes && !this.#broken)
      await new Promise<void>((done) => {
        this.#writers.push(done);
      });
    if (this.#broken) throw new Error('the connection is broken');
  }

  async end(): Promise<void> {
    if (this.#broken) return;
    this.#outbox.push(undefined);
    this.#send(0);
  }

  destroy(): void {
    if (this.#broken) return;
    this.#break();
    this.#tellBroken(0);
  }

  /** The reset may be lost: told again, and in the end the peer's keepalive finds out. */
  #tellBroken(tries: number): void {
    const peer = this.#peer;
    if (!peer || peer.#broken) return;
    if (tries >= triesMax) {
      peer.#break();
      return;
    }
    this.#net.send(this.#host, peer.#host, () => peer.#break());
    this.#net.clock.after(retryMs, () => this.#tellBroken(tries + 1));
  }

  /** One message on its way at a time: order is kept by that. */
  #send(tries: number): void {
    const peer = this.#peer;
    if (this.#sending || this.#broken || !peer || this.#outbox.length === 0) return;
    this.#sending = true;
    const message = this.#outbox[0];
    let arrived = false;
    this.#net.send(this.#host, peer.#host, () => {
      if (arrived || this.#broken) return;
      arrived = true;
      retry.cancel();
      this.#outbox.shift();
      this.#sending = false;
      peer.#came(message);
      this.#send(0);
    });
    const look = (): void => {
      if (arrived || this.#broken) return;
      if (this.#net.state(this.#host, peer.#host) === 'hold') {
        retry = this.#net.clock.after(retryMs, look);
        return;
      }
      arrived = true;
      this.#sending = false;
      if (tries + 1 < triesMax) this.#send(tries + 1);
      else this.destroy();
    };
    let retry = this.#net.clock.after(retryMs, look);
  }

  #came(message: Uint8Array | undefined): void {
    if (this.#broken) return;
    this.#inbox.push(message);
    this.#wakeReader();
  }

  #wasRead(bytes: number): void {
    this.#unread -= bytes;
    if (this.#unread <= windowBytes) this.#wakeWriters();
  }

  #break(): void {
    if (this.#broken) return;
    this.#broken = true;
    this.#wakeReader();
    this.#wakeWriters();
    this.#life.run(this.#close);
  }

  #wakeReader(): void {
    const reader = this.#reader;
    this.#reader = undefined;
    if (reader) this.#life.run(reader);
  }

  #wakeWriters(): void {
    for (const writer of this.#writers.splice(0)) this.#life.run(writer);
  }
}
