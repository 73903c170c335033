#!/usr/bin/env node
// The `ssi` command: libs/cli/src/main.ts under the project's own Node, by the launcher.
// Commands that make nodes of this machine set up first what is missing; the others need nothing of it, so
// they start without looking.

import { fileURLToPath } from 'node:url';

const makesNodes = new Set(['up', 'demo', 'join']);
const [node = '', , ...args] = process.argv;
const words = args.includes('--') ? args.slice(0, args.indexOf('--')) : args;
const launcher = new URL('../../../infra/launch.mjs', import.meta.url);
const flags =
  words.some((word) => makesNodes.has(word)) && !words.includes('--embedded') ? [] : ['--no-setup'];
process.argv = [node, fileURLToPath(launcher), ...flags, 'libs/cli/src/main.ts', ...args];
await import(launcher.href);
