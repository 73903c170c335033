// From message to answer: every request gets one, whatever its handler does. A promise's answer goes when
// it is there, and its message stays untouched until then.
import type { Device } from './device.ts';
import { errno, errnoName } from './errno.ts';
import type { Filesystem } from './filesystem.ts';
import { initFlag } from './flags.ts';
import type { Incoming } from './incoming.ts';
import { type Features, type Negotiated, negotiate } from './init.ts';
import { opcode, opcodeName } from './opcode.ts';
import {
  type Dialect,
  type Operation,
  operations,
  TooLong,
  type Wanted,
  wanted,
} from './operations.ts';
import { Outgoing, outHeaderBytes, type Ttl } from './outgoing.ts';
import { Request } from './request.ts';

export interface DispatcherOptions {
  readonly features: Features;
  readonly ttl: Ttl;
  readonly log: (line: string, error?: unknown) => void;
  /** INIT was answered. */
  readonly agreed: (n: Negotiated) => void;
}

export class Dispatcher {
  readonly #fs: Filesystem;
  readonly #device: Device;
  readonly #options: DispatcherOptions;
  readonly #out: Outgoing;
  readonly #working = new Map<number, Request>();
  #dialect: Dialect;
  #idle: (() => void) | undefined;

  constructor(fs: Filesystem, device: Device, options: DispatcherOptions) {
    this.#fs = fs;
    this.#device = device;
    this.#options = options;
    this.#out = new Outgoing(options.ttl);
    this.#dialect = { ttl: options.ttl, setxattrExtended: false };
  }

  adopt(n: Negotiated): void {
    this.#dialect = { ...this.#dialect, setxattrExtended: (n.flags & initFlag.SETXATTR_EXT) !== 0 };
    this.#options.agreed(n);
  }

  /** Requests whose promise is not settled yet. */
  get working(): number {
    return this.#working.size;
  }

  /** Resolves when nothing is being worked on. */
  async idle(): Promise<void> {
    if (this.#working.size === 0) return;
    await new Promise<void>((idle) => {
      this.#idle = idle;
    });
  }

  /** True: the message stays in use. */
  message(m: Incoming): boolean {
    switch (m.opcode) {
      case opcode.INIT:
        this.#init(new Request(m), m);
        return false;
      case opcode.INTERRUPT:
        this.#working.get(m.u64(10))?.interrupt();
        return false;
      case opcode.FORGET:
        this.#forget(m.node, m.u64(10));
        return false;
      case opcode.BATCH_FORGET:
        for (let i = 0; i < m.u32(10); i++) this.#forget(m.u64(12 + 4 * i), m.u64(14 + 4 * i));
        return false;
      case opcode.DESTROY:
      case opcode.NOTIFY_REPLY:
        return false;
      default:
        return this.#serve(new Request(m), m);
    }
  }

  #forget(node: number, count: number): void {
    try {
      this.#fs.forget?.(node, count);
    } catch (error) {
      this.#options.log(`FORGET of node ${node}`, error);
    }
  }

  #init(r: Request, m: Incoming): void {
    this.#out.clear();
    const locks = this.#fs.setlk !== undefined;
    const agreed = negotiate(m, this.#out, this.#options.features, locks);
    if (agreed) {
      this.adopt(agreed);
      this.#send(r, 0);
      return;
    }
    const theirs = `${m.u32(10)}.${m.u32(11)}`;
    this.#options.log(`this kernel speaks FUSE ${theirs}: it must be 7.33 (Linux 5.13) or later`);
    this.#send(r, -errno.EPROTO);
  }

  #serve(r: Request, m: Incoming): boolean {
    const operation = operations[r.opcode];
    if (!operation) {
      this.#send(r, -errno.ENOSYS);
      return false;
    }
    if (this.#working.has(r.unique)) return false; // sent again while it is being worked on
    const want = wanted(m);
    try {
      const answer = operation.handle(this.#fs, r, m, this.#dialect);
      if (!(answer instanceof Promise)) {
        this.#answer(r, operation, answer, want);
        return false;
      }
      this.#working.set(r.unique, r);
      void answer
        .then(
          (value) => this.#answer(r, operation, value, want),
          (error) => this.#fault(r, error),
        )
        .finally(() => this.#done(r, operation.keepsMessage ? m : undefined));
      return operation.keepsMessage ?? false;
    } catch (error) {
      this.#fault(r, error);
      return false;
    }
  }

  #done(r: Request, m: Incoming | undefined): void {
    this.#working.delete(r.unique);
    if (m) this.#device.giveBack(m);
    if (this.#working.size === 0) this.#idle?.();
  }

  #answer(r: Request, operation: Operation, value: unknown, want: Wanted): void {
    this.#out.clear();
    let error = 0;
    if (value === undefined) error = -errno.ENOSYS;
    else if (typeof value === 'number' && value < 0) error = value;
    else {
      try {
        operation.encode(this.#out, value as never, want);
      } catch (thrown) {
        if (!(thrown instanceof TooLong)) {
          this.#fault(r, thrown);
          return;
        }
        error = -errno.ERANGE;
      }
    }
    this.#send(r, error);
  }

  #fault(r: Request, error: unknown): void {
    this.#options.log(`${opcodeName(r.opcode)} of node ${r.node}`, error);
    this.#send(r, -errno.EIO);
  }

  #send(r: Request, error: number): void {
    const out = this.#out;
    if (error !== 0) out.clear();
    const bytes = outHeaderBytes + out.length;
    out.words[0] = out.parts.reduce((n, p) => n + p.length, bytes);
    out.words[1] = error;
    out.u64(2, r.unique);
    // The kernel looks for a request that it sent again under the number that it sent it with.
    if (r.resent) out.words[3] = (out.words[3] as number) | 0x8000_0000;
    const result = this.#device.send(out.bytes.subarray(0, bytes), out.parts);
    // ENOENT: its caller was interrupted and is gone. ENODEV, EPERM: the whole connection is.
    if (result === 0 || [-errno.ENOENT, -errno.ENODEV, -errno.EPERM].includes(result)) return;
    const told = `the kernel refuses the answer to ${opcodeName(r.opcode)}: ${errnoName(result)}`;
    this.#options.log(told);
    if (error === 0) this.#send(r, -errno.EIO);
  }
}
