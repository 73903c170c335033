// Compiles what every node starts, once: else each process of a first cluster does it at the same time, and
// writing it down keeps a membership from its heartbeats. Each program loads and, for want of a
// configuration, ends; Node writes its cache then. Run by the launcher and by the image's build.

import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { at, compileCache, ownNode, root } from './prepare.mjs';

const programs = [
  ['libs/cli/src/main.ts', 'container'],
  ...readdirSync(at('services')).map((name) => [`services/${name}/src/main.ts`]),
];
for (const program of programs)
  if (existsSync(at(program[0])))
    spawnSync(existsSync(ownNode) ? ownNode : process.execPath, program, {
      cwd: root,
      env: { NODE_COMPILE_CACHE: compileCache },
      stdio: 'ignore',
    });
