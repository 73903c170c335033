// What moves and what does not, program by program: each is moved there and on while it uses one feature
// of the kernel, and says itself whether that went on as before. The table in the README is printed here.
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { connect, type Ssi } from '@ssi/client';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { program, value } from '../harness/busy.ts';
import { canRunNative, startCluster, type TestCluster } from '../harness/cluster.ts';
import { endSession, listen } from '../harness/counting.ts';
import { waitUntil } from '../harness/wait-until.ts';

const matrix = program('matrix.py');
const dir = mkdtempSync(join(tmpdir(), 'ssi-matrix-'));
const redisServer = fileURLToPath(new URL('../../.tools/bin/redis-server', import.meta.url));
const python = '/usr/bin/python3';
/** Ports count within a node: only programs of this test listen there. */
let port = 7_100;

interface Row {
  /** As in the table. */
  readonly what: string;
  readonly argv: readonly string[];
  readonly tty?: { rows: number; cols: number };
  /** From outside, on its node; the number of probes before this one. */
  readonly probe?: (before: number) => readonly string[];
  /** Says nothing itself: the probe alone decides. */
  readonly silent?: true;
  readonly privateIpc?: true;
  /** The processes that move are found by their command line. */
  readonly command?: RegExp;
  /** Refused with this for a moment now and then: asked again. */
  readonly retry?: RegExp;
  /** What must be installed. */
  readonly needs?: string;
}

const py = (name: string, argument = ''): string[] => [python, matrix, name, argument];
const probed = (name: string, kind: string, argument: string) => ({
  argv: py(name, argument),
  probe: () => [python, matrix, 'probe', kind, argument],
});
const bash = (script: string): string[] => ['/bin/bash', '-c', script];
const counting = 'i=0; while :; do echo "ok $i"; i=$((i + 1)); sleep 0.01; done';

const nodeProgram =
  'let n = 0; const fs = require("fs"); setInterval(() => fs.readFile("/etc/hostname", () => console.log("ok " + n++)), 10)';

const moving: readonly Row[] = [
  { what: 'a shell loop that starts programs', argv: bash(counting) },
  {
    what: 'a shell pipeline',
    argv: bash(`${counting} | while read -r line; do echo "$line"; done | cat`),
  },
  { what: 'python3 with 8 threads', argv: py('threads') },
  {
    what: 'perl',
    argv: [
      '/usr/bin/perl',
      '-e',
      '$|=1; for (my $i=0;;$i++) { print "ok $i\\n"; select undef,undef,undef,.01 }',
    ],
    needs: '/usr/bin/perl',
  },
  (() => {
    const own = port++;
    const quiet = ['--save', '', '--appendonly', 'no', '--dir', dir, '--bind', '127.0.0.1'];
    return {
      what: 'redis-server with data',
      argv: [redisServer, '--port', String(own), ...quiet],
      probe: (before: number) => [python, matrix, 'probe', 'redis', `${own},${before}`],
      silent: true,
      needs: redisServer,
    } satisfies Row;
  })(),
  { what: 'node 24, reading files', argv: [process.execPath, '-e', nodeProgram] },
  { what: 'TCP, listening', ...probed('tcp', 'tcp', String(port++)) },
  {
    what: 'TCP over loopback between processes that move together',
    argv: py('tcp_within', String(port++)),
  },
  { what: 'UDP', ...probed('udp', 'udp', String(port++)) },
  { what: 'a listening unix socket', ...probed('unix', 'unix', `${dir}/socket`) },
  { what: 'an epoll server, eventfd, a blocked signal', ...probed('epoll', 'tcp', String(port++)) },
  {
    what: 'tmux with a shell in it',
    argv: ['/usr/bin/tmux', '-S', `${dir}/tmux`, '-f', '/dev/null', 'new-session', '-d', counting],
    probe: () =>
      bash(`a=$(tmux -S ${dir}/tmux capture-pane -p | md5sum) || exit 1
      for _ in {1..200}; do
        sleep 0.02
        [ "$(tmux -S ${dir}/tmux capture-pane -p | md5sum)" != "$a" ] && exit 0
      done; exit 1`),
    silent: true,
    command: /tmux.*new-session/,
    needs: '/usr/bin/tmux',
  },
  { what: 'gcc in mid-compile', argv: py('compiles', `${dir}/unit`), needs: '/usr/bin/gcc' },
  {
    what: 'sqlite, between its transactions (in one it holds a lock: `ELOCK`)',
    argv: py('database', `${dir}/db`),
    retry: /ELOCK/,
  },
  {
    what: 'locks for reading: sqlite in WAL mode',
    argv: py('database_wal', `${dir}/wal`),
    retry: /ELOCK/,
  },
  {
    what: 'a program on a terminal (`ssi run -t`)',
    argv: py('terminal'),
    tty: { rows: 30, cols: 100 },
  },
  { what: 'a deleted open file (3 MB)', argv: py('deleted', `${dir}/deleted`) },
  {
    what: 'System V memory, semaphores and queues of its own (`ssi run --private-ipc`)',
    argv: py('sysv_own'),
    privateIpc: true,
  },
  { what: 'shared memory: anonymous, file, memfd', argv: py('shared', `${dir}/shared`) },
  { what: 'pipe and socket pair with data, a descriptor in flight', argv: py('pipes') },
  { what: 'a pipe open both ways by one descriptor (`exec 9<> <(:)`)', argv: py('both_ways') },
  {
    what: '`tail -f`, `sleep`: calls that wait are made again, none ends early',
    argv: bash(
      `echo > ${dir}/tail; tail -f ${dir}/tail & i=0; while :; do sleep 0.3; kill -0 $! || echo BAD; echo ok $i; i=$((i + 1)); done`,
    ),
  },
  { what: 'timerfd and interval timer, ticking', argv: py('timer') },
  { what: 'children: stopped, zombie, ending', argv: py('children') },
  {
    what: '`script`, which stops when the program it records stops',
    argv: ['/usr/bin/script', '-qfc', counting, '/dev/null'],
    needs: '/usr/bin/script',
  },
];

