// Client of ssi-guard (infra/native/guard.c): one connection for commands, in order, and one for each
// watch. Both come back by themselves when the socket breaks; the guard itself cannot be gone while this
// process lives, for it is pid 1 of the same namespace.
import { connect, type Socket } from 'node:net';
import { type Errno, errnoNumber, fail, ok, type Reply } from '@ssi/contracts';
import { closeFd, errnoName, pidfdGetfd, pidfdOpen } from '@ssi/linux';
import type { Clock } from '@ssi/ports';
import type { Guard, GuardStatus, Subscription } from '../ports.ts';

type Lost = 'EIO' | 'ETIMEDOUT';
interface Waiting {
  readonly done: (reply: Reply<string, Errno>) => void;
}

/** What the other adapters need of the guard beyond the port: it keeps what must outlive vproc. */
export interface GuardStore {
  /** Flags: r w rw, n nonblock, a append, c create. Returns the guard's number of the description. */
  openFile(path: string, flags: string): Promise<Reply<number, Errno>>;
  closeFile(fd: number): Promise<Reply<undefined, Errno>>;
  /** All that it keeps open. */
  files(): Promise<Reply<readonly { readonly fd: number; readonly path: string }[], Errno>>;
  openPty(rows: number, cols: number): Promise<Reply<{ fd: number; path: string }, Errno>>;
  /** A descriptor of ours for the same open description: position and flags are shared. */
  share(fd: number): Reply<number, Errno>;
  /** pid_max is at its highest while `use` runs, so that a foreign pid can be restored. [clone3(2): set_tid] */
  withOpenPidMax<T>(use: () => Promise<T>): Promise<Reply<T, Errno>>;
}

export interface GuardClientOptions {
  /** `<nodeDir>/guard.sock` */
  readonly socketPath: string;
  readonly clock: Clock;
  /** The guard as seen from here; 1 inside its namespace. */
  readonly guardPid?: number;
  readonly timeoutMs?: number;
}

const reconnectMs = 50;
const killTimeoutMs = 30_000;

export class GuardClient implements Guard, GuardStore {
  readonly #options: GuardClientOptions;
  #socket: Socket | undefined;
  #waiting: Waiting[] = [];

  constructor(options: GuardClientOptions) {
    this.#options = options;
  }

  async status(): Promise<Reply<GuardStatus, Lost>> {
    const reply = await this.#command('status');
    if (!reply.ok) return lost(reply);
    const field = new Map(
      reply.value.split(' ').map((word) => word.split('=') as [string, string]),
    );
    const number = (name: string): number => Number(field.get(name) ?? 0);
    return ok({
      leaseMs: number('leaseMs'),
      frozen: number('frozen') === 1,
      held: number('held'),
    });
  }

  watch(onChange: (frozen: boolean, atMs: number) => void): Subscription {
    const { clock, socketPath } = this.#options;
    let stopped = false;
    let socket: Socket;
    const open = (): void => {
      if (stopped) return;
      socket = connect(socketPath);
      socket.unref();
      socket.on('connect', () => socket.write('watch\n'));
      socket.on('error', () => {});
      socket.on('close', () => clock.after(reconnectMs, open));
      onLines(socket, (line) => {
        const [state, atMs] = line.split(' ');
        if (!stopped && (state === 'frozen' || state === 'thawed'))
          onChange(state === 'frozen', Number(atMs));
      });
    };
    open();
    return {
      stop: () => {
        stopped = true;
        socket.destroy();
      },
    };
  }

  async killPrograms(): Promise<Reply<undefined, Lost>> {
    const reply = await this.#command('kill', killTimeoutMs);
    return reply.ok ? ok() : lost(reply);
  }

  async hold(pid: number): Promise<Reply<undefined, 'EEXIST' | Lost>> {
    const reply = await this.#command(`hold ${pid}`);
    if (reply.ok) return ok();
    return reply.errno === 'EEXIST' ? fail('EEXIST', reply.detail) : lost(reply);
  }

  async holdAny(): Promise<Reply<number, 'EAGAIN' | Lost>> {
    const reply = await this.#command('hold any');
    if (reply.ok) return ok(Number(reply.value));
    return reply.errno === 'EAGAIN' ? fail('EAGAIN', reply.detail) : lost(reply);
  }

  async release(pid: number): Promise<Reply<undefined, Lost>> {
    const reply = await this.#command(`release ${pid}`);
    return reply.ok ? ok() : lost(reply);
  }

