// Relations between processes over nodes, on a real cluster: a program that is replaced from another node
// keeps its number and its streams.
import { connect, type Ssi } from '@ssi/client';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { value } from '../harness/busy.ts';
import { canRunNative, startCluster, type TestCluster } from '../harness/cluster.ts';
import { waitUntil } from '../harness/wait-until.ts';

const env = { PATH: '/usr/bin:/bin' };

describe.skipIf(!canRunNative)('end to end: rexec', () => {
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

  /** A program whose output is collected as it comes. */
  async function start(script: string) {
    const argv = ['/bin/bash', '-c', script];
    const { pid } = value(await ssi.run({ argv, env, cwd: '/usr', node: 1 }));
    const attachment = ssi.attach(pid, { input: true });
    let output = '';
    const ended = (async () => {
      for await (const event of attachment.events()) {
        if (event.type === 'data') output += Buffer.from(event.bytes).toString();
        if (event.type === 'exit') return event.status;
      }
      throw new Error('the streams ended without a status');
    })();
    ended.catch(() => {});
    const shows = (text: string) =>
      waitUntil(
        `"${text}"`,
        () => output.includes(text),
        20_000,
        () => JSON.stringify(output),
      );
    return { pid, attachment, ended, shows, output: () => output };
  }

  test('same pid, other node, same streams; what the old program had not read goes to the new one', {
    timeout: 60_000,
  }, async () => {
    const old = await start('echo old $$ $(pwd); exec sleep 1000');
    await old.shows('old ');
    value(await old.attachment.write(Buffer.from('not read by the old one\n')));
    const script =
      'read line; echo "new $$ $(pwd) $WHO: $line"; read line; echo "then $line"; exit 7';
    const argv = ['/bin/bash', '-c', script];
    expect(value(await ssi.rexec(old.pid, 2, argv, { ...env, WHO: 'me' }))).toEqual({
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

  test('a program that cannot be started: its errno, and the old one runs on', {
    timeout: 60_000,
  }, async () => {
    const old = await start('read line; echo "still $line"');
    const missing = await ssi.rexec(old.pid, 3, ['/no/such/program'], env);
    expect(missing).toMatchObject({ ok: false, errno: 'ENOENT' });
    const data = await ssi.rexec(old.pid, 3, ['/etc/passwd'], env);
    expect(data).toMatchObject({ ok: false, errno: 'EACCES' });
    expect(value(await ssi.where(old.pid))).toMatchObject({ node: 1, hop: 0 });
    value(await old.attachment.write(Buffer.from('here\n')));
    expect(await old.ended).toMatchObject({ code: 0 });
    expect(old.output()).toBe('still here\n');
  });

  test('ssi rexec replaces a program that moved, and it moves on', {
    timeout: 60_000,
  }, async () => {
    const old = await start('echo up; exec sleep 1000');
    await old.shows('up');
    value(await ssi.migrate(old.pid, 3));
    const next = ['/bin/bash', '-c', 'echo again; read line; echo "$line"'];
    const result = await cluster.ssi('rexec', String(old.pid), '2', '--', ...next);
    expect(result).toMatchObject({ code: 0, stderr: '' });
    await old.shows('again');
    value(await ssi.migrate(old.pid, 1));
    value(await old.attachment.write(Buffer.from('home\n')));
    expect(await old.ended).toMatchObject({ code: 0 });
    expect(old.output()).toBe('up\nagain\nhome\n');
  });
});