const staying: readonly {
  what: string;
  code: string;
  argv: readonly string[];
  pin?: true;
  ioUring?: true;
}[] = [
  {
    what: 'io_uring (`ssi run --io-uring`)',
    code: 'EIOURING',
    argv: py('io_uring'),
    ioUring: true,
  },
  {
    what: 'node 24 that was let open its io_uring',
    code: 'EIOURING',
    argv: [process.execPath, '-e', nodeProgram],
    ioUring: true,
  },
  { what: 'a held file lock: flock, fcntl', code: 'ELOCK', argv: py('locks', `${dir}/lock`) },
  { what: 'a FIFO by name', code: 'EEXTERNALFD', argv: py('fifo', `${dir}/fifo`) },
  { what: 'System V shared memory', code: 'ESYSVIPC', argv: py('sysv_memory') },
  { what: 'POSIX message queue', code: 'EPOSIXMQ', argv: py('posix_queue') },
  {
    what: 'TCP, connected to who stays',
    code: 'ETCPADDR',
    argv: py('tcp_connected', String(port++)),
  },
  { what: 'userfaultfd', code: 'EUSERFAULTFD', argv: py('userfaultfd') },
  { what: 'perf events', code: 'EPERFFD', argv: py('perf') },
  { what: 'a device', code: 'EDEVICE', argv: py('device') },
  { what: 'a process that is traced', code: 'EPTRACE', argv: py('traced') },
  {
    what: 'a pipe to a process that would stay',
    code: 'EEXTERNALFD',
    argv: py('parted', `${dir}/part`),
  },
  { what: 'started with `--pin`', code: 'EPINNED', argv: bash(counting), pin: true },
];

