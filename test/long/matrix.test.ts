// Programs of Debian as they come, each moved twenty times round three nodes while it works, and what it
// made looked at: the table in the README. Servers have a floating address and a busy client in a network
// namespace of its own, which no move may cost a connection.
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { connect, type Ssi } from '@ssi/client';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { program, value } from '../harness/busy.ts';
import { canRunNative, startCluster, type TestCluster } from '../harness/cluster.ts';
import { endSession, listen } from '../harness/counting.ts';
import { debianPrograms } from '../harness/debian-programs.ts';
import { percentile } from '../harness/moves.ts';
import { type Outsider, startOutsider } from '../harness/outsider.ts';
import { waitUntil } from '../harness/wait-until.ts';

const moves = 20;
const programs = debianPrograms(['nginx', 'wrk', 'redis-tools', 'sqlite3', 'tmux']);
const redisServer = fileURLToPath(new URL('../../.tools/bin/redis-server', import.meta.url));
const python = ['/usr/bin/python3', program('matrix.py')];
const bash = (script: string): string[] => ['/bin/bash', '-c', script];
const counting = 'i=0; while :; do echo "ok $i"; i=$((i + 1)); sleep 0.01; done';
const perl = '$|=1; for (my $i=0;;$i++) { print "ok $i\\n"; select undef,undef,undef,.01 }';

