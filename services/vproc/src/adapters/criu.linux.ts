// The Criu port by the criu program: plain two-phase dump and restore, both sides left stopped. Its exit
// code decides; of its log only the Error lines are passed on, for people. criu leaves cgroups alone:
// the restored tasks, still stopped, are put into the programs cgroup here. [criu(8)]
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { fail, ok, type Reply } from '@ssi/contracts';
import { closeFd, errnoOf } from '@ssi/linux';
import type { Clock, Log } from '@ssi/ports';
import type { Criu, Dump, DumpRequest, DumpResult, RestoreRequest, TtyBinding } from '../ports.ts';
import { rangesFile } from './ahead.linux.ts';
import { mendCall } from './criu-calls.ts';
import {
  locksOut,
  mendForeground,
  mendPagemap,
  mendTimers,
  readDumpStats,
  wasStopped,
} from './criu-image.ts';
import { childrenIn, isAlive, mendStops } from './criu-signals.ts';
import type { GuardStore } from './guard.linux.ts';
import { followImages, imageBytes } from './image-follower.ts';
import type { LazyPages } from './lazy-pages.linux.ts';
import { destroyTree, resumeTree, stoppedIn, treeOf } from './process-tree.ts';
import { readStat } from './procfs.linux.ts';
import { openPipes } from './restored-pipes.linux.ts';
import { runProgram } from './run-program.ts';
import { WaitingCrius } from './waiting-criu.linux.ts';

export interface LinuxCriuOptions {
  readonly criuPath: string;
  readonly nftPath: string;
  /** Path of ssi-stub: it makes the session that a restored child is in. */
  readonly stubPath: string;
  /** Where `Images` keeps its folders. */
  readonly imagesDir: string;
  /** `cgroup.procs` of every hierarchy that a program belongs to. */
  readonly cgroupProcs: readonly string[];
  /** Gets the pids of what runs in that cgroup and is no program. */
  readonly helpers: Set<number>;
  readonly guard: GuardStore;
  readonly lazyPages: LazyPages;
  readonly clock: Clock;
  readonly log: Log;
}

const dumpTimeoutMs = 120_000;
const restoreTimeoutMs = 60_000;

/** What the restore must know of the dump and criu does not keep. Travels with the images. */
interface Note {
  readonly ttyExternal?: string;
  readonly tcpClosed?: boolean;
}
const noteFile = 'ssi.json';

/** Alike at dump and restore. */
const commonArgs = ['-v1', '--manage-cgroups=ignore', '--file-locks', '--leave-stopped'];
const dumpArgs = ['--ghost-limit', '64M', '--link-remap'];

export function linuxCriu(options: LinuxCriuOptions): Criu {
  const folder = (moveId: string): string => `${options.imagesDir}/${moveId}`;
  const waiting = new WaitingCrius(options);
  let known: { readonly file: string; readonly version: string } | undefined;
  return {
    version: async () => {
      const stat = statSync(options.criuPath, { throwIfNoEntry: false });
      const file = `${stat?.ino} ${stat?.mtimeMs}`;
      if (known?.file === file) return ok(known.version);
      const result = await runProgram(options.criuPath, ['--version'], { timeoutMs: 10_000 });
      const version = /Version: (\S+)/.exec(result.out)?.[1];
      if (!version) return fail('ENOSYS', `${options.criuPath} does not work: ${result.err}`);
      known = { file, version };
      return ok(version);
    },
    dump: (request) => startDump(options, folder(request.moveId), request),
    prepare: (moveId) => waiting.prepare(moveId),
    discard: async (moveId) => waiting.discard(moveId),
    restore: async (request) => {
      const restored = await options.guard.withOpenPidMax(() =>
        restore(options, waiting, folder(request.moveId), request),
      );
      return restored.ok ? restored.value : fail('ECANCELED', `pid_max: ${restored.detail}`);
    },
    resume: async (tasks, stoppedBefore) => {
      resumeTree(tasks, stoppedBefore);
      return ok();
    },
    destroy: (tasks) => destroyTree(tasks, options.clock),
    cleanUp: () => dropRules(options.nftPath),
  };
}

function startDump(options: LinuxCriuOptions, dir: string, request: DumpRequest): Dump {
  const done = dump(options, dir, request);
  return {
    chunks: followImages(
      dir,
      options.clock,
      done.then((reply) => reply.ok),
    ),
    done,
  };
}

