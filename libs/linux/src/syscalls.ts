// System calls that Node lacks, bound by koffi. Each returns what the call returns, or the negative errno
// where it failed (as the kernel itself does): no exception, no global errno. [intro(2)]
import koffi from 'koffi';

const library = koffi.load(null);
const bind = (declaration: string) => library.func(declaration);

const clockGettime = bind('int clock_gettime(int clock, _Out_ int64_t *time)');
const spliceRaw = bind(
  'long splice(int in, _Inout_ int64_t *inAt, int out, _Inout_ int64_t *outAt, size_t n, uint flags)',
);
const fallocateRaw = bind('int fallocate(int fd, int mode, int64_t offset, int64_t length)');
const lseekRaw = bind('int64_t lseek(int fd, int64_t offset, int whence)');
const ioctlNumber = bind('int ioctl(int fd, ulong request, _Out_ int *value)');
const ioctlWinsize = library.func('ioctl', 'int', ['int', 'ulong', 'uint16_t *']);
const killRaw = bind('int kill(int pid, int signal)');
const syscallRaw = bind(
  'long syscall(long number, long a, long b, long c, long d, long e, long f)',
);
const pipe2Raw = bind('int pipe2(_Out_ int *ends, int flags)');
const mkfifoRaw = bind('int mkfifo(const char *path, uint mode)');
const fcntlRaw = bind('int fcntl(int fd, int command, long argument)');
const eventfdRaw = bind('int eventfd(uint initial, int flags)');
const epollCreateRaw = bind('int epoll_create1(int flags)');
const epollCtlRaw = bind('int epoll_ctl(int epoll, int op, int fd, uint8_t *event)');
const epollWaitRaw = bind(
  'int epoll_wait(int epoll, _Out_ uint8_t *events, int max, int timeoutMs)',
);

/** Numbers that x86_64 and aarch64 share (all calls since 5.x do). */
const nrPidfdOpen = 434;
const nrPidfdGetfd = 438;

const orErrno = (result: number): number => (result < 0 ? -koffi.errno() : result);

const clockBoottime = 7;
const time = new BigInt64Array(2);
/** ms of CLOCK_BOOTTIME, with fraction. [clock_gettime(2)] */
export function boottimeMs(): number {
  clockGettime(clockBoottime, time);
  return Number(time[0]) * 1e3 + Number(time[1]) / 1e6;
}

/** SPLICE_F_MOVE | SPLICE_F_NONBLOCK: one of the two is a pipe, and waiting is epoll's part. */
const spliceFlags = 3;
/** Moves up to `n` bytes at the descriptions' own positions: bytes and positions in one step. [splice(2)] */
export const splice = (input: number, output: number, n: number): number =>
  orErrno(spliceRaw(input, null, output, null, n, spliceFlags));

/** Frees the pages of a range of a file; its size stays. [fallocate(2): FALLOC_FL_PUNCH_HOLE] */
export const punchHole = (fd: number, offset: number, length: number): number =>
  orErrno(fallocateRaw(fd, 3, offset, length));

/** Takes room on the disk for a range of a file; its size stays. [fallocate(2): FALLOC_FL_KEEP_SIZE] */
export const allocate = (fd: number, offset: number, length: number): number =>
  orErrno(fallocateRaw(fd, 1, offset, length));

const whences = { set: 0, current: 1, end: 2, data: 3, hole: 4 };
/** Sets and tells the position of an open description, which all who share it see. [lseek(2)] */
export const seek = (fd: number, offset: number, whence: keyof typeof whences): number =>
  orErrno(Number(lseekRaw(fd, offset, whences[whence])));

const FIONREAD = 0x541b;
const TIOCSWINSZ = 0x5414;
/** Bytes that lie in a pipe or terminal. [ioctl_pipe(2): FIONREAD] */
export function unread(fd: number): number {
  const value = [0];
  const result = orErrno(ioctlNumber(fd, FIONREAD, value));
  return result < 0 ? result : (value[0] ?? 0);
}
/** [ioctl_tty(2): TIOCSWINSZ; the foreground group gets SIGWINCH] */
export const setWindowSize = (fd: number, rows: number, cols: number): number =>
  orErrno(ioctlWinsize(fd, TIOCSWINSZ, new Uint16Array([rows, cols, 0, 0])));

const closeOnExec = 0o2000000;
/** Both ends of a new pipe, closed in what this process starts; or the negative errno. [pipe2(2)] */
export function makePipe(): { readonly read: number; readonly write: number } | number {
  const ends = [-1, -1];
  const result = orErrno(pipe2Raw(ends, closeOnExec));
  return result < 0 ? result : { read: ends[0] ?? -1, write: ends[1] ?? -1 };
}

/** [mkfifo(3)] */
export const makeFifo = (path: string, mode: number): number => orErrno(mkfifoRaw(path, mode));
/** Sets O_NONBLOCK on the open description, for all who share it. [fcntl(2): F_SETFL] */
export const setNonblocking = (fd: number): number =>
  orErrno(fcntlRaw(fd, 4, fcntlRaw(fd, 3, 0) | 0o4000));

/** kill(2) by number, 0 asks. */
export const sendSignal = (pid: number, signal: number): number => orErrno(killRaw(pid, signal));

/** [pidfd_open(2)] */
export const pidfdOpen = (pid: number): number =>
  orErrno(syscallRaw(nrPidfdOpen, pid, 0, 0, 0, 0, 0));