describe.skipIf(!canRunNative)('end to end: what moves', () => {
  let cluster: TestCluster;
  let ssi: Ssi;
  const moved: string[] = [];
  const stayed: string[] = [];
  beforeAll(async () => {
    cluster = await startCluster();
    ssi = value(await connect({ cluster: cluster.name }));
  }, 120_000);
  afterAll(async () => {
    await ssi?.close();
    await cluster?.stop();
    rmSync(dir, { recursive: true, force: true });
    console.log(
      [
        '| moves | frozen, ms |',
        '|---|---|',
        ...moved,
        '',
        '| does not move | code |',
        '|---|---|',
        ...stayed,
      ].join('\n'),
    );
  }, 60_000);

  const start = async (
    row: Pick<Row, 'argv' | 'tty' | 'privateIpc'> & { pin?: true; ioUring?: true },
  ): Promise<number> => {
    const { pid } = value(
      await ssi.run({
        argv: [...row.argv],
        env: { PATH: '/usr/bin:/bin', TERM: 'xterm', HOME: dir },
        cwd: '/',
        node: 1,
        ...(row.tty ? { tty: row.tty } : { noInput: true }),
        ...(row.pin ? { pin: true } : {}),
        ...(row.ioUring ? { ioUring: true } : {}),
        ...(row.privateIpc ? { privateIpc: true } : {}),
      }),
    );
    return pid;
  };
  const probe = async (row: Row, node: number, before: number): Promise<void> => {
    if (!row.probe) return;
    const argv = [...row.probe(before)];
    const look = value(
      await ssi.run({ argv, env: { PATH: '/usr/bin:/bin' }, cwd: '/', node, noInput: true }),
    );
    const status = value(await ssi.wait(look.pid, { timeoutMs: 20_000 }));
    expect(status, `${row.what}: ${argv.join(' ')} on node ${node}`).toMatchObject({ code: 0 });
  };

  for (const row of moving)
    test.skipIf(row.needs !== undefined && !existsSync(row.needs))(
      `${row.what} moves`,
      {
        timeout: 90_000,
      },
      async () => {
        const started = await start(row);
        const found = row.command
          ? await waitUntil(
              'the process',
              async () =>
                value(await ssi.ps()).processes.find(
                  (p) => row.command?.test(p.command) && p.pid !== started,
                )?.pid,
              15_000,
            )
          : started;
        const ear = row.silent ? undefined : listen(ssi, found);
        const describeIt = (): string => JSON.stringify(ear?.heard);
        const goesOn = async (): Promise<void> => {
          if (!ear) return;
          const at = ear.heard.last;
          const turn = () => ear.heard.bad.length > 0 || ear.heard.last >= at + 3;
          await waitUntil(`${row.what}: three more turns`, turn, 30_000, describeIt);
          expect(ear.heard.bad).toEqual([]);
        };
        const listens = row.argv[0] === redisServer || row.silent === true;
        if (listens)
          await waitUntil(
            'the server',
            async () => {
              const all = value(await ssi.ps()).processes;
              return all.some((p) => p.pid === found && p.state === 'sleeping');
            },
            15_000,
          );
        const freezes: number[] = [];
        await goesOn();
        await probe(row, 1, 0);
        for (const [i, node] of [2, 3].entries()) {
          const answer = await waitUntil(
            'the move',
            async () => {
              const reply = await ssi.migrate(found, node);
              return !reply.ok && row.retry?.test(reply.detail) ? undefined : value(reply);
            },
            30_000,
          );
          freezes.push(answer.freezeMs);
          expect(value(await ssi.where(found)).node).toBe(node);
          await goesOn();
          await probe(row, node, i + 1);
        }
        moved.push(`| ${row.what} | ${freezes.map((ms) => ms.toFixed(0)).join(', ')} |`);
        await ear?.close();
        await endSession(ssi, found);
      },
    );

  for (const row of staying)
    test(`${row.what}: ${row.code}`, { timeout: 60_000 }, async () => {
      const pid = await start(row);
      const ear = listen(ssi, pid);
      const runs = async (): Promise<void> => {
        const at = ear.heard.last;
        const turn = () => ear.heard.last > at || ear.heard.bad.length > 0;
        await waitUntil('it runs', turn, 15_000, () => JSON.stringify(ear.heard));
        expect(ear.heard.bad).toEqual([]);
      };
      await runs();
      const why = value(await ssi.whyNot(pid, { to: 2 }));
      expect(why.movable).toBe(false);
      expect(why.reasons.map((r) => r.code)).toContain(row.code);
      const refused = await ssi.migrate(pid, 2);
      expect(refused).toMatchObject({ ok: false, errno: 'EOPNOTSUPP' });
      expect(refused.ok ? '' : refused.detail).toContain(row.code);
      await runs();
      expect(value(await ssi.where(pid)).node).toBe(1);
      stayed.push(`| ${row.what} | \`${row.code}\` |`);
      await ear.close();
      await endSession(ssi, pid);
    });
});
