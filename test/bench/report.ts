// What a benchmark is and how its result is told: rows with a unit and, where there is one, a target.
// Figures that are compared are taken in one run, since two runs on a shared machine are not comparable.
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { cpus, release, totalmem } from 'node:os';
import { fileURLToPath } from 'node:url';
import { timing } from '@ssi/membership';

/** One figure. `target` is what it should be, in words; `met` whether it is. */
export interface Row {
  readonly name: string;
  readonly value: number;
  readonly unit: string;
  readonly target?: string;
  readonly met?: boolean;
  readonly note?: string;
}

/** One file of test/bench, `NAME.bench.ts`, which exports it as `bench`. */
export interface Bench {
  readonly name: string;
  readonly title: string;
  /** `quick`: a fraction of the rounds, to see that it works. */
  run(options: { quick: boolean; log(line: string): void }): Promise<Row[]>;
}

/** A whole run, as it is written to the JSON file. `failed` names the benchmarks that ended with an error. */
export interface Report {
  readonly atIso: string;
  readonly quick: boolean;
  readonly machine: Readonly<Record<string, string | number>>;
  readonly defaults: object;
  readonly benches: { name: string; title: string; seconds: number; rows: Row[] }[];
  readonly failed: { name: string; error: string }[];
}

const root = fileURLToPath(new URL('../..', import.meta.url));

/** The first line that a program says about itself; 'absent' where it is not there. */
function version(program: string, ...args: string[]): string {
  const own = `${root}.tools/bin/${program}`;
  try {
    const said = execFileSync(existsSync(own) ? own : program, args, { stdio: 'pipe' }).toString();
    return said.split('\n')[0]?.trim() ?? '';
  } catch {
    return 'absent';
  }
}

/** What figures depend on besides the project. */
export function machine(): Record<string, string | number> {
  const list = cpus();
  return {
    kernel: release(),
    cores: list.length,
    cpu: list[0]?.model.trim() ?? 'unknown',
    memoryMb: Math.round(totalmem() / 2 ** 20),
    node: process.version,
    natsServer: version('nats-server', '--version'),
    criu: version('criu', '--version'),
    redisServer: version('redis-server', '--version'),
  };
}

/** What is shipped, and what every figure was taken with. */
export const shippedDefaults = (): object => ({ membership: timing });

/** The value below which the part `q` (0..1) of the list lies; NaN of none. */
export const quantile = (list: readonly number[], q: number): number =>
  list.toSorted((a, b) => a - b)[Math.min(list.length - 1, Math.floor(list.length * q))] ??
  Number.NaN;

export const median = (list: readonly number[]): number => quantile(list, 0.5);

const shown = (v: number): string => {
  if (!Number.isFinite(v)) return String(v);
  if (Math.abs(v) >= 1_000) return Math.round(v).toLocaleString('en-US');
  return String(Number(v.toPrecision(3)));
};

/** Rows as aligned text. */
export function table(rows: readonly Row[]): string {
  const cells = rows.map((r) => [
    r.name,
    `${shown(r.value)} ${r.unit}`,
    r.target ?? '',
    r.met === undefined ? '' : r.met ? 'met' : 'MISSED',
    r.note ?? '',
  ]);
  const widths = [0, 1, 2, 3].map((i) => Math.max(0, ...cells.map((c) => c[i]?.length ?? 0)));
  return cells
    .map((c) => `  ${c.map((text, i) => text.padEnd(widths[i] ?? 0)).join('  ')}`.trimEnd())
    .join('\n');
}
