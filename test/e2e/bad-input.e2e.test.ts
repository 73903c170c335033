// What bad input gets on a real cluster: an errno, an exit code and what to do next; never a stack trace,
// never a process lost.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { program } from '../harness/busy.ts';
import { canRunNative, startCluster, type TestCluster, waitForStates } from '../harness/cluster.ts';
import { commandLine } from '../harness/command-line.ts';
import { insideNode } from '../harness/inside-node.ts';
import { expectRefused, type Refusal } from '../harness/refusal.ts';
import { waitUntil } from '../harness/wait-until.ts';

interface WhyNot {
  movable: boolean;
  reasons: { code: string; pid?: number; detail: string }[];
}

describe.skipIf(!canRunNative)('end to end: bad input', { timeout: 60_000 }, () => {
  let cluster: TestCluster;
  /** A program that every refusal must leave as it is. */
  let pid = 0;
  beforeAll(async () => {
    cluster = await startCluster();
    pid = await start('--', '/bin/sleep', '1000');
  }, 120_000);
  afterAll(async () => {
    await cluster?.stop();
  });
  const ssi = (...args: string[]) => commandLine(cluster, ...args);
  const json = async <T>(...args: string[]): Promise<T> => {
    const result = await ssi(...args);
    if (result.code !== 0) throw new Error(`ssi ${args.join(' ')}: ${result.stderr}`);
    return JSON.parse(result.stdout) as T;
  };
  const start = async (...args: string[]): Promise<number> =>
    (await json<{ pid: number }>('run', '--node', '1', '--detach', '--json', ...args)).pid;
  const nodeOf = async (of: number): Promise<number> =>
    Number((await ssi('where_pid', String(of))).stdout);
  const whyNot = (of: number, ...args: string[]) =>
    json<WhyNot>('why-not', String(of), '--json', ...args);

  const stranger = '65999';
  const esrch = { code: 1, errno: ['ESRCH'], hint: /ssi ps/ };
  const einval = { code: 1, errno: ['EINVAL'], hint: /UP are: 1 2 3|there are: 1 2 3|ssi nodes/ };
  const usage = (hint: RegExp): Refusal => ({ code: 2, hint });
  const refusals: readonly (readonly [words: string, want: Refusal])[] = [
    [`migrate ${stranger} 2`, esrch],
    [`kill -TERM ${stranger}`, esrch],
    [`logs ${stranger}`, esrch],
    [`where ${stranger}`, esrch],
    [`why-not ${stranger}`, esrch],
    [`wait ${stranger}`, { ...esrch, code: 125 }],
    [`attach ${stranger}`, { ...esrch, code: 125 }],
    ['migrate PID 9', einval],
    ['node kill 9', einval],
    ['node stop 9', einval],
    ['drain 9', einval],
    ['run --node 9 -- /bin/true', { ...einval, code: 125 }],
    ['onnode 9 /bin/true', { ...einval, code: 125 }],
    ['migrate PID 1', { code: 1, errno: ['EINVAL'], hint: /ESELF.*on node 1 already/ }],
    ['run --node 1 -- /no/such', { code: 127, errno: ['ENOENT'], hint: /on that node/ }],
    ['run --node 1 -- no-such', { code: 127, errno: ['ENOENT'], hint: /on that node/ }],
    ['run --node 1 -- /etc/passwd', { code: 126, errno: ['EACCES'], hint: /execut/ }],
    ['run --node 1 --cwd /no/such -- /bin/true', { code: 127, errno: ['ENOENT'], hint: /such/ }],
    ['run', usage(/ssi run --help/)],
    ['kill -NOSUCH PID', usage(/ssi kill -l/)],
    ['kill -99 PID', usage(/ssi kill -l/)],
    ['migrate 0 2', usage(/ssi migrate --help/)],
    ['migrate x 2', usage(/ssi migrate --help/)],
    ['migrate PID 2 3', usage(/ssi migrate --help/)],
    ['up --nodes 99', usage(/1 to 16/)],
    ['uo', usage(/ssi --help/)],
    ['trace 0123456789abcdef', { code: 1, errno: ['ENOENT'], hint: /ssi trace/ }],
    ['up --detach', { code: 1, errno: ['EEXIST'], hint: /ssi down/ }],
    ['node start 1', { code: 1, errno: ['EEXIST'], hint: /runs already/ }],
    ['--cluster no-such-one nodes', { code: 1, errno: ['ENOENT'], hint: /ssi up/ }],
  ];

  test('unknown nodes, pids, signals, programs, clusters: each is told what to do', async () => {
    const wrong: string[] = [];
    for (const [words, want] of refusals) {
      const args = words.split(' ').map((w) => (w === 'PID' ? String(pid) : w));
      const result = await ssi(...args);
      try {
        expectRefused(result, want);
      } catch {
        wrong.push(`ssi ${words}: exit ${result.code}: ${result.stderr}`);
      }
    }
    expect(wrong).toEqual([]);
    expect(await nodeOf(pid)).toBe(1);
  });

  test('a target without the binary, or with another one of the same name', async () => {
    // In node 2's mount namespace alone.
    const path = '/bin/sleep';
    insideNode(
      cluster,
      2,
      `mount -t tmpfs none /mnt && : > /mnt/empty && mount --bind /mnt/empty ${path}`,
    );
    const reasons = (await whyNot(pid, '--to', '2')).reasons;
    expect(reasons.map((r) => r.code)).toEqual(['ENOFILE']);
    expect(reasons[0]?.detail).toContain('sleep');
    expectRefused(await ssi('migrate', String(pid), '2'), {
      code: 1,
      errno: ['EOPNOTSUPP'],
      hint: /ENOFILE.*sleep.*ssi why-not/,
    });
    expect(await nodeOf(pid)).toBe(1);
    insideNode(cluster, 2, `umount ${path} && umount /mnt`);
    await json('migrate', String(pid), '2', '--json');
    await json('migrate', String(pid), '1', '--json');
  });

  const codes = [
    ...['EIOURING', 'EUSERFAULTFD', 'EPERFFD', 'EBPF', 'ELANDLOCK', 'ETCPADDR', 'ESYSVIPC'],
    ...['EPOSIXMQ', 'EDEVICE', 'EUSERNS', 'EPTRACE', 'EUNIXPEER', 'EEXTERNALFD', 'ETTY'],
  ];

  test('what cannot move: why-not and migrate give the same reason, and it runs on', async () => {
    const started = await Promise.all(
      codes.map(async (code) => ({
        code,
        pid: await start('--io-uring', '--', '/usr/bin/python3', program('awkward.py'), code),
      })),
    );
    const lacking: string[] = [];
    for (const { code, pid: one } of started) {
      const said = await waitUntil(
        `the program for ${code}`,
        async () => (await ssi('logs', String(one))).stdout,
        15_000,
      );
      const { movable, reasons } = await whyNot(one, '--to', '2');
      if (!said.startsWith('ready')) {
        lacking.push(code);
        expect(movable, `${code}: ${said} ${JSON.stringify(reasons)}`).toBe(true);
      } else {
        expect(movable, code).toBe(false);
        expect(reasons.map((r) => r.code)).toContain(code);
        expectRefused(await ssi('migrate', String(one), '2'), {
          code: 1,
          errno: ['EOPNOTSUPP'],
          hint: new RegExp(`${code}.*; see: ssi why-not`),
        });
      }
      expect(await nodeOf(one)).toBe(1);
    }
    console.log(`lacking on this machine: ${lacking.join(' ') || 'none'}`);
    const pinned = await start('--pin', '--', '/bin/sleep', '1000');
    expect((await whyNot(pinned)).reasons.map((r) => r.code)).toEqual(['EPINNED']);
    const all = [...started.map((s) => s.pid), pinned].map(String);
    const ps = await json<{ pid: number; state: string }[]>('ps', '--json');
    for (const one of all)
      expect(ps.find((p) => String(p.pid) === one)?.state).toMatch(/^(running|sleeping)$/);
    expect((await ssi('kill', '-KILL', ...all)).code).toBe(0);
  });

  test('a full image folder, there or here: ENOSPACE, and the process runs on with nothing left over', async () => {
    // The node's own tmpfs, by its mount and not by its path.
    const folder = "$(grep -m1 ' - tmpfs ssi-node ' /proc/self/mountinfo | cut -d' ' -f5)";
    const images = (num: number) =>
      insideNode(cluster, num, `find ${folder} -path "*/images/*" -o -path "*/moves/*"`);
    const before = [1, 2].map(images);
    for (const full of [2, 1]) {
      insideNode(
        cluster,
        full,
        `mount -o remount,size=$(($(df -k --output=used ${folder} | tail -1) + 64))k ${folder} && (dd if=/dev/zero of=${folder}/full bs=4k 2>&1 || true)`,
      );
      try {
        expect((await whyNot(pid, '--to', '2')).reasons.map((r) => r.code)).toEqual(['ENOSPACE']);
        expectRefused(await ssi('migrate', String(pid), '2'), {
          code: 1,
          errno: ['EOPNOTSUPP'],
          hint: new RegExp(`ENOSPACE: node ${full} .*ssi why-not`),
        });
        expect(await nodeOf(pid)).toBe(1);
      } finally {
        insideNode(cluster, full, `rm ${folder}/full && mount -o remount,size=50% ${folder}`);
      }
    }
    expect([1, 2].map(images)).toEqual(before);
    const ps = await json<{ pid: number; state: string }[]>('ps', '--json');
    expect(ps.find((p) => p.pid === pid)?.state).toMatch(/^(running|sleeping)$/);
    await json('migrate', String(pid), '2', '--json');
    await json('migrate', String(pid), '1', '--json');
  });

  test("a second machine with a living node's number, the master's too: EEXIST, and it goes", async () => {
    const before = await json<{ master: number; transid: number }>('view', '--json');
    const [slave = 0] = [1, 2, 3].filter((n) => n !== before.master);
    for (const [num, other] of [
      [before.master, slave],
      [slave, before.master],
    ] as const) {
      const host = cluster.file().nodes.find((n) => n.num === other);
      if (!host) throw new Error(`no node ${other}`);
      const home = mkdtempSync(`${tmpdir()}/ssi-namesake-`);
      const main = fileURLToPath(new URL('../../services/membership/src/main.ts', import.meta.url));
      const enter = ['-t', String(host.pid), '-n', process.execPath, main];
      const second = spawnSync('nsenter', enter, {
        encoding: 'utf8',
        timeout: 30_000,
        env: {
          ...process.env,
          SSI_CLUSTER: cluster.name,
          SSI_NODE: String(num),
          SSI_NATS: cluster.file().nats,
          // The bus lets nobody in who has not the node's own keys: a copied disk has them.
          SSI_CREDS_DIR: `/run/ssi/clusters/${cluster.name}/n${num}/creds`,
          SSI_NODE_DIR: home,
          SSI_STATE_DIR: home,
        },
      });
      rmSync(home, { recursive: true });
      expect(second.status, second.stderr).toBe(1);
      expect(second.stdout + second.stderr).toContain(`EEXIST: node number ${num} is in use`);
    }
    const after = await json<{ master: number; transid: number }>('view', '--json');
    expect(after).toEqual(before);
    expect(await nodeOf(pid)).toBe(1);
  });

  test('a dead target: EHOSTDOWN', async () => {
    expect((await ssi('node', 'kill', '3')).code).toBe(0);
    await waitForStates(cluster, { 3: 'DOWN' });
    const down = { errno: ['EHOSTDOWN'], hint: /UP are: 1 2|ssi nodes/ };
    expectRefused(await ssi('migrate', String(pid), '3'), { ...down, code: 1 });
    expectRefused(await ssi('run', '--node', '3', '--', '/bin/true'), {
      ...down,
      code: 125,
    });
    expect(await nodeOf(pid)).toBe(1);
    expect(existsSync(`/run/ssi/clusters/${cluster.name}`)).toBe(true);
  });
});
