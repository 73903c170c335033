// One connection to the kernel and the file system that serves it: what the kernel can be told unasked, and
// how the connection goes on to another server. It outlives this one as long as somebody holds a duplicate
// of the descriptor: `resume` continues it, and the kernel then sends again what its predecessor had read
// and not answered.
import { Device } from './device.ts';
import { Dispatcher } from './dispatcher.ts';
import { errno } from './errno.ts';
import type { Filesystem } from './filesystem.ts';
import { initFlag2 } from './flags.ts';
import { checkFeatures, type Features, maxWriteMax, type Negotiated } from './init.ts';
import * as notification from './notification.ts';

export interface SessionOptions {
  readonly features?: Features;
  /** ms that the kernel may keep names and attributes where an answer says nothing. Default: 1,000 both. */
  readonly entryTtlMs?: number;
  readonly attributesTtlMs?: number;
  /**
   * us to spin for the next request before sleeping, 0 to 1,000. Default: 30. It costs the thread nothing
   * while nobody asks; with other work in hand (promises not settled) it does not spin.
   */
  readonly spinUs?: number;
  /** Faults of handlers, and of the library. Default: standard error. */
  readonly log?: (line: string, error?: unknown) => void;
}

/** How a session ended: unmounted, aborted, let go by `detach`, or an unexpected errno's name. */
export type Ended = 'unmounted' | 'aborted' | 'detached' | (string & {});

export class Session {
  /** Of /dev/fuse: give a duplicate to whoever is to keep the connection when this process ends. */
  readonly fd: number;
  /** Resolves once, when no request will come any more. */
  readonly ended: Promise<Ended>;
  /** Resolves when the kernel has agreed on what holds; a successor needs it. */
  readonly negotiated: Promise<Negotiated>;
  readonly #device: Device;
  readonly #dispatcher: Dispatcher;
  #end: (how: Ended) => void = () => {};

  /** `agreed`: of a connection that another server began. */
  constructor(fs: Filesystem, fd: number, options: SessionOptions = {}, agreed?: Negotiated) {
    const features = options.features ?? {};
    checkFeatures(features);
    this.fd = fd;
    this.#device = new Device(fd, {
      maxWrite: agreed?.maxWrite ?? features.maxWrite ?? maxWriteMax,
      spinUs: options.spinUs ?? 30,
    });
    this.ended = new Promise((end) => {
      this.#end = end;
    });
    let agree: (n: Negotiated) => void = () => {};
    this.negotiated = new Promise((resolve) => {
      agree = resolve;
    });
    const log = options.log ?? console.error;
    this.#dispatcher = new Dispatcher(fs, this.#device, {
      features,
      ttl: { entryMs: options.entryTtlMs ?? 1_000, attributesMs: options.attributesTtlMs ?? 1_000 },
      log: (line, error) => log(`fuse: ${line}`, error ?? ''),
      agreed: agree,
    });
    if (agreed) this.#dispatcher.adopt(agreed);
  }

  /** Begins to serve; the descriptor is mounted. */
  start(): void {
    this.#device.listen({
      message: (m) => this.#dispatcher.message(m),
      busy: () => this.#dispatcher.working > 0,
      end: (code) => {
        const known: Record<string, Ended> = { ENODEV: 'unmounted', ECONNABORTED: 'aborted' };
        this.#end(known[code] ?? code);
      },
    });
  }

  /** Asks the kernel to send again what was read and not answered. -ENOSYS: it can't (Linux before 6.9). */
  async askResend(): Promise<number> {
    const { flags2 } = await this.negotiated;
    if ((flags2 & initFlag2.HAS_RESEND) === 0) return -errno.ENOSYS;
    return this.#device.notify(notification.resendAll());
  }

  /**
   * Reads no more, lets what is under way end, and lets go of the descriptor. Whoever holds a duplicate can
   * continue the connection: programs wait meanwhile.
   */
  async detach(): Promise<Negotiated> {
    this.#device.pause();
    await this.#dispatcher.idle();
    this.#end('detached');
    this.#device.close();
    return this.negotiated;
  }

  // Notifications: each resolves with 0 or the negative errno once the kernel has done it (-ENOENT: it did not
  // know the inode or name). Do not wait for one inside a request that holds the same inode or directory.

  /** Drops cached attributes, and cached data from `offset` on (length 0: to the end; offset -1: none). */
  invalidateInode(node: number, offset = 0, length = 0): Promise<number> {
    return this.#device.notify(notification.inodeInvalid(node, offset, length));
  }
  /** Drops a cached name. `expireOnly`: looked up again at its next use, what is mounted on it stays. */
  invalidateEntry(parent: number, name: string, expireOnly = false): Promise<number> {
    return this.#device.notify(notification.entryInvalid(parent, name, expireOnly));
  }
  /** A name is gone; whoever works in that directory sees it so. */
  notifyDelete(parent: number, node: number, name: string): Promise<number> {
    return this.#device.notify(notification.entryDeleted(parent, node, name));
  }
  /** Puts data into the page cache of a file. */
  store(node: number, offset: number, data: Uint8Array): Promise<number> {
    return this.#device.notify(notification.dataStored(node, offset, data));
  }
  /** Something has changed for who polls with this handle. */
  notifyPoll(handle: number): Promise<number> {
    return this.#device.notify(notification.pollChanged(handle));
  }

  /** The number of a backing file for the answer to open or create, or a negative errno: then serve it yourself. */
  openBacking(fd: number): number {
    return this.#device.openBacking(fd);
  }
  closeBacking(id: number): number {
    return this.#device.closeBacking(id);
  }
}
