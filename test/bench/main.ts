// npm run bench -- [NAME...] [--quick] [--json FILE]: runs the benchmarks of this folder (all, or the named
// ones) one after the other, prints a table of each, and writes all of it as JSON. Ends with 1 when one
// of them failed to run; a missed target is a result and not a failure.
import { readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { type Bench, machine, type Report, shippedDefaults, table } from './report.ts';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { quick: { type: 'boolean' }, json: { type: 'string' } },
});
const folder = fileURLToPath(new URL('.', import.meta.url));
const suffix = '.bench.ts';
const known = readdirSync(folder)
  .filter((f) => f.endsWith(suffix))
  .map((f) => f.slice(0, -suffix.length))
  .sort();
const unknown = positionals.filter((name) => !known.includes(name));
if (unknown.length > 0) {
  console.error(`no benchmark ${unknown.join(', ')}; there are: ${known.join(', ')}`);
  process.exit(2);
}

const quick = values.quick ?? false;
const report: Report = {
  atIso: new Date().toISOString(),
  quick,
  machine: machine(),
  defaults: shippedDefaults(),
  benches: [],
  failed: [],
};
console.log(
  Object.entries({ ...report.machine })
    .map(([k, v]) => `${k}: ${v}`)
    .join('\n'),
);
console.log(`shipped defaults: ${JSON.stringify(report.defaults)}`);

for (const name of positionals.length > 0 ? positionals : known) {
  const began = performance.now();
  try {
    const { bench }: { bench: Bench } = await import(`./${name}${suffix}`);
    console.log(`\n${bench.name}: ${bench.title}`);
    const rows = await bench.run({ quick, log: (line) => console.log(`  ${line}`) });
    const seconds = Math.round((performance.now() - began) / 100) / 10;
    report.benches.push({ name, title: bench.title, seconds, rows });
    console.log(`${table(rows)}\n  took ${seconds} s`);
  } catch (error) {
    report.failed.push({ name, error: error instanceof Error ? error.message : String(error) });
    console.error(`\n${name} failed:`, error);
  }
}

const file = values.json ?? join(folder, '../../bench.json');
writeFileSync(file, `${JSON.stringify(report, undefined, 2)}\n`);
const rows = report.benches.flatMap((b) => b.rows).filter((r) => r.met !== undefined);
const met = rows.filter((r) => r.met).length;
console.log(`\n${met} of ${rows.length} targets met; ${report.failed.length} failed; ${file}`);
// What a benchmark left open must not keep this from ending.
process.exit(report.failed.length > 0 ? 1 : 0);