async function dump(
  options: LinuxCriuOptions,
  dir: string,
  request: DumpRequest,
): Promise<Reply<DumpResult, 'EIO' | 'ESRCH' | 'ENOSPC'>> {
  const { clock } = options;
  if (!readStat(request.root)) return fail('ESRCH', `no process ${request.root}`);
  const note: Note = {
    ...(request.tty ? { ttyExternal: request.tty.external } : {}),
    ...(request.tcpClosed ? { tcpClosed: true } : {}),
  };
  try {
    mkdirSync(dir, { recursive: true });
    writeFileSync(`${dir}/${noteFile}`, JSON.stringify(note));
  } catch (error) {
    return fail(errnoOf(error) === 'ENOSPC' ? 'ENOSPC' : 'EIO', (error as Error).message);
  }
  const settled = await options.lazyPages.settled(treeOf(request.root).map(({ pid }) => pid));
  if (!settled.ok) return settled;
  const ahead = `${dir}/${rangesFile}`;
  const stoppedFirst = stoppedIn(request.root);
  const startedMs = clock.nowMs();
  const result = await runProgram(
    options.criuPath,
    [
      ...['dump', '-t', String(request.root), '-D', dir, '-o', 'dump.log'],
      ...[...commonArgs, ...dumpArgs, ...flags(request)],
      ...(request.tty ? ['--external', request.tty.external] : []),
    ],
    {
      timeoutMs: dumpTimeoutMs,
      ...(existsSync(ahead) ? { env: { ...environment(), SSI_SENT_AHEAD: ahead } } : {}),
    },
  );
  const endedMs = clock.nowMs();
  if (result.code !== 0) {
    // criu lets the tree run on; one that was killed itself (time-out) leaves it stopped.
    const tasks = treeOf(request.root);
    resumeTree(tasks, stoppedFirst);
    const detail = errorsOf(`${dir}/dump.log`, result.err);
    return fail(/No space left/.test(detail) ? 'ENOSPC' : 'EIO', detail);
  }
  const tasks = treeOf(request.root);
  const locks = readOr(`${dir}/filelocks.img`);
  if (locks && locksOut(locks)) {
    // Taken since it was looked at. The copy would wait for a lock that this one holds while it stands still.
    resumeTree(tasks, stoppedFirst);
    return fail('EIO', 'ELOCK: it has just locked a file');
  }
  const { frozenUs } = readDumpStats(readFileSync(`${dir}/stats-dump`));
  // The statistics are written just after their last count, so their file's time ends the interval.
  const writtenMs = statSync(`${dir}/stats-dump`).mtimeMs - (clock.wallMs() - clock.nowMs());
  const freezeAtMs = Math.min(Math.max(writtenMs - frozenUs / 1e3, startedMs), endedMs);
  return ok({
    freezeAtMs,
    frozenMs: frozenUs / 1e3,
    bytes: imageBytes(dir),
    tasks,
    stoppedBefore: tasks
      .map(({ pid }) => pid)
      .filter((pid) => {
        const image = readOr(`${dir}/core-${pid}.img`);
        return image !== undefined && wasStopped(image);
      }),
  });
}

async function restore(
  options: LinuxCriuOptions,
  waiting: WaitingCrius,
  dir: string,
  request: RestoreRequest,
): ReturnType<Criu['restore']> {
  const { clock } = options;
  const startedMs = clock.nowMs();
  const note = noteIn(dir);
  if (note === undefined) return fail('ECANCELED', 'the images have not come');
  const lazy = options.lazyPages.wanted(request.moveId);
  if (lazy) {
    const listening = await options.lazyPages.prepare(request.moveId);
    if (!listening.ok) return fail('ECANCELED', listening.detail);
  }
  mendImages(dir, lazy);
  const terminal = await openTerminal(request.tty, note, options.guard);
  const pipes = openPipes(dir, 3 + terminal.fds.length);
  if (!pipes.ok) {
    await terminal.close();
    return fail('ECANCELED', `pipes: ${pipes.detail}`);
  }
  const args = [
    ...['restore', '-d', '-D', dir, '-o', 'restore.log', ...commonArgs],
    ...flags({ ...request, ...note }),
    ...(lazy ? ['--lazy-pages'] : []),
    ...terminal.args,
    ...pipes.value.args,
  ];
  const extraFds = [...terminal.fds, ...pipes.value.fds];
  const { session } = request;
  // One that waits was started before these were open, and outside of the session.
  if (extraFds.length > 0 || session) waiting.discard(request.moveId);
  const [path, ...words] = session
    ? [options.stubPath, '--session', `${session.sid}`, `${session.pgid}`, '--', options.criuPath]
    : [options.criuPath];
  const result =
    (await waiting.run(request.moveId, args, restoreTimeoutMs)) ??
    (await runProgram(path ?? '', [...words, ...args], {
      timeoutMs: restoreTimeoutMs,
      extraFds,
    }));
  pipes.value.close();
  await terminal.close();
  if (result.code === 0) options.lazyPages.handedOver(request.moveId);
  else options.lazyPages.discard(request.moveId);
  // What was restored began after this did (in ticks of 10 ms); a process that only has the pid is older.
  const isOurs = (startTicks: number): boolean => startTicks * 10 >= startedMs - 10;
  const tasks = treeOf(request.root).filter((task) => isOurs(task.startTicks));
  const cancel = async (detail: string): ReturnType<Criu['restore']> => {
    const gone = await destroyTree(tasks, clock);
    if (!gone.ok)
      options.log.error('a cancelled restore is not gone', { pid: request.root, ...gone });
    return fail('ECANCELED', detail);
  };
  if (result.code !== 0) return cancel(errorsOf(`${dir}/restore.log`, result.err));
  if (tasks[0]?.pid !== request.root) return cancel('criu restored something else');
  try {
    for (const procs of options.cgroupProcs) {
      const there = new Set(readFileSync(procs, 'latin1').split('\n').map(Number));
      for (const { pid } of tasks) if (!there.has(pid)) appendFileSync(procs, `${pid}\n`);
    }
  } catch (error) {
    return cancel(`cgroup: ${(error as Error).message}`);
  }
  return ok({ tasks, restoreMs: clock.nowMs() - startedMs });
}

