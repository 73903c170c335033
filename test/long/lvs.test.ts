// One address for three real nodes: programs join it by listening, its director and its servers lose their power.
// Clients are on a machine of their own, in a network namespace on the cluster's bridge.
import { createHash } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { program } from '../harness/busy.ts';
import { canRunNative, startCluster, type TestCluster, waitForStates } from '../harness/cluster.ts';
import { commandLine } from '../harness/command-line.ts';
import { type Outsider, startOutsider } from '../harness/outsider.ts';
import { waitUntil } from '../harness/wait-until.ts';

const python = '/usr/bin/python3';
const [bytes, seconds, downloads] = [2_000_000, 8, 50];

/** What slow-download.py serves. */
function sumOfBody(): string {
  const parts: Buffer[] = [];
  for (let at = 0; at < bytes; at += 32) parts.push(createHash('sha256').update(`${at}`).digest());
  return createHash('sha256').update(Buffer.concat(parts).subarray(0, bytes)).digest('hex');
}

describe.skipIf(!canRunNative)('end to end: one address', { timeout: 90_000 }, () => {
  let cluster: TestCluster;
  let client: Outsider;
  let address: string;

  beforeAll(async () => {
    cluster = await startCluster();
    client = startOutsider(cluster, 220);
    address = client.other(200);
    await ssi('lvs', 'address', address);
    await ssi('lvs', 'port', '8000-8100', '--weight', '2');
  }, 120_000);
  afterAll(async () => {
    client?.stop();
    await cluster?.stop();
  }, 60_000);

  async function ssi(...args: string[]): Promise<string> {
    const said = await commandLine(cluster, ...args);
    expect(said.code, said.stderr).toBe(0);
    return said.stdout.trim();
  }
  async function says(argv: string[]): Promise<string> {
    const child = client.spawn([python, ...argv]);
    let text = '';
    child.stdout?.on('data', (part: Buffer) => {
      text += part.toString();
    });
    await new Promise((done) => child.once('close', done));
    return text.trim();
  }
  const answers = (port: number): Promise<string> =>
    waitUntil(
      `${address}:${port} answers`,
      async () => {
        const word = await says([program('address-client.py'), 'get', address, `${port}`]);
        return word === 'no' ? undefined : word;
      },
      30_000,
      cluster.describe,
    );
  type Table = {
    node: number;
    pools: { id: { port: number }; servers: { node: number; address: string }[] }[];
  };
  const table = async (): Promise<Table> => JSON.parse(await ssi('lvs', 'ls', '--json')) as Table;
  const serversOf = (port: number, wanted: number[]): Promise<number[]> =>
    waitUntil(
      `servers of ${port}: ${wanted}`,
      async () => {
        const pool = (await table()).pools.find((p) => p.id.port === port);
        const nums = (pool?.servers ?? []).map((s) => s.node).sort();
        return `${nums}` === `${wanted}` ? nums : undefined;
      },
      20_000,
      cluster.describe,
    );

  test('python3 -m http.server joins by listening, goes along when it moves, and leaves', async () => {
    const pid = await ssi('run', '--node', '3', '--detach', '--', python, '-m', 'http.server');
    expect(await answers(8000)).toBe('HTTP/1.0');
    await serversOf(8000, [3]);
    await ssi('migrate', pid, '1');
    await serversOf(8000, [1]);
    expect(await answers(8000)).toBe('HTTP/1.0');
    const list = await ssi('ipvsadm', '-L', '-n');
    expect(list).toContain(`TCP  ${address}:8000 sh (sh-port,sh-fallback)`);
    expect(list).toMatch(/:8000 +Route +2 /);
    await ssi('kill', pid);
    await serversOf(8000, []);
  });

  test('bad input is told, and nothing is changed', async () => {
    const before = await ssi('lvs', 'save', '--json');
    const refused = async (...args: string[]): Promise<string> => {
      const said = await commandLine(cluster, ...args);
      expect(said.code).not.toBe(0);
      return said.stderr;
    };
    expect(await refused('lvs', 'address', client.address)).toContain('EADDRINUSE');
    expect(await refused('lvs', 'address', '10.250.0.1')).toContain('EADDRNOTAVAIL');
    expect(await refused('lvs', 'port', '8050-8060')).toContain('EBUSY');
    expect(await refused('lvs', 'add', '-t', `${address}:81`, '-s', 'best')).toContain(
      'no scheduler best: there are rr wrr',
    );
    expect(await ssi('lvs', 'save', '--json')).toBe(before);
  });

  test(`the director loses its power: the address answers again, ${downloads} downloads finish`, async () => {
    const { node: director } = await table();
    const others = [1, 2, 3].filter((n) => n !== director);
    const argv = [python, program('slow-download.py'), '8001', `${bytes}`, `${seconds}`];
    for (const n of others) await ssi('run', '--node', `${n}`, '--detach', '--', ...argv);
    await serversOf(8001, others);
    const load = client.spawn([
      ...[python, program('address-client.py'), 'load', address, '8001', `${downloads}`],
    ]);
    let text = '';
    load.stdout?.on('data', (part: Buffer) => {
      text += part.toString();
    });
    const ended = new Promise((done) => load.once('close', done));
    await waitUntil(
      'begun',
      () => text.includes('begun'),
      20_000,
      () => text,
    );
    await ssi('node', 'kill', `${director}`);
    await ended;
    const told = JSON.parse(text.split('\n')[1] ?? '') as {
      sums: Record<string, number>;
      errors: Record<string, number>;
      gapMs: number;
    };
    process.stdout.write(`director killed: ${JSON.stringify(told)}\n`);
    const seen = Object.keys(told.errors).length === 0 ? '' : await cluster.describe();
    expect(told.errors, seen).toEqual({});
    expect(told.sums).toEqual({ [sumOfBody()]: downloads });
    // A second is the aim (README); here other work may be beside it.
    expect(told.gapMs).toBeLessThan(3_000);
    expect((await table()).node).not.toBe(director);
    // Its server's power next: what is left of the three has no majority, so the first comes back before.
    await ssi('node', 'start', `${director}`);
    await waitForStates(cluster, { 1: 'UP', 2: 'UP', 3: 'UP' });
    const now = await table();
    const victim = others.find((n) => n !== now.node) ?? 0;
    await ssi('node', 'kill', `${victim}`);
    await serversOf(
      8001,
      others.filter((n) => n !== victim),
    );
    for (let i = 0; i < 10; i++) expect(await answers(8001)).not.toBe('no');
  });
});
