// Relations between processes over nodes, on a real cluster: a program that is replaced from another node
// keeps its number and its streams; a parent that stays waits for its child, wherever that ends.
import { connect, type Ssi } from '@ssi/client';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { value } from '../harness/busy.ts';
import { canRunNative, startCluster, type TestCluster } from '../harness/cluster.ts';
import { type Collected, collect } from '../harness/collected.ts';
import { waitUntil } from '../harness/wait-until.ts';

const env = { PATH: '/usr/bin:/bin' };

describe.skipIf(!canRunNative)('end to end: relations', () => {
  let cluster: TestCluster;
  let ssi: Ssi;
  beforeAll(async () => {
    cluster = await startCluster();
    ssi = value(await connect({ cluster: cluster.name }));
  }, 60_000);
  afterAll(async () => {
    await ssi?.close();
    await cluster?.stop();
  });

  /** A program on node 1. */
  const start = async (argv: readonly string[], cwd = '/'): Promise<Collected> =>
    collect(ssi, value(await ssi.run({ argv: [...argv], env, cwd, node: 1 })).pid);
  const bash = (script: string): string[] => ['/bin/bash', '-c', script];

  test('rexec: same pid, other node, same streams; what the old program had not read goes to the new one', {
    timeout: 60_000,
  }, async () => {
    const old = await start(bash('echo old $$ $(pwd); exec sleep 1000'), '/usr');
    await old.shows('old ');
    value(await old.attachment.write(Buffer.from('not read by the old one\n')));
    const script =
      'read line; echo "new $$ $(pwd) $WHO: $line"; read line; echo "then $line"; exit 7';
    expect(value(await ssi.rexec(old.pid, 2, bash(script), { ...env, WHO: 'me' }))).toEqual({
      pid: old.pid,
      node: 2,
    });
    expect(value(await ssi.where(old.pid))).toMatchObject({ node: 2, hop: 1, phase: 'live' });
    await old.shows(`new ${old.pid} /usr me: not read by the old one\n`);
    value(await old.attachment.write(Buffer.from('more\n')));
    expect(await old.ended).toMatchObject({ code: 7 });
    expect(old.output()).toBe(
      `old ${old.pid} /usr\nnew ${old.pid} /usr me: not read by the old one\nthen more\n`,
    );
    expect(value(await ssi.wait(old.pid))).toMatchObject({ code: 7, signal: null });
  });

  test('rexec: a program that cannot be started: its errno, and the old one runs on', {
    timeout: 60_000,
  }, async () => {
    const old = await start(bash('read line; echo "still $line"'));
    const missing = await ssi.rexec(old.pid, 3, ['/no/such/program'], env);
    expect(missing).toMatchObject({ ok: false, errno: 'ENOENT' });
    const data = await ssi.rexec(old.pid, 3, ['/etc/passwd'], env);
    expect(data).toMatchObject({ ok: false, errno: 'EACCES' });
    expect(value(await ssi.where(old.pid))).toMatchObject({ node: 1, hop: 0 });
    value(await old.attachment.write(Buffer.from('here\n')));
    expect(await old.ended).toMatchObject({ code: 0 });
    expect(old.output()).toBe('still here\n');
  });

  test('rexec: ssi rexec replaces a program that moved, and it moves on', {
    timeout: 60_000,
  }, async () => {
    const old = await start(bash('echo up; exec sleep 1000'));
    await old.shows('up');
    value(await ssi.migrate(old.pid, 3));
    const next = bash('echo again; read line; echo "$line"');
    const result = await cluster.ssi('rexec', String(old.pid), '2', '--', ...next);
    expect(result).toMatchObject({ code: 0, stderr: '' });
    await old.shows('again');
    value(await ssi.migrate(old.pid, 1));
    value(await old.attachment.write(Buffer.from('home\n')));
    expect(await old.ended).toMatchObject({ code: 0 });
    expect(old.output()).toBe('up\nagain\nhome\n');
  });

  /** Its parent may say so before it has let go of the parent's streams. */
  const childOf = async ({ output }: Collected) => {
    const said = () => Number(/child (\d+)\n/.exec(output())?.[1]) || undefined;
    const child = await waitUntil('the child', said, 15_000);
    const movable = async () => value(await ssi.whyNot(child, { to: 2 })).movable;
    await waitUntil(`${child} can move`, movable, 15_000);
    return child;
  };

  /** A bash on node 1 that starts a child with no streams of its own, and waits for it. */
  async function family(child: string) {
    const script = `bash -c '${child}' </dev/null >/dev/null 2>&1 & echo "child $!"; read go; wait $!; echo "waited $?"`;
    const parent = await start(bash(script));
    const childPid = await childOf(parent);
    /** The parent goes on to its wait, and what that returned. */
    const waited = async () => {
      value(await parent.attachment.write(Buffer.from('\n')));
      await parent.ended;
      return /waited (\d+)/.exec(parent.output())?.[1];
    };
    return { pid: parent.pid, child: childPid, waited };
  }
  const nodeOf = async (pid: number) => value(await ssi.where(pid)).node;

  test('a child moves, its parent stays: it exits 42 where it went on to: wait(2) of its parent gives 42', {
    timeout: 90_000,
  }, async () => {
    const { pid, child, waited } = await family(
      'trap "exit 42" USR1; while :; do sleep 0.05; done',
    );
    expect(value(await ssi.migrate(child, 2))).toMatchObject({ from: 1, to: 2 });
    expect(value(await ssi.migrate(child, 3))).toMatchObject({ from: 2, to: 3 });
    const rows = value(await ssi.ps()).processes.filter((p) => p.pid === child || p.pid === pid);
    expect(rows.map((p) => [p.pid, p.node, p.sid]).sort()).toEqual([
      [pid, 1, pid],
      [child, 3, pid],
    ]);
    expect(await ssi.migrate(child, 1)).toMatchObject({ ok: false, errno: 'EOPNOTSUPP' });
    value(await ssi.kill(child, 10));
    expect(await waited()).toBe('42');
  });

  test("a child moves, its parent stays: one of another user, in the parent's group: it is signalled there, and ends as told", {
    timeout: 60_000,
  }, async () => {
    const script = `bash -c 'trap "exit 9" HUP; while :; do sleep 0.05; done' </dev/null >/dev/null 2>&1 & echo "child $!"; read go; kill -HUP $!; wait $!; exit $?`;
    const asNobody = ['/usr/bin/setpriv', '--reuid=65534', '--regid=65534', '--clear-groups'];
    const parent = await start([...asNobody, ...bash(script)]);
    value(await ssi.migrate(await childOf(parent), 2));
    value(await parent.attachment.write(Buffer.from('\n')));
    expect(await parent.ended).toMatchObject({ code: 9 });
  });

  test('a child moves, its parent stays: SIGSEGV elsewhere: 139 at the parent', {
    timeout: 60_000,
  }, async () => {
    const { child, waited } = await family('while :; do sleep 0.05; done');
    value(await ssi.migrate(child, 2));
    value(await ssi.kill(child, 11));
    expect(await waited()).toBe('139');
  });

  test("a child moves, its parent stays: the parent's own kill(2) reaches it, also after vproc was killed", {
    timeout: 90_000,
  }, async () => {
    const kid = 'trap "exit 5" TERM; while :; do sleep 0.05; done';
    const script = `bash -c '${kid}' </dev/null >/dev/null 2>&1 & echo "child $!"; read go; kill $!; wait $!; exit $?`;
    const parent = await start(bash(script));
    value(await ssi.migrate(await childOf(parent), 2));
    process.kill(cluster.servicePid(1, 'vproc'), 'SIGKILL');
    value(await parent.attachment.write(Buffer.from('\n')));
    expect(await parent.ended).toMatchObject({ code: 5 });
  });

  test('a child moves, its parent stays: its node dies: the parent sees SIGKILL', {
    timeout: 90_000,
  }, async () => {
    const { child, waited } = await family('while :; do sleep 0.05; done');
    value(await ssi.migrate(child, 3));
    expect(await nodeOf(child)).toBe(3);
    const killed = await cluster.ssi('node', 'kill', '3');
    expect(killed.code, killed.stderr).toBe(0);
    expect(await waited()).toBe('137');
  });
});