describe.skipIf(!canRunNative || !programs)('twenty moves of programs as they come', () => {
  const path = (name: string): string => programs?.path(name) ?? name;
  const env = { PATH: '/usr/bin:/bin', TERM: 'xterm', LD_LIBRARY_PATH: programs?.libraries ?? '' };
  const dir = mkdtempSync(join(tmpdir(), 'ssi-matrix20-'));
  const rows: string[] = [];
  let cluster: TestCluster;
  let ssi: Ssi;
  let outsider: Outsider;
  beforeAll(async () => {
    cluster = await startCluster();
    ssi = value(await connect({ cluster: cluster.name }));
    outsider = startOutsider(cluster);
  }, 120_000);
  afterAll(async () => {
    await ssi?.close();
    outsider?.stop();
    await cluster?.stop();
    rmSync(dir, { recursive: true, force: true });
    console.log(
      ['| program | moves | frozen, ms: p50, most |', '|---|---|---|', ...rows].join('\n'),
    );
  }, 60_000);

  const start = async (argv: readonly string[], addr?: string): Promise<number> => {
    const where = { cwd: '/', node: 1, noInput: true, ...(addr ? { addr } : {}) };
    return value(await ssi.run({ argv: [...argv], env, ...where })).pid;
  };
  /** Round the nodes; `goesOn` says after each that it works. Told in the table however it ends. */
  const moveRound = async (
    what: string,
    pid: number,
    goesOn: () => Promise<unknown>,
    retry?: RegExp,
  ): Promise<void> => {
    const froze: number[] = [];
    try {
      await goesOn();
      for (let i = 0; i < moves; i++) {
        const to = ((i + 1) % 3) + 1;
        const moved = await waitUntil(
          `move ${i} of ${what}`,
          async () => {
            const reply = await ssi.migrate(pid, to);
            return !reply.ok && retry?.test(reply.detail) ? undefined : value(reply);
          },
          30_000,
        );
        froze.push(moved.freezeMs);
        expect(value(await ssi.where(pid)).node).toBe(to);
        await goesOn();
      }
    } finally {
      const ms = [percentile(froze, 50), Math.max(...froze)].map((n) => n.toFixed(0)).join(', ');
      rows.push(`| ${what} | ${froze.length} of ${moves} | ${ms} |`);
    }
  };

  const saying: readonly {
    what: string;
    argv: () => string[];
    retry?: RegExp;
    turns?: number;
    check?: () => void;
  }[] = [
    {
      what: 'bash pipeline',
      argv: () => bash(`${counting} | while read -r line; do echo "$line"; done | cat`),
    },
    { what: 'python3 with 8 threads', argv: () => [...python, 'threads'] },
    { what: 'perl', argv: () => [path('perl'), '-e', perl] },
    {
      what: 'sqlite3, a transaction for each row',
      argv: () =>
        bash(`{ echo 'create table t (n integer primary key, square integer);'
            for ((n = 0; ; n++)); do
              echo "insert into t values ($n, $n * $n); select 'ok ' || max(n) from t having count(*) = $n + 1;"
              sleep 0.01
            done; } | ${path('sqlite3')} ${dir}/db`),
      retry: /ELOCK/,
      check: () => {
        const asked = spawnSync(path('sqlite3'), [`${dir}/db`, 'pragma integrity_check'], { env });
        expect(String(asked.stdout).trim()).toBe('ok');
      },
    },
    {
      what: 'gcc, a build over and over',
      argv: () => [...python, 'compiles', `${dir}/unit`],
      turns: 1,
    },
  ];
  for (const row of saying)
    test(`${row.what}: each line once, in order`, { timeout: 200_000 }, async () => {
      const pid = await start(row.argv());
      const { heard, close } = listen(ssi, pid);
      const goesOn = async (): Promise<void> => {
        const at = heard.last;
        const turn = () => heard.bad.length > 0 || heard.last >= at + (row.turns ?? 2);
        await waitUntil(`more turns of ${row.what}`, turn, 60_000, () => JSON.stringify(heard));
        expect(heard.bad).toEqual([]);
      };
      await moveRound(row.what, pid, goesOn, row.retry);
      await endSession(ssi, pid);
      await close();
      expect(heard.bad).toEqual([]);
      row.check?.();
    });

  test('tmux: what is in it goes on', { timeout: 120_000 }, async () => {
    const tmux = `${path('tmux')} -S ${dir}/tmux -f /dev/null`;
    const shell = `i=0; while :; do echo "$i" > ${dir}/count; i=$((i + 1)); sleep 0.01; done`;
    const started = await start(bash(`exec ${tmux} new-session -d '${shell}'`));
    value(await ssi.wait(started, { timeoutMs: 15_000 })); // what it started is a daemon by then
    const server = await waitUntil(
      'the server of tmux',
      async () =>
        value(await ssi.ps()).processes.find(
          (p) => /tmux.*new-session/.test(p.command) && p.pid !== started,
        )?.pid,
      15_000,
      cluster.describe,
    );
    const count = (): number => Number(spawnSync('cat', [`${dir}/count`]).stdout);
    await moveRound('tmux with a shell in it', server, () => {
      const at = count();
      return waitUntil('it counts on', () => count() > at, 20_000);
    });
    const panes = await start(bash(`${tmux} list-panes | grep -q active`));
    expect(value(await ssi.wait(panes))).toMatchObject({ code: 0 });
    await endSession(ssi, server);
  });

  /** What `argv`, a client elsewhere, said when it was interrupted. */
  const client = (argv: readonly string[]) => {
    const child = outsider.spawn(['env', `LD_LIBRARY_PATH=${env.LD_LIBRARY_PATH}`, ...argv]);
    let said = '';
    for (const stream of [child.stdout, child.stderr])
      stream?.on('data', (bytes) => {
        said += bytes;
      });
    const ended = new Promise<number | null>((done) => child.once('exit', (code) => done(code)));
    return {
      hasEnded: () => child.exitCode !== null,
      said: () => said,
      stop: async (): Promise<string> => {
        child.kill('SIGINT');
        await ended;
        return said;
      },
    };
  };
  test('redis-server under redis-benchmark: no connection is lost, and no write', {
    timeout: 150_000,
  }, async () => {
    const address = outsider.other(110);
    const open = ['--protected-mode', 'no', '--port', '7500'];
    const quiet = ['--save', '', '--appendonly', 'no', '--dir', dir, ...open];
    const pid = await start([redisServer, '--bind', address, ...quiet], address);
    const cli = async (...args: string[]): Promise<string> => {
      const one = client([path('redis-cli'), '-h', address, '-p', '7500', ...args]);
      await waitUntil('redis-cli', one.hasEnded, 15_000);
      return one.said().trim();
    };
    await waitUntil('the server', async () => (await cli('set', 'mark', 'here')) === 'OK', 15_000);
    const load = ['-c', '20', '-n', '100000000', '-t', 'incr', '-q'];
    const bench = client([path('redis-benchmark'), '-h', address, '-p', '7500', ...load]);
    const counter = async (): Promise<number> => Number(await cli('get', 'counter:__rand_int__'));
    let last = 0;
    await moveRound('redis-server under redis-benchmark', pid, () =>
      waitUntil(
        'more is counted',
        async () => {
          const now = await counter();
          const grew = now > last;
          expect(now).toBeGreaterThanOrEqual(last);
          last = now;
          return grew;
        },
        20_000,
        () => bench.said().slice(-300),
      ),
    );
    expect(bench.hasEnded(), bench.said().slice(-300)).toBe(false);
    expect(await bench.stop()).not.toMatch(/error|reset|closed|refused/i);
    expect(await cli('get', 'mark')).toBe('here');
    await endSession(ssi, pid);
  });

  test('nginx under wrk: no connection is lost, every answer is 200', {
    timeout: 150_000,
  }, async () => {
    const address = outsider.other(111);
    mkdirSync(`${dir}/nginx`, { recursive: true });
    const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'];
    writeFileSync(
      `${dir}/nginx.conf`,
      `user root; daemon off; worker_processes 2; pid ${dir}/nginx/pid; error_log ${dir}/nginx/error.log;
      events { worker_connections 256; }
      http {
        access_log off; keepalive_requests 1000000000;
        ${temporary.map((name) => `${name}_temp_path ${dir}/nginx/${name};`).join('\n')}
        server { listen ${address}:7501; location / { return 200 "as it was\\n"; } }
      }`,
    );
    const server = [path('nginx'), '-p', `${dir}/nginx`, '-c', `${dir}/nginx.conf`];
    const pid = await start([...server, '-e', `${dir}/nginx/error.log`], address);
    const url = `http://${address}:7501/`;
    const get = async (): Promise<boolean> => {
      const script = `import urllib.request as u; print(u.urlopen("${url}", timeout=5).read().decode())`;
      const one = client(['/usr/bin/python3', '-c', script]);
      await waitUntil('an answer', one.hasEnded, 15_000);
      return one.said().trim() === 'as it was';
    };
    await waitUntil('the server', get, 15_000, cluster.describe);
    // An answer that a move holds up is late on a busy machine, and none is lost.
    const load = ['-t', '1', '-c', '10', '-d', '600s', '--timeout', '60s'];
    const wrk = client([path('wrk'), ...load, url]);
    await moveRound('nginx under wrk', pid, async () => expect(await get()).toBe(true));
    expect(wrk.hasEnded(), wrk.said()).toBe(false);
    const summary = await wrk.stop();
    expect(summary).not.toMatch(/Socket errors|Non-2xx/);
    expect(Number(/(\d+) requests in/.exec(summary)?.[1])).toBeGreaterThan(1_000);
    await endSession(ssi, pid);
  });
});
