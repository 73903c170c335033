// Makes the bundles that programs.mjs chooses, and compiles what every node starts, once: else each process of
// a first cluster compiles at the same time, and writing that down keeps a membership from its heartbeats.
// Run at set-up and by the image's build.

import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { rolldown } from 'rolldown';
import { at, compileCache, root } from './prepare.mjs';
import { bundleOf, bundlesDir, writeInputs } from './programs.mjs';

const services = fs.readdirSync(at('services')).map((name) => `services/${name}/src/main.ts`);
const sources = ['libs/cli/src/main.ts', ...services.filter((file) => fs.existsSync(at(file)))];
const bundle = await rolldown({
  cwd: root,
  platform: 'node',
  input: Object.fromEntries(sources.map((file) => [bundleOf(file), at(file)])),
  external: ['koffi'], // native
  logLevel: 'warn',
  tsconfig: false, // its options are the checker's
  plugins: [
    {
      name: 'a source finds other files from where it was',
      transform: {
        filter: { id: /^\//, code: /\bimport\.meta\.url\b/ }, // not of the bundler's own
        handler(code, id) {
          const source = JSON.stringify(path.relative(bundlesDir, id));
          return code.replaceAll('import.meta.url', `new URL(${source}, import.meta.url).href`);
        },
      },
    },
  ],
});
const { output } = await bundle.write({ dir: bundlesDir, entryFileNames: '[name]' });
await bundle.close();
// Parts of former bundles: what still runs from them has long loaded them.
const dayAgo = Date.now() - 86_400_000;
const made = new Set(output.map((chunk) => chunk.fileName));
for (const file of fs.readdirSync(bundlesDir))
  if (!made.has(file) && fs.statSync(path.join(bundlesDir, file)).mtimeMs < dayAgo)
    fs.rmSync(path.join(bundlesDir, file));
const modules = new Set(output.flatMap((chunk) => chunk.moduleIds ?? []));
const files = [...modules].map((id) => path.relative(root, id));
writeInputs([
  'node_modules/.package-lock.json',
  ...files.filter((file) => /^(libs|services)\//.test(file)),
]);

// Each loads and, for want of a configuration, ends; Node writes its cache then.
for (const source of sources)
  spawnSync(process.execPath, [path.join(bundlesDir, bundleOf(source)), 'container'], {
    cwd: root,
    env: { NODE_COMPILE_CACHE: compileCache },
    stdio: 'ignore',
  });
