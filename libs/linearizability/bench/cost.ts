// How long a check takes: 5 clients on one compare-and-set register, which is what a search likes least
// (every value comes back again and again). `node libs/linearizability/bench/cost.ts`
import {
  check,
  type HistoryEvent,
  type RegisterInput,
  type RegisterOutput,
  register,
} from '../src/index.ts';

type Event = HistoryEvent<RegisterInput<number>, RegisterOutput<number>>;

/** Mulberry32: the same histories in every run. */
function random(seed: number): (below: number) => number {
  let s = seed;
  return (below) => {
    s = (s + 0x6d2b79f5) | 0;
    let t = Math.imul(s ^ (s >>> 15), 1 | s);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) % below;
  };
}

function history(seed: number, calls: number, clients: number, lostPercent: number): Event[] {
  const pick = random(seed);
  const events: Event[] = [];
  const open = new Map<number, { input: RegisterInput<number>; output?: RegisterOutput<number> }>();
  let held = 0;
  let begun = 0;
  while (begun < calls || open.size > 0) {
    const client = pick(clients);
    const call = open.get(client);
    if (!call) {
      if (begun === calls) continue;
      begun += 1;
      const value = pick(5);
      const inputs = [
        { op: 'read' },
        { op: 'write', value },
        { op: 'cas', expected: pick(5), value },
      ];
      const input = inputs[pick(3)] as RegisterInput<number>;
      open.set(client, { input });
      events.push({ type: 'invoke', client, input });
    } else if (!call.output) {
      const { input } = call;
      const set = input.op === 'cas' && held === input.expected;
      call.output = input.op === 'read' ? { value: held } : input.op === 'cas' ? { set } : {};
      if (input.op === 'write' || (input.op === 'cas' && set)) held = input.value;
    } else {
      open.delete(client);
      if (pick(100) < lostPercent) events.push({ type: 'info', client });
      else events.push({ type: 'ok', client, output: call.output });
    }
  }
  return events;
}

/** The last read returns what nobody ever wrote. */
function spoilt(events: readonly Event[]): Event[] {
  const at = events.findLastIndex((e) => e.type === 'ok' && e.output.value !== undefined);
  return events.with(at, { ...(events[at] as Event & { type: 'ok' }), output: { value: 99 } });
}

const runs = 20;
function measure(name: string, make: (seed: number) => Event[]): void {
  const ms: number[] = [];
  let configurations = 0;
  const outcomes = new Set<string>();
  for (let seed = 1; seed <= runs; seed += 1) {
    const events = make(seed);
    const began = performance.now();
    const found = check(register(0), events);
    ms.push(performance.now() - began);
    outcomes.add(found.outcome);
    configurations = Math.max(configurations, found.configurations);
  }
  ms.sort((a, b) => a - b);
  const at = (part: number) => (ms[Math.floor(part * (runs - 1))] ?? 0).toFixed(1).padStart(8);
  const words = `${at(0.5)} ms p50 ${at(1)} ms max ${String(configurations).padStart(8)} configurations`;
  console.log(`${name.padEnd(46)}${words}  ${[...outcomes].join(', ')}`);
}

measure('warm-up', (seed) => history(seed, 300, 5, 0));
measure('1,000 calls, linearizable', (seed) => history(seed, 1_000, 5, 0));
measure('1,000 calls, the last read wrong', (seed) => spoilt(history(seed, 1_000, 5, 0)));
measure('1,000 calls, 1 % of unknown outcome', (seed) => history(seed, 1_000, 5, 1));
measure('1,000 calls, 1 % unknown, the last read wrong', (seed) =>
  spoilt(history(seed, 1_000, 5, 1)),
);
measure('10,000 calls, linearizable', (seed) => history(seed, 10_000, 5, 0));
