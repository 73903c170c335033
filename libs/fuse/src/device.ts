// /dev/fuse: reads requests, writes answers and notifications. Requests wake libuv's epoll, and are then
// drained by direct reads; before going back to sleep the thread spins for some microseconds, since waking
// a halted CPU costs more than an operation. Answers go by a synchronous write. Notifications never do: one
// that waits for an inode which a request of this very server holds would stop both. [fuse(4)]
import { closeSync, constants, openSync, writeSync, writev, writevSync } from 'node:fs';
import { Socket } from 'node:net';
import koffi from 'koffi';
import { errnoOf } from './errno.ts';
import { Incoming } from './incoming.ts';

const library = koffi.load(null);
const readRaw = library.func('long read(int fd, void *buffer, ulong size)');
const ioctlRaw = library.func('int ioctl(int fd, ulong request, void *argument)');

/** [linux/fuse.h: _IOW(229, 1, struct fuse_backing_map), _IOW(229, 2, uint32_t)] */
const backingOpen = 0x4010_e501;
const backingClose = 0x4004_e502;

/** One burst keeps the event loop waiting no longer than this. */
const burstMs = 5;
/** Each occupies one of libuv's four threads while the kernel makes it wait. */
const notificationsMax = 2;
/** What a message has before the data of a write. */
const headBytes = 4096;

type Parts = readonly Uint8Array[];
interface Pipe {
  open(fd: number): number;
}
interface SocketWithHandle {
  readonly _handle?: { readonly constructor: new (kind: number) => Pipe };
}

/** libuv's pipe, the one stream of Node that takes any descriptor that epoll does. Undocumented: a test watches it. */
function pipeOn(fd: number): Pipe {
  const socket = new Socket();
  socket.on('error', () => {});
  socket.connect({ path: `/nonexistent/${process.pid}` });
  const PipeClass = (socket as SocketWithHandle)._handle?.constructor;
  if (!PipeClass)
    throw new Error('this Node has no Socket._handle: use a release that the tests pass on');
  const pipe = new PipeClass(0);
  if (pipe.open(fd) !== 0) throw new Error(`libuv does not take descriptor ${fd}`);
  return pipe;
}

export interface Reader {
  /** True: it keeps the message, and gives it back by `Device.giveBack`. */
  message(m: Incoming): boolean;
  /** The connection has ended: ENODEV (unmounted), ECONNABORTED, or another errno's name. */
  end(code: string): void;
  /** Work is under way that needs the event loop: do not spin. */
  busy(): boolean;
}

export class Device {
  readonly fd: number;
  readonly #size: number;
  readonly #spinMs: number;
  readonly #free: Incoming[] = [];
  readonly #waiting: (() => void)[] = [];
  #notifying = 0;
  #current: Incoming;
  #socket: Socket | undefined;
  #paused = false;

  /** `maxWrite`: the longest write agreed on or to be agreed on. */
  constructor(fd: number, options: { maxWrite: number; spinUs: number }) {
    this.fd = fd;
    this.#size = options.maxWrite + headBytes;
    this.#spinMs = options.spinUs / 1e3;
    this.#current = new Incoming(this.#size);
  }

  /** A new connection, to be mounted. */
  static openFd(): number {
    return openSync('/dev/fuse', constants.O_RDWR);
  }

  /** Only once it is mounted: before, reading fails. */
  listen(reader: Reader): void {
    const socket = new Socket({
      handle: pipeOn(this.fd),
      readable: true,
      writable: false,
      allowHalfOpen: true,
      onread: {
        buffer: () => this.#current.bytes,
        callback: (bytes: number) => {
          this.#take(reader, bytes);
          this.#drain(reader);
          return true;
        },
      },
    } as object);
    this.#socket = socket;
    let code = 'ENODEV';
    socket.on('error', (error: NodeJS.ErrnoException) => {
      code = error.code ?? String(error);
    });
    socket.on('close', () => reader.end(code));
    socket.resume();
  }

  #take(reader: Reader, bytes: number): void {
    const message = this.#current;
    message.length = bytes;
    if (reader.message(message)) this.#current = this.#free.pop() ?? new Incoming(this.#size);
  }

  /** Reads on until nothing has come for the spin time, or the burst is long enough. */
  #drain(reader: Reader): void {
    if (this.#spinMs <= 0) return;
    const begin = performance.now();
    let last = begin;
    while (!this.#paused && !reader.busy()) {
      const bytes = Number(readRaw(this.fd, this.#current.bytes, this.#size));
      const now = performance.now();
      if (bytes > 0) {
        this.#take(reader, bytes);
        if (now - begin > burstMs) return;
        last = performance.now();
      } else if (now - last > this.#spinMs) return;
    }
  }

  giveBack(m: Incoming): void {
    this.#free.push(m);
  }

  /** No request is read any more; what was read can still be answered. */
  pause(): void {
    this.#paused = true;
    this.#socket?.pause();
  }

  /** Lets go of the descriptor. The connection goes on as long as somebody has a duplicate. */
  close(): void {
    this.#paused = true;
    if (this.#socket) this.#socket.destroy();
    else closeSync(this.fd);
  }

  /** One answer by one write: 0 or the negative errno. */
  send(head: Uint8Array, parts: Parts): number {
    try {
      if (parts.length === 0) writeSync(this.fd, head);
      else writevSync(this.fd, [head, ...parts]);
      return 0;
    } catch (error) {
      return errnoOf(error);
    }
  }

  /** 0 or the negative errno, once the kernel has done it; bounded in number, in order of their calls. */
  async notify(parts: Parts): Promise<number> {
    if (this.#notifying >= notificationsMax)
      await new Promise<void>((go) => this.#waiting.push(go));
    else this.#notifying++;
    const result = await new Promise<number>((done) => {
      writev(this.fd, parts, (error) => done(error ? errnoOf(error) : 0));
    });
    const next = this.#waiting.shift();
    if (next) next();
    else this.#notifying--;
    return result;
  }

  /** Makes an open file of this process one that the kernel reads by itself: its number, or the negative errno. */
  openBacking(fd: number): number {
    const map = Buffer.alloc(16);
    map.writeInt32LE(fd, 0);
    const id = ioctlRaw(this.fd, backingOpen, map);
    return id < 0 ? -koffi.errno() : id;
  }

  closeBacking(id: number): number {
    const number = Buffer.alloc(4);
    number.writeInt32LE(id, 0);
    return ioctlRaw(this.fd, backingClose, number) < 0 ? -koffi.errno() : 0;
  }
}