const environment = (): Record<string, string> =>
  Object.fromEntries(
    Object.entries(process.env).filter((e): e is [string, string] => e[1] !== undefined),
  );

const flags = (request: Omit<DumpRequest, 'moveId' | 'root'>): string[] => [
  ...(request.shellJob ? ['--shell-job'] : []),
  ...(request.tcpClosed ? ['--tcp-close'] : []),
  ...(request.tcpEstablished ? ['--tcp-established', '--network-lock', 'nftables'] : []),
];

/** The slave that takes the place of the one in the images, as descriptor 3 of criu. */
async function openTerminal(
  tty: TtyBinding | undefined,
  note: Note,
  guard: GuardStore,
): Promise<{ fds: number[]; args: string[]; close(): Promise<void> }> {
  const none = { fds: [], args: [], close: async () => {} };
  if (!tty || !note.ttyExternal) return none;
  const opened = await guard.openFile(tty.path, 'rw');
  const shared = opened.ok ? guard.share(opened.value) : opened;
  if (!opened.ok || !shared.ok) return none;
  return {
    fds: [shared.value],
    args: ['--inherit-fd', `fd[3]:${note.ttyExternal}`],
    close: async () => {
      closeFd(shared.value);
      await guard.closeFile(opened.value);
    },
  };
}

function noteIn(dir: string): Note | undefined {
  const text = readOr(`${dir}/${noteFile}`);
  return text && (JSON.parse(text.toString()) as Note);
}

const pagemapFile = /^pagemap-\d+\.img$/;
/** What criu would restore otherwise than it was. `lazy`: what these images hold is not to be waited for. */
function mendImages(dir: string, lazy: boolean): void {
  for (const name of lazy ? readdirSync(dir).filter((file) => pagemapFile.test(file)) : [])
    writeFileSync(`${dir}/${name}`, mendPagemap(readFileSync(`${dir}/${name}`)));
  const files = readOr(`${dir}/files.img`);
  const timers = files && mendTimers(files);
  if (timers) writeFileSync(`${dir}/files.img`, timers);
  const [ttyInfo, pstree] = [readOr(`${dir}/tty-info.img`), readOr(`${dir}/pstree.img`)];
  const terminals = ttyInfo && pstree && mendForeground(ttyInfo, pstree);
  if (terminals) writeFileSync(`${dir}/tty-info.img`, terminals);
  const cores = new Map<number, Buffer>();
  for (const name of readdirSync(dir)) {
    const pid = Number(/^core-(\d+)\.img$/.exec(name)?.[1]);
    const core = pid > 0 ? readOr(`${dir}/${name}`) : undefined;
    if (core) cores.set(pid, core);
  }
  const children = childrenIn(pstree ?? new Uint8Array());
  for (const [pid, core] of cores) {
    const child = children.get(pid)?.find((c) => isAlive(cores.get(c)));
    const called = mendCall(core);
    const told = child === undefined ? undefined : mendStops(called ?? core, child);
    const mended = told ?? called;
    if (mended) writeFileSync(`${dir}/core-${pid}.img`, mended);
  }
}

function readOr(path: string): Buffer | undefined {
  try {
    return readFileSync(path);
  } catch {
    return undefined;
  }
}

const errorLinesMax = 5;
/** What it calls an error and goes on without, on machines that lack CAP_SYS_RESOURCE. */
const harmless = /rlimit: Can't setup RLIMIT_NOFILE/;
function errorsOf(logPath: string, stderr: string): string {
  const lines = (readOr(logPath)?.toString() ?? '')
    .split('\n')
    .filter((line) => /Error/.test(line) && !harmless.test(line));
  return lines.slice(0, errorLinesMax).join(' | ') || stderr.trim() || 'criu ended without a word';
}

/** criu's drop rules for established TCP stay when it leaves the tree stopped. [criu: netfilter.c] */
async function dropRules(nftPath: string): Promise<Reply<undefined, 'EIO'>> {
  const listed = await runProgram(nftPath, ['list', 'tables']);
  if (listed.code !== 0) return fail('EIO', listed.err.trim() || 'nft does not work');
  for (const [, family = '', table = ''] of listed.out.matchAll(/^table (\S+) (CRIU-\S+)/gm)) {
    const dropped = await runProgram(nftPath, ['delete', 'table', family, table]);
    if (dropped.code !== 0) return fail('EIO', dropped.err.trim());
  }
  return ok();
}
