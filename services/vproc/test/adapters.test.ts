// The Linux adapters on real nodes: programs moved back and forth by criu, with every line accounted for.

import { fileURLToPath } from 'node:url';
import { crc32 } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { makeFolder, removeFolder, TestNode, whyNoNodes } from './native/node.ts';

const reason = whyNoNodes();
const busy = fileURLToPath(new URL('./native/programs/busy.py', import.meta.url));
const moves = 10;

async function until<T>(
  what: string,
  look: () => Promise<T | undefined>,
  withinMs = 15_000,
): Promise<T> {
  for (const end = performance.now() + withinMs; ; ) {
    const found = await look();
    if (found !== undefined) return found;
    if (performance.now() > end) throw new Error(`not within ${withinMs} ms: ${what}`);
    await new Promise((done) => setTimeout(done, 10));
  }
}

const moveId = (n: number): string => n.toString(16).padStart(32, '0');

async function output(node: TestNode, pid: number, name: string): Promise<string> {
  let text = '';
  for (let offset = 0; ; ) {
    const piece = await node.ask('read', { pid, name, offset, max: 2 ** 20 });
    if (piece.text === '') return text;
    expect(piece.offset).toBe(offset);
    text += piece.text;
    offset += Buffer.byteLength(piece.text);
  }
}

async function endOf(node: TestNode, pid: number, name: string): Promise<number> {
  const states = await node.ask('state', { pid });
  return states.find((state: { name: string }) => state.name === name).endOffset;
}

describe.skipIf(reason)(`adapters on two nodes${reason ? ` (${reason})` : ''}`, () => {
  let dir: string;
  let nodes: [TestNode, TestNode];

  beforeAll(async () => {
    dir = makeFolder();
    nodes = [await TestNode.start(dir, 1), await TestNode.start(dir, 2)];
  });
  afterAll(async () => {
    for (const node of nodes) await node.stop();
    removeFolder(dir);
  });

  /** Moves a program back and forth while `look` says that it goes on. */
  async function moveAround(
    pid: number,
    firstId: number,
  ): Promise<{ at: TestNode; freezes: number[] }> {
    const freezes: number[] = [];
    let [at, other] = nodes;
    for (let n = 0; n < moves; n++) {
      const before = await endOf(at, pid, 'out');
      await until('output before the move', async () =>
        (await endOf(at, pid, 'out')) > before ? true : undefined,
      );
      const moved = await at.ask('move', { pid, to: other.socket, moveId: moveId(firstId + n) });
      freezes.push(moved.freezeMs);
      expect(moved.tasks[0]).toBe(pid);
      [at, other] = [other, at];
    }
    return { at, freezes };
  }

  test('a bash counter moves ten times: same pid, no line lost or doubled', async () => {
    const script = 'i=0; while ((i < 100000)); do echo $i; ((++i % 50)) || sleep 0.005; done';
    const { pid } = await nodes[0].ask('run', { argv: ['bash', '-c', script] });
    expect(pid >> 16).toBe(1);
    const { at, freezes } = await moveAround(pid, 1);
    const lines = (await output(at, pid, 'out')).trimEnd().split('\n');
    expect(lines).toEqual(lines.map((_, i) => String(i)));
    expect((await at.ask('scan')).map((task: { pid: number }) => task.pid)).toContain(pid);
    await at.ask('signal', { pid, signal: 9 });
    console.log(`bash: ${freezes.map((ms) => ms.toFixed(0)).join(' ')} ms frozen`);
  }, 60_000);

  test('python with threads and a child, fed while it moves: every byte both ways, exit 7', async () => {
    const { pid } = await nodes[0].ask('run', { argv: ['python3', '-u', busy, '2000'] });
    let feeding = true;
    let fed = 0;
    let sent = 0;
    let at: TestNode = nodes[0];
    const feed = async (): Promise<void> => {
      while (feeding) {
        let text = '';
        for (let n = 0; n < 100; n++, sent++) text += `${sent} ${crc32(String(sent))}\n`;
        // Repeated at the same offset until some node has it: a client that was cut off does the same.
        for (let done = false; !done; ) {
          const reply = await at
            .ask('append', { pid, offset: fed, text })
            .catch((error: Error) => error.message);
          if (typeof reply === 'number') done = true;
          else {
            if (!/ENOENT|EAGAIN/.test(String(reply))) throw new Error(String(reply));
            at = at === nodes[0] ? nodes[1] : nodes[0];
            await new Promise((rest) => setTimeout(rest, 5));
          }
        }
        fed += text.length;
        await new Promise((rest) => setTimeout(rest, 20));
      }
    };
    const feeder = feed();
    const { at: last, freezes } = await moveAround(pid, 100);
    feeding = false;
    await feeder;
    await last.ask('endInput', { pid });
    await until('both streams at their end', async () => {
      const states = await last.ask('state', { pid });
      return states.slice(1).every((state: { eof: boolean }) => state.eof) ? true : undefined;
    });
    const errors = (await output(last, pid, 'err')).trimEnd().split('\n');
    expect(errors.filter((line) => line.startsWith('BAD'))).toEqual([]);
    expect(errors).toContain(`input ended at ${sent}`);
    const child = errors.filter((line) => line.startsWith('child '));
    expect(child).toEqual(child.map((_, i) => `child ${i}`));
    const lines = (await output(last, pid, 'out')).trimEnd().split('\n');
    const numbers = lines.slice(0, -1);
    expect(numbers).toEqual(numbers.map((_, i) => String(i)));
    expect(lines.at(-1)).toBe(`end ${numbers.length}`);
    const exit = await until('its exit', async () =>
      (await last.ask('exits')).findLast((record: { pid: number }) => record.pid === pid),
    );
    expect(exit.status).toMatchObject({ pid, code: 7, signal: null });
    console.log(
      `python: ${freezes.map((ms) => ms.toFixed(0)).join(' ')} ms frozen, ${sent} lines in`,
    );
  }, 90_000);
});