/** A descriptor here for the open description that is `fd` there, close-on-exec. [pidfd_getfd(2)] */
export const pidfdGetfd = (pidfd: number, fd: number): number =>
  orErrno(syscallRaw(nrPidfdGetfd, pidfd, fd, 0, 0, 0, 0));

const semctlRaw = bind('int semctl(int set, int index, int command)');
/** The process that used semaphore `index` of a System V set last; 0: none yet, or it is another namespace's. */
export const semaphoreUser = (set: number, index: number): number =>
  orErrno(semctlRaw(set, index, 11));

const setsockoptRaw = bind(
  'int setsockopt(int fd, int level, int name, const int *value, uint bytes)',
);
const getsockoptRaw = bind(
  'int getsockopt(int fd, int level, int name, _Out_ int *value, _Inout_ uint *bytes)',
);
/** Who connected to this unix socket, in the pid namespace of this process. [unix(7): SO_PEERCRED] */
export function peerCredentials(
  socket: object,
): { readonly pid: number; readonly uid: number; readonly gid: number } | undefined {
  const [solSocket, soPeercred] = [1, 17];
  const { fd } = (socket as { _handle?: { fd?: number } })._handle ?? {};
  const who = [0, 0, 0];
  if (fd === undefined || getsockoptRaw(fd, solSocket, soPeercred, who, [12]) < 0) return undefined;
  const [pid = 0, uid = 0, gid = 0] = who;
  return { pid, uid, gid };
}

/**
 * Makes a connected TCP socket send a window probe, which its peer answers: leaving repair mode does.
 * Needs CAP_NET_ADMIN. [tcp(7); linux: net/ipv4/tcp.c, TCP_REPAIR]
 */
export function nudgeTcp(fd: number): number {
  const [solTcp, tcpRepair] = [6, 19];
  const on = orErrno(setsockoptRaw(fd, solTcp, tcpRepair, [1], 4));
  return on < 0 ? on : orErrno(setsockoptRaw(fd, solTcp, tcpRepair, [0], 4));
}

/** [fcntl(2): F_GETPIPE_SZ, F_SETPIPE_SZ] */
export const setPipeSize = (fd: number, bytes: number): number =>
  orErrno(fcntlRaw(fd, 1031, bytes));

export interface ReadyFd {
  readonly fd: number;
  readonly events: number;
}
export const pollIn = 1;
export const pollOut = 4;
export const pollHup = 0x10;

/** What `epoll_event` is: packed on x86_64 only. [epoll_ctl(2)] */
const eventBytes = process.arch === 'x64' ? 12 : 16;
const dataAt = eventBytes - 8;
const readyMax = 64;

/** epoll in a thread of its own: `wait` resolves when something is ready, after `wake`, or the timeout. */
export class Poller {
  readonly #epoll = orErrno(epollCreateRaw(0x80000));
  readonly #wakeFd = orErrno(eventfdRaw(0, 0x80800));
  readonly #events = new Uint8Array(eventBytes * readyMax);
  readonly #known = new Map<number, number>();

  constructor() {
    this.set(this.#wakeFd, pollIn);
  }

  /** What to wait for on a descriptor; 0: nothing more, also not its hang-up. Negative errno where refused. */
  set(fd: number, events: number): number {
    const before = this.#known.get(fd);
    if (before === events || (before === undefined && events === 0)) return 0;
    const event = new DataView(new ArrayBuffer(eventBytes));
    event.setUint32(0, events, true);
    event.setInt32(dataAt, fd, true);
    const op = events === 0 ? 2 : before === undefined ? 1 : 3;
    const result = orErrno(epollCtlRaw(this.#epoll, op, fd, new Uint8Array(event.buffer)));
    if (events === 0) this.#known.delete(fd);
    else if (result === 0) this.#known.set(fd, events);
    return result;
  }

  /** One call at a time. */
  wait(timeoutMs: number): Promise<readonly ReadyFd[]> {
    return new Promise((done) => {
      epollWaitRaw.async(
        this.#epoll,
        this.#events,
        readyMax,
        timeoutMs,
        (_: unknown, count: number) => done(this.#read(count)),
      );
    });
  }

  /** What is ready now, without waiting and without another thread. Not while a `wait` is under way. */
  now(): readonly ReadyFd[] {
    return this.#read(epollWaitRaw(this.#epoll, this.#events, readyMax, 0));
  }

  #read(count: number): ReadyFd[] {
    const view = new DataView(this.#events.buffer);
    const ready: ReadyFd[] = [];
    for (let i = 0; i < count; i++) {
      const fd = view.getInt32(i * eventBytes + dataAt, true);
      if (fd === this.#wakeFd) clearEvent(fd);
      else ready.push({ fd, events: view.getUint32(i * eventBytes, true) });
    }
    return ready;
  }

  wake(): void {
    writeEvent(this.#wakeFd);
  }

  /** Only when no `wait` is under way. */
  close(): void {
    closeFd(this.#wakeFd);
    closeFd(this.#epoll);
  }
}

const readRaw = bind('long read(int fd, _Out_ uint8_t *bytes, size_t n)');
const writeRaw = bind('long write(int fd, const uint8_t *bytes, size_t n)');
const closeRaw = bind('int close(int fd)');
const word = new Uint8Array(8);
const one = new Uint8Array([1, 0, 0, 0, 0, 0, 0, 0]);
const clearEvent = (fd: number): void => void readRaw(fd, word, 8);
const writeEvent = (fd: number): void => void writeRaw(fd, one, 8);
export const closeFd = (fd: number): number => orErrno(closeRaw(fd));
