// Where `npm start`, `npm test`, `npm run X` and `ssi` begin: sets up what is missing, then becomes the
// given program under the project's own Node. Plain JavaScript for Node 18 and later, no dependencies.
//
//   node infra/launch.mjs [--no-setup] SCRIPT ARGS...    SCRIPT is relative to the repository
//
// Where infra/setup cannot do everything (no root, not Linux) it says what is missing, and the program
// runs all the same with SSI_EMBEDDED=1. --no-setup: only npm packages, and only when there are none.

import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { EXIT_INCOMPLETE, ownNode, prepareLocked, ready, stop } from './prepare.mjs';
import { program } from './programs.mjs';

function projectNode() {
  if (process.platform === 'linux' && existsSync(ownNode)) return ownNode;
  if (Number.parseInt(process.versions.node, 10) >= 24) return process.execPath;
  const where = `${process.platform} ${process.arch}`;
  return stop(`no Node 24 for ${where} comes with the project: install it and start again with it`);
}

/**
 * Makes this process the given program: the same pid, so that signals, the terminal and the exit
 * status need no go-between. Returns only where that is not possible.
 */
function become(file, args) {
  try {
    process.removeAllListeners('warning'); // Node still calls execve experimental
    if (process.execve) process.execve(file, [file, ...args], process.env);
    // Node before 22.15: by the C library. Node has marked its standard streams close-on-exec.
    const libc = createRequire(import.meta.url)('koffi').load('libc.so.6');
    const fcntl = libc.func('int fcntl(int, int, int)');
    for (const fd of [0, 1, 2]) fcntl(fd, 2 /* F_SETFD */, 0);
    libc.func('int execv(const char *, const char **)')(file, [file, ...args, null]);
  } catch {
    // no execve on this platform
  }
}

/** A child that gets our signals and whose end is ours. A Ctrl-C reaches it from the terminal. */
function runAsChild(file, args) {
  const child = spawn(file, args, { stdio: 'inherit' });
  for (const signal of ['SIGTERM', 'SIGHUP', 'SIGINT']) {
    process.on(signal, () => {
      if (signal !== 'SIGINT' || !process.stdin.isTTY) child.kill(signal);
    });
  }
  child.on('error', (error) => stop(`cannot run ${file}: ${error.message}`));
  child.on('exit', (code, signal) => {
    if (!signal) process.exit(code ?? 1);
    process.removeAllListeners(signal);
    process.kill(process.pid, signal);
  });
}

const noSetup = process.argv[2] === '--no-setup';
const [script, ...args] = process.argv.slice(noSetup ? 3 : 2);
if (script === undefined) stop('usage: node infra/launch.mjs [--no-setup] SCRIPT ARGS...', 2);
if (!ready(noSetup) && prepareLocked(noSetup) === EXIT_INCOMPLETE) process.env.SSI_EMBEDDED = '1';
const node = projectNode();
const command = [program(script), ...args];
become(node, command);
runAsChild(node, command);
