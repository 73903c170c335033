// Seeded chaos: kills, restarts, cuts, brokers that go and forget. Whatever happens, one view per
// transid and nothing runs that a view excludes; once all is healed, everybody is UP again.
import { seededRandom } from '@ssi/ports';
import { test } from 'vitest';
import { Cluster } from './cluster.ts';

const nodes = 4;
const seeds = Number(process.env.SSI_SEEDS ?? 25);
const first = Number(process.env.SSI_SEED ?? 1);

async function run(seed: number): Promise<void> {
  const random = seededRandom(seed);
  const cluster = new Cluster({ seed, loss: random.float() * 0.15, services: ['ics', 'vproc'] });
  const nums = Array.from({ length: nodes }, (_, i) => i + 1);
  for (const n of nums) await cluster.start(n);
  const script: string[] = [];
  for (let i = 0; i < 25; i++) {
    await cluster.clock.advance(100 + random.float() * 1_500);
    const num = 1 + Math.floor(random.float() * nodes);
    const other = 1 + Math.floor(random.float() * nodes);
    const { gate } = cluster.node(num);
    const what = Math.floor(random.float() * 12);
    script.push(`${cluster.clock.nowMs().toFixed(0)}: ${what} ${num} ${other}`);
    if (what <= 1 && !gate.dead) cluster.kill(num);
    else if (what <= 4 && gate.dead) await cluster.start(num);
    else if (what === 5 && !gate.dead) {
      cluster.killProcess(num);
      await cluster.clock.advance(random.float() * 400);
      await cluster.start(num, { process: true });
    } else if (what === 6)
      cluster.partition(
        [num],
        nums.filter((n) => n !== num),
      );
    else if (what === 7 && num !== other) cluster.cut.add(`${num}>${other}`);
    else if (what === 8) cluster.noBroker.add(num);
    else if (what === 9) cluster.bucket.reachable = false;
    else if (what === 10) cluster.heal();
    else if (what === 11 && random.float() < 0.5) cluster.bucket.forget();
  }
  cluster.heal();
  for (const n of nums) if (cluster.node(n).gate.dead) await cluster.start(n);
  const text = nums.map((n) => `${n}:UP`).join(' ');
  try {
    await cluster.until(
      () =>
        cluster.allTold(nums, text) &&
        nums.every(
          (n) => cluster.node(n).membership.lifeState() === 'UP' && !cluster.node(n).guard.frozen,
        ),
      40_000,
      'all UP and leased after healing',
    );
    if (cluster.faults.length > 0) throw new Error(cluster.faults.join('\n'));
  } catch (error) {
    throw new Error(`seed ${seed}\n${script.join('\n')}\n${String(error)}`);
  } finally {
    for (const n of cluster.nodes.values()) n.membership.stop();
  }
}

test(`CLMS: chaos: ${seeds} seeds from ${first}: views agree, the excluded stand still, all come back`, async () => {
  for (let seed = first; seed < first + seeds; seed++) await run(seed);
}, 120_000);
