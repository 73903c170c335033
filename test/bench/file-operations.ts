// file-operations.ts COUNT: what a program gets in the directory that it is started in, operations a second
// and MB/s, as JSON on standard output. Started for each file system that is compared.
import * as fs from 'node:fs';

const count = Number(process.argv[2]);
const mb = 64;
const small = 4096;

const perSecond = (n: number, work: (i: number) => void): number => {
  const from = performance.now();
  for (let i = 0; i < n; i++) work(i);
  return (n * 1_000) / (performance.now() - from);
};

const name = (i: number): string => `f${i}`;
const create = perSecond(count, (i) => fs.closeSync(fs.openSync(name(i), 'wx')));
const list = perSecond(20, () => fs.readdirSync('.')) * count;
const stat = perSecond(count, (i) => fs.statSync(name(i)));
const openClose = perSecond(count, (i) => fs.closeSync(fs.openSync(name(i), 'r')));
const unlink = perSecond(count, (i) => fs.unlinkSync(name(i)));

const block = Buffer.alloc(2 ** 20, 1);
const fd = fs.openSync('large', 'w+');
const write = perSecond(mb, () => fs.writeSync(fd, block));
const read = perSecond(mb, (i) => fs.readSync(fd, block, 0, block.length, i * 2 ** 20));
const random = perSecond(count, (i) =>
  fs.readSync(fd, block, 0, small, ((i * 7919) % (mb * 256)) * small),
);
fs.closeSync(fd);
fs.unlinkSync('large');
console.log(JSON.stringify({ create, list, stat, openClose, unlink, write, read, random }));