  async held(): Promise<Reply<readonly number[], Lost>> {
    const reply = await this.#command('held');
    return reply.ok ? ok(words(reply.value).map(Number)) : lost(reply);
  }

  async openFile(path: string, flags: string): Promise<Reply<number, Errno>> {
    const reply = await this.#command(`open ${path} ${flags}`);
    return reply.ok ? ok(Number(reply.value)) : reply;
  }

  async closeFile(fd: number): Promise<Reply<undefined, Errno>> {
    const reply = await this.#command(`close ${fd}`);
    return reply.ok ? ok() : reply;
  }

  async files(): Promise<Reply<readonly { readonly fd: number; readonly path: string }[], Errno>> {
    const reply = await this.#command('fds');
    if (!reply.ok) return reply;
    const list = words(reply.value);
    return ok(
      Array.from({ length: list.length / 2 }, (_, i) => ({
        fd: Number(list[2 * i]),
        path: list[2 * i + 1] ?? '',
      })),
    );
  }

  async openPty(rows: number, cols: number): Promise<Reply<{ fd: number; path: string }, Errno>> {
    const reply = await this.#command(`pty ${rows} ${cols}`);
    if (!reply.ok) return reply;
    const [fd, path] = words(reply.value);
    return ok({ fd: Number(fd), path: path ?? '' });
  }

  share(fd: number): Reply<number, Errno> {
    const pidfd = pidfdOpen(this.#options.guardPid ?? 1);
    if (pidfd < 0) return fail(errnoName(pidfd), 'the guard cannot be opened');
    const shared = pidfdGetfd(pidfd, fd);
    closeFd(pidfd);
    return shared < 0 ? fail(errnoName(shared), `the guard has no descriptor ${fd}`) : ok(shared);
  }

  async withOpenPidMax<T>(use: () => Promise<T>): Promise<Reply<T, Errno>> {
    const opened = await this.#command('pidmax open');
    if (!opened.ok) return opened;
    try {
      return ok(await use());
    } finally {
      await this.#command('pidmax range');
    }
  }

  close(): void {
    this.#socket?.destroy();
  }

  #command(
    line: string,
    timeoutMs = this.#options.timeoutMs ?? 5_000,
  ): Promise<Reply<string, Errno>> {
    const socket = this.#connected();
    return new Promise((resolve) => {
      const timer = this.#options.clock.after(timeoutMs, () => {
        done(fail('ETIMEDOUT', `the guard did not answer \`${line}\``));
        socket.destroy(); // replies come in order: after a lost one the rest could not be told apart
      });
      const done = (reply: Reply<string, Errno>): void => {
        timer.cancel();
        resolve(reply);
      };
      this.#waiting.push({ done });
      socket.write(`${line}\n`);
    });
  }

  #connected(): Socket {
    if (this.#socket) return this.#socket;
    const socket = connect(this.#options.socketPath);
    let connected = false;
    this.#socket = socket;
    socket.on('connect', () => {
      connected = true;
    });
    socket.on('error', () => {});
    socket.on('close', () => {
      const waiting = this.#waiting;
      this.#waiting = [];
      this.#socket = undefined;
      for (const { done } of waiting)
        done(
          connected
            ? fail('ETIMEDOUT', 'the connection to the guard broke')
            : fail('EIO', `no guard at ${this.#options.socketPath}`),
        );
    });
    onLines(socket, (line) => this.#waiting.shift()?.done(parse(line)));
    return socket;
  }
}

const words = (text: string): string[] => text.split(' ').filter((word) => word !== '');

function parse(line: string): Reply<string, Errno> {
  if (line === 'ok' || line.startsWith('ok ')) return ok(line.slice(3));
  const [, errno = '', ...text] = line.split(' ');
  return fail(errno in errnoNumber ? (errno as Errno) : 'EIO', text.join(' '));
}

const lost = (reply: { readonly errno: Errno; readonly detail: string }): Reply<never, Lost> =>
  fail(reply.errno === 'ETIMEDOUT' ? 'ETIMEDOUT' : 'EIO', reply.detail);

function onLines(socket: Socket, onLine: (line: string) => void): void {
  let rest = '';
  socket.setEncoding('utf8');
  socket.on('data', (text: string) => {
    const lines = (rest + text).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) onLine(line);
  });
}
