// The StreamStore port: standard streams as FIFOs and sparse logs in <nodeDir>/streams/<owner>/. Every
// byte is moved by splice(2) between descriptions that the guard keeps open, so the kernel's own file
// positions are the offsets and a killed vproc loses nothing. One poller serves all streams.
// [pipe(7), splice(2), pty(7)]
import { mkdirSync, rmSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { fail, ok, type Reply } from '@ssi/contracts';
import { Poller } from '@ssi/linux';
import type { Clock, Log } from '@ssi/ports';
import type { StreamStore, Subscription, TtyBinding } from '../ports.ts';
import type { GuardStore } from './guard.linux.ts';
import { OwnerStreams } from './owner-streams.ts';
import type { Meta } from './stream-files.ts';

export interface StreamStoreOptions {
  readonly nodeDir: string;
  readonly guard: GuardStore;
  readonly clock: Clock;
  readonly log: Log;
}

/** After a round that moved little the pump rests this long, so that a chatty program costs few wake-ups. */
const coalesceMs = 2;
const smallRoundBytes = 16 * 1024;
const pollTimeoutMs = 500;

export interface LinuxStreamStore extends StreamStore {
  /** Stops the pump; the streams stay as they are, for the next vproc. */
  close(): Promise<void>;
}

export function linuxStreamStore(options: StreamStoreOptions): LinuxStreamStore {
  const root = `${options.nodeDir}/streams`;
  const owners = new Map<number, OwnerStreams>();
  const poller = new Poller();
  const byFd = new Map<number, OwnerStreams>();
  let closed = false;
  mkdirSync(root, { recursive: true });

  const context = {
    guard: options.guard,
    log: options.log,
    watch: (streams: OwnerStreams, fd: number, events: number) => {
      if (events === 0) byFd.delete(fd);
      else byFd.set(fd, streams);
      poller.set(fd, events);
    },
  };

  const pump = async (): Promise<void> => {
    while (!closed) {
      const ready = await poller.wait(pollTimeoutMs);
      let moved = 0;
      for (const { fd, events } of ready) moved += byFd.get(fd)?.onReady(fd, events) ?? 0;
      for (const streams of owners.values()) streams.tellChanges();
      if (ready.length > 0 && moved < smallRoundBytes)
        await new Promise<void>((done) => void options.clock.after(coalesceMs, done));
    }
    poller.close();
  };
  const pumping = pump();

  const withOwner = <T, E extends 'EIO'>(
    owner: number,
    use: (streams: OwnerStreams) => Promise<Reply<T, E>> | Reply<T, E>,
  ): Promise<Reply<T, E | 'ENOENT'>> => {
    const streams = owners.get(owner);
    return Promise.resolve(
      streams ? use(streams) : fail('ENOENT', `process ${owner} has no streams`),
    );
  };

  const make = async (
    owner: number,
    meta: Meta,
  ): Promise<Reply<OwnerStreams, 'EIO' | 'ENOSPC'>> => {
    const made = await OwnerStreams.make(`${root}/${owner}`, owner, meta, context);
    if (made.ok) owners.set(owner, made.value);
    return made;
  };

  const remove = async (owner: number): Promise<void> => {
    const streams = owners.get(owner);
    owners.delete(owner);
    await streams?.close(true);
    for (const tell of [...(streams?.listeners ?? [])]) tell();
    rmSync(`${root}/${owner}`, { recursive: true, force: true });
  };

  return {
    create: async ({ owner, tty, noInput, uid, gid }) => {
      if (owners.has(owner)) return fail('EEXIST', `process ${owner} has streams`);
      await remove(owner);
      const made = await make(owner, {
        ...{ uid, gid, inputEnded: noInput === true, noInput: noInput === true },
        ...(tty ? { tty } : {}),
        bases: {},
        eof: {},
      });
      if (!made.ok) return made;
      made.value.flow({ input: true, output: true });
      return ok(made.value.paths());
    },
    adopt: async (paused) => {
      const names = await readdir(root).catch(() => []);
      const files = await options.guard.files();
      if (!files.ok) return fail('EIO', files.detail);
      for (const name of names) {
        const owner = Number(name);
        if (!Number.isInteger(owner) || owners.has(owner)) continue;
        const opened = OwnerStreams.adopt(`${root}/${owner}`, owner, files.value, context);
        if (!opened.ok) {
          options.log.warn('streams not adopted', { pid: owner, detail: opened.detail });
          continue;
        }
        owners.set(owner, opened.value);
        if (!paused.includes(owner)) opened.value.flow({ input: true, output: true });
      }
      return ok([...owners.keys()].sort((a, b) => a - b));
    },
    state: async (owner) => {
      const streams = owners.get(owner);
      return streams ? ok(streams.states()) : fail('ENOENT', `process ${owner} has no streams`);
    },
    tty: (owner): TtyBinding | undefined => owners.get(owner)?.binding(),
    ttySize: (owner) => owners.get(owner)?.ttySize(),
    paths: (owner) => owners.get(owner)?.paths(),
    ownerAt: (path) => {
      if (path === '/dev/null') return undefined;
      for (const [owner, s] of owners) if (Object.values(s.paths()).includes(path)) return owner;
      return undefined;
    },
    read: async (owner, name, offset, maxBytes) => {
      const streams = owners.get(owner);
      return streams
        ? ok(streams.read(name, offset, maxBytes))
        : fail('ENOENT', `process ${owner} has no streams`);
    },
    onChange: (owner, fn): Subscription => {
      const streams = owners.get(owner);
      streams?.listeners.add(fn);
      return { stop: () => void streams?.listeners.delete(fn) };
    },
    append: async (owner, offset, data) => {
      const streams = owners.get(owner);
      return streams
        ? streams.append(offset, data)
        : fail('ENOENT', `process ${owner} has no streams`);
    },
    endInput: (owner) => withOwner(owner, (streams) => streams.endInput()),
    endOutput: (owner) => withOwner(owner, (streams) => streams.endOutput()),
    resize: async (owner, { rows, cols }) => {
      const streams = owners.get(owner);
      if (!streams) return fail('ENOENT', `process ${owner} has no streams`);
      return streams.resize({ rows, cols });
    },
    pauseInput: (owner) =>
      withOwner(owner, (streams) => {
        streams.flow({ input: false, output: true });
        return ok();
      }),
    unreadInput: (owner) => owners.get(owner)?.unreadInput() ?? 0,
    pause: (owner) => withOwner(owner, (streams) => ok(streams.pause())),
    resume: (owner) =>
      withOwner(owner, (streams) => {
        streams.flow({ input: true, output: true });
        return ok();
      }),
    install: async ({ owner, states, tty, uid, gid }) => {
      await remove(owner);
      const input = states.find((state) => state.name === 'in');
      const made = await make(owner, {
        ...{ uid, gid, inputEnded: input?.eof === true, noInput: input === undefined },
        ...(tty ? { tty: { rows: tty.rows, cols: tty.cols } } : {}),
        bases: Object.fromEntries(
          states.map((state) => [
            state.name,
            // A terminal may still give back what it has not read.
            state.name === 'in' && !tty ? state.fedOffset : state.startOffset,
          ]),
        ),
        eof: {},
      });
      return made.ok ? ok(made.value.paths()) : made;
    },
    fill: async (owner, name, offset, data) => {
      const streams = owners.get(owner);
      return streams
        ? streams.fill(name, offset, data)
        : fail('ENOENT', `process ${owner} has no streams`);
    },
    settle: (owner, states) => withOwner(owner, (streams) => streams.settle(states)),
    remove: async (owner) => {
      await remove(owner);
      return ok();
    },
    close: async () => {
      closed = true;
      poller.wake();
      await pumping;
      for (const streams of owners.values()) await streams.close(false);
    },
  };
}
