// Three membership processes on a real broker: the adapters, main.ts, the process that stands by.
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { clms, type View } from '@ssi/contracts';
import { createEndpoint, type Endpoint } from '@ssi/ics';
import { systemClock, systemRandom } from '@ssi/linux';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type NatsServer, startNatsServer } from '../../../libs/ports/test/nats-server.ts';

const main = fileURLToPath(new URL('../src/main.ts', import.meta.url));
const nums = [1, 2, 3];
const cluster = `t${systemRandom().hex(4)}`;
/** The first one has the turn; another one waits for it. */
const children = new Map<number, ChildProcess>();
let nats: NatsServer;
let dir: string;
let client: Endpoint;

function start(num: number): ChildProcess {
  return spawn(process.execPath, [main], {
    stdio: 'ignore',
    env: {
      PATH: process.env.PATH ?? '',
      SSI_CLUSTER: cluster,
      SSI_NODE: String(num),
      SSI_NATS: nats.url,
      SSI_NODE_DIR: join(dir, `n${num}`, 'tmpfs'),
      SSI_STATE_DIR: join(dir, `n${num}`, 'disk'),
      SSI_ADDRESSES: '127.0.0.1',
      SSI_SERVICES: 'membership',
    },
  });
}

/** Every membership process of this test's node, the waiting ones too: found by their environment. */
function pidsOf(num: number): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => {
      try {
        const env = readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0');
        return env.includes(`SSI_CLUSTER=${cluster}`) && env.includes(`SSI_NODE=${num}`);
      } catch {
        return false;
      }
    })
    .map(Number);
}

/** Ends of the abstract socket that is the turn: the active one's, and one for each that waits. [unix(7)] */
const endsOf = (num: number): number =>
  readFileSync('/proc/net/unix', 'utf8')
    .split('\n')
    .filter((line) => line.endsWith(`@ssi-membership-${cluster}-${num}`)).length;
async function ends(num: number, count: number): Promise<void> {
  for (const endMs = performance.now() + 30_000; endsOf(num) < count; ) {
    if (performance.now() > endMs) throw new Error(`node ${num} has ${endsOf(num)} ends`);
    await new Promise((done) => setTimeout(done, 50));
  }
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // Gone already.
  }
}

interface Told {
  readonly view: View;
  readonly leased: boolean;
}
async function ask(num: number): Promise<Told | undefined> {
  const reply = await client.ics.call(clms, 'members', num, {}, { timeoutMs: 300 });
  return reply.ok ? reply.value : undefined;
}
const text = (t: Told | undefined): string =>
  t
    ? `${t.view.members.map((m) => `${m.num}:${m.state}`).join(' ')}${t.leased ? ' leased' : ''}`
    : '';

async function until(
  of: readonly number[],
  what: (t: Told | undefined) => boolean,
  maxMs: number,
): Promise<Told> {
  const endMs = performance.now() + maxMs;
  for (;;) {
    const told = await Promise.all(of.map(ask));
    const [first] = told;
    if (first && told.every(what)) return first;
    if (performance.now() > endMs)
      throw new Error(`not within ${maxMs} ms: ${told.map(text).join(' | ')}`);
    await new Promise((done) => setTimeout(done, 20));
  }
}
const allUp = (t: Told | undefined): boolean => text(t) === '1:UP 2:UP 3:UP leased';
const lifeOf = (t: Told, num: number) => t.view.members.find((m) => m.num === num)?.incarnation;

beforeAll(async () => {
  nats = await startNatsServer();
  dir = mkdtempSync(join(tmpdir(), 'ssi-membership-'));
  for (const num of nums) children.set(num, start(num));
  await Promise.all(nums.map((num) => ends(num, 1)));
  for (const num of nums) start(num);
  const opened = await createEndpoint({
    cluster,
    node: 0,
    service: 'test',
    clock: systemClock(),
    random: systemRandom(),
    nats: nats.url,
  });
  if (!opened.ok) throw new Error(opened.detail);
  client = opened.value;
});
afterAll(async () => {
  for (const num of nums) for (const pid of pidsOf(num)) kill(pid);
  await client?.close();
  await nats?.stop();
  rmSync(dir, { recursive: true, force: true });
});

// A machine that gives the second process no CPU for V is one whose node is rightly declared down: once
// in three tries the machine must have kept up.
const underLoad = { retry: 2, timeout: 120_000 };

test(
  'CLMS: processes: three form a cluster; kill -9 of each keeps its life; a broker of 5 s ago is no matter',
  underLoad,
  async () => {
    const up = await until(nums, allUp, 30_000);
    for (const num of nums) {
      await ends(num, 2);
      const child = children.get(num);
      if (child?.pid !== undefined) kill(child.pid);
      await new Promise((done) => setTimeout(done, 1_500));
      const after = await until(nums, allUp, 20_000);
      expect(lifeOf(after, num)).toEqual(lifeOf(up, num));
    }

    const before = await until(nums, allUp, 20_000);
    await nats.kill();
    await new Promise((done) => setTimeout(done, 5_000));
    await nats.start();
    const after = await until(nums, allUp, 30_000);
    for (const num of nums) expect(lifeOf(after, num)).toEqual(lifeOf(before, num));
  },
);

test(
  'CLMS: processes: a node whose processes are all killed is out, and comes back as its next life',
  underLoad,
  async () => {
    const before = await until(nums, allUp, 30_000);
    const num = nums.find((n) => n !== before.view.master) ?? 0;
    const rest = nums.filter((n) => n !== num);
    for (const pid of pidsOf(num)) kill(pid);
    await until(rest, (t) => t !== undefined && !text(t).includes(`${num}:UP`), 20_000);
    rmSync(join(dir, `n${num}`, 'tmpfs'), { recursive: true, force: true });
    start(num);
    const after = await until(nums, allUp, 30_000);
    expect(lifeOf(after, num)?.bootCount).toBe((lifeOf(before, num)?.bootCount ?? 0) + 1);
  },
);
