// What the launcher needs before a program can start, and how it gets there: npm packages by the
// lockfile, and infra/setup. Also run by itself, under a lock: node infra/prepare.mjs [--no-setup]

import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { bundlesFresh } from './programs.mjs';

const self = fileURLToPath(import.meta.url);
export const root = path.resolve(path.dirname(self), '..');
export const at = (...names) => path.join(root, ...names);
/** Node 24 as one of the packages. */
export const ownNode = at(`node_modules/node-linux-${process.arch}/bin/node`);
export const compileCache = at('.tools/compile-cache');
/** infra/setup's exit code when something is missing that it may not or cannot get. */
export const EXIT_INCOMPLETE = 3;
const EXIT_BUSY = 199; // our word from flock: another launch holds the lock

const say = (text) => fs.writeSync(2, `setup: ${text}\n`);
export function stop(text, code = 1) {
  say(text);
  process.exit(code);
}
function sha256(...parts) {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part);
  return hash.digest('hex');
}
/** A file's text, '' when it cannot be read. */
function textOf(file) {
  try {
    return fs.readFileSync(file, 'utf8').trim();
  } catch {
    return '';
  }
}

// ---- npm packages
const lockSum = () => sha256(fs.readFileSync(at('package-lock.json')));
const packagesFresh = () => textOf(at('node_modules/.ssi-lock')) === lockSum();
/** npm writes this file last: without it node_modules is absent, or half an installation. */
const packagesThere = () => fs.existsSync(at('node_modules/.package-lock.json'));

/** What npm says it installed, against the lockfile: packages installed by hand are not replaced. */
function installedByHand() {
  if (!packagesThere()) return false;
  const packagesOf = (file) => JSON.parse(textOf(at(file))).packages;
  const there = packagesOf('node_modules/.package-lock.json');
  return Object.entries(packagesOf('package-lock.json')).every(([name, wanted]) => {
    if (!name.startsWith('node_modules/')) return true; // a workspace
    if (!there[name]) return wanted.optional === true; // for another platform
    return there[name].version === wanted.version && fs.existsSync(at(name));
  });
}

function installPackages() {
  if (!installedByHand()) {
    say('installing npm packages by the lockfile ...');
    // No package here needs its install script: native code comes as prebuilt packages.
    const quiet = ['--no-audit', '--no-fund', '--no-update-notifier', '--loglevel=error'];
    const args = ['ci', '--ignore-scripts', ...quiet];
    const cli = process.env.npm_execpath?.endsWith('npm-cli.js') && process.env.npm_execpath;
    const [command, first] = cli ? [process.execPath, [cli]] : ['npm', []];
    const npm = spawnSync(command, [...first, ...args], { cwd: root, stdio: ['ignore', 2, 2] });
    if (npm.error) stop(`npm is needed to install packages: ${npm.error.message}`);
    if (npm.status !== 0) stop('npm ci failed (its message is above); try the same command again');
  }
  fs.writeFileSync(at('node_modules/.ssi-lock'), lockSum());
}

// ---- infra/setup. Its stamp holds what its own digest() computes: keep the two alike.
function toolsFresh() {
  const tools = ['criu', 'nats-server', 'redis-server', 'nft', 'ip'];
  const sources = fs.readdirSync(at('infra/native')).filter((name) => /\.[ch]$/.test(name));
  const files = ['setup', 'criu-works', ...sources.sort().map((name) => `native/${name}`)];
  const machine = os.machine?.() ?? spawnSync('uname', ['-m'], { encoding: 'utf8' }).stdout?.trim();
  const kernel = `${os.release()} ${machine}\n`;
  return (
    textOf(at('.tools/stamp')) ===
      sha256(...files.map((name) => fs.readFileSync(at('infra', name))), kernel) &&
    tools.every((name) => fs.existsSync(at('.tools/bin', name)))
  );
}

/** Nothing to do. With noSetup only npm packages count, and any will do. */
export function ready(noSetup) {
  if (noSetup) return packagesThere();
  return packagesFresh() && toolsEnough() && (bundlesFresh() || !writable());
}
const toolsEnough = () => process.env.SSI_EMBEDDED === '1' || toolsFresh();
/** False: another user's folder, in which nothing can be installed. */
function writable() {
  try {
    fs.mkdirSync(at('.tools'), { recursive: true });
    fs.accessSync(at('.tools'), fs.constants.W_OK);
    return true;
  } catch {
    return false;
  }
}

/** Does what is missing: 0, or EXIT_INCOMPLETE. Every other failure ends the process. */
function prepare(noSetup) {
  if (noSetup ? !packagesThere() : !packagesFresh()) installPackages();
  if (noSetup) return 0;
  const isWhole = toolsEnough() || installTools();
  if (!bundlesFresh() && writable()) {
    say('bundling the programs ...');
    const node = fs.existsSync(ownNode) ? ownNode : process.execPath;
    const bundled = spawnSync(node, [at('infra/bundle.mjs')], { stdio: ['ignore', 2, 2] });
    if (bundled.status !== 0) say('not bundled: they start from their sources, more slowly');
  }
  return isWhole ? 0 : EXIT_INCOMPLETE;
}

/** False: not all that is missing could be had. */
function installTools() {
  const setup = spawnSync(at('infra/setup'), [], { stdio: ['ignore', 2, 2] });
  if (setup.error) say(`infra/setup cannot run on this system: ${setup.error.message}`);
  else if (setup.status !== EXIT_INCOMPLETE && setup.status !== 0)
    stop('infra/setup failed; try the same command again');
  return setup.status === 0;
}

/** prepare() under a kernel lock: a launch that is killed gives it up once npm and apt have ended. */
export function prepareLocked(noSetup) {
  if (!writable()) return prepare(noSetup); // nothing to lock
  const lock = at('.tools/launch.lock');
  const again = [lock, process.execPath, self, ...(noSetup ? ['--no-setup'] : [])];
  let run = spawnSync('flock', ['-n', '-E', `${EXIT_BUSY}`, ...again], { stdio: 'inherit' });
  if (run.error) return prepare(noSetup); // a system without flock
  if (run.status === EXIT_BUSY) {
    say(`another launch (pid ${textOf(lock)}) is setting up: waiting for it`);
    run = spawnSync('flock', again, { stdio: 'inherit' });
  }
  if (run.status !== 0 && run.status !== EXIT_INCOMPLETE) process.exit(run.status ?? 1);
  return run.status;
}

if (process.argv[1] === self) {
  fs.writeFileSync(at('.tools/launch.lock'), `${process.pid}\n`);
  process.exit(prepare(process.argv[2] === '--no-setup'));
}
