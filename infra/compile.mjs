// Compiles what every node starts, once: else each process of a first cluster does it at the same time, and
// writing it down keeps a membership from its heartbeats. Each program loads and, for want of a
// configuration, ends; Node writes its cache then. Run by the launcher and by the image's build.

import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const own = `${root}node_modules/node-linux-${process.arch}/bin/node`;
const programs = [
  ['libs/cli/src/main.ts', 'container'],
  ...readdirSync(`${root}services`).map((name) => [`services/${name}/src/main.ts`]),
];
for (const program of programs)
  if (existsSync(root + program[0]))
    spawnSync(existsSync(own) ? own : process.execPath, program, {
      cwd: root,
      env: { NODE_COMPILE_CACHE: `${root}.tools/compile-cache` },
      stdio: 'ignore',
    });
