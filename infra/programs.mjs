// Which file a program is started from: one of JavaScript made at set-up from all of its sources and packages
// (infra/bundle.mjs), which loads in half the time, or, where a source has changed since, the source itself.

import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..');
export const bundlesDir = path.join(root, '.tools/programs');
const inputsFile = path.join(bundlesDir, 'inputs.json');

/** Whole seconds: an image keeps no finer ones. */
function stateOf(file) {
  try {
    const { mtimeMs, size } = fs.statSync(path.join(root, file));
    return `${Math.floor(mtimeMs / 1000)} ${size}`;
  } catch {
    return 'gone';
  }
}

/** To be written once the bundles are: `files` are their sources, relative to the repository. */
export function writeInputs(files) {
  const inputs = Object.fromEntries(files.map((file) => [file, stateOf(file)]));
  fs.writeFileSync(`${inputsFile}.tmp`, JSON.stringify(inputs));
  fs.renameSync(`${inputsFile}.tmp`, inputsFile);
}

/** There are bundles, and every source is as it was when they were made. */
export function bundlesFresh() {
  try {
    const inputs = JSON.parse(fs.readFileSync(inputsFile, 'utf8'));
    return Object.entries(inputs).every(([file, state]) => stateOf(file) === state);
  } catch {
    return false;
  }
}

/** services/vproc/src/main.ts: vproc.js. All in one folder. */
export const bundleOf = (source) => `${/\/(.*)\/src\/main\.ts$/.exec(source)?.[1]}.js`;

/** Path of the file to run for a program's source, e.g. services/vproc/src/main.ts. */
export function program(source) {
  const bundle = path.join(bundlesDir, bundleOf(source));
  return fs.existsSync(bundle) && bundlesFresh() ? bundle : path.resolve(root, source);
}
