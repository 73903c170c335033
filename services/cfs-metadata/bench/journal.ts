// node infra/launch.mjs --no-setup services/cfs-metadata/bench/journal.ts [COUNT]: a mutation in our own log and
// tree beside the same in SQLite (Node's, WAL), both surviving a crash of the process only, and both on disk
// for every 64; how long a start takes. In turns, medians of 3. Why the log is our own: README, Decisions.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import type { CfsMutation } from '@ssi/contracts';
import { fileJournal, Store } from '../src/index.ts';

const count = Number(process.argv[2] ?? 20_000);
const batch = 64;
const folder = mkdtempSync(join(tmpdir(), 'ssi-cfs-bench-'));
const make = (i: number): CfsMutation => ({
  ...{ op: 'make', at: [i, 0], uid: 0, gid: 0, parent: 1, name: `file-${i}`, mode: 0o100600 },
});
const perSecond = (work: (i: number) => void, n = count): number => {
  const from = performance.now();
  for (let i = 0; i < n; i++) work(i);
  return Math.round((n * 1_000) / (performance.now() - from));
};
const openStore = (at: string): Store => {
  const opened = Store.open(fileJournal(at), 'bench', [0, 0]);
  if (!opened.ok) throw new Error(opened.detail);
  return opened.value.store;
};

function ownLog(at: string, syncEach: number): number {
  const store = openStore(at);
  return perSecond((i) => {
    store.execute({ client: 'c', id: i + 1, acknowledged: i }, make(i));
    if (i % syncEach === syncEach - 1) store.sync();
  });
}

/** The same effects as rows: inode, name, the directory's times, the answer. */
function sqlite(at: string, syncEach: number): number {
  const db = new DatabaseSync(at);
  db.exec(`PRAGMA journal_mode=WAL; PRAGMA synchronous=${syncEach < count ? 'FULL' : 'OFF'};
    CREATE TABLE inode (ino INTEGER PRIMARY KEY, mode INT, uid INT, gid INT, nlink INT, size INT, mtime INT);
    CREATE TABLE name (parent INT, name TEXT, ino INT, PRIMARY KEY (parent, name)) WITHOUT ROWID;
    CREATE TABLE reply (client TEXT, id INT, reply TEXT, PRIMARY KEY (client, id)) WITHOUT ROWID;
    INSERT INTO inode VALUES (1, 0, 0, 0, 2, 0, 0);`);
  const inode = db.prepare('INSERT INTO inode VALUES (?, 33152, 0, 0, 1, 0, ?)');
  const name = db.prepare('INSERT INTO name VALUES (1, ?, ?)');
  const parent = db.prepare('UPDATE inode SET mtime = ? WHERE ino = 1');
  const reply = db.prepare('INSERT INTO reply VALUES (?, ?, ?)');
  const forget = db.prepare('DELETE FROM reply WHERE client = ? AND id <= ?');
  const together = syncEach < count ? syncEach : 1;
  const rate = perSecond((i) => {
    if (i % together === 0) db.exec('BEGIN');
    inode.run(i + 2, i);
    name.run(`file-${i}`, i + 2);
    parent.run(i);
    forget.run('c', i);
    reply.run('c', i + 1, String(i + 2));
    if (i % together === together - 1 || i === count - 1) db.exec('COMMIT');
  });
  db.close();
  return rate;
}

const median = (list: number[]): number => list.sort((a, b) => a - b)[1] ?? Number.NaN;
const rates = { own: [], sqlite: [], ownSynced: [], sqliteSynced: [] } as Record<string, number[]>;
try {
  for (let round = 0; round < 3; round++) {
    rates.own?.push(ownLog(join(folder, `own${round}`), Number.POSITIVE_INFINITY));
    rates.sqlite?.push(sqlite(join(folder, `sqlite${round}`), Number.POSITIVE_INFINITY));
    rates.ownSynced?.push(ownLog(join(folder, `own-s${round}`), batch));
    rates.sqliteSynced?.push(sqlite(join(folder, `sqlite-s${round}`), batch));
  }
  for (const [what, list] of Object.entries(rates))
    console.log(`${what}: ${median(list)} mutations/s`);
  const from = performance.now();
  const store = openStore(join(folder, 'own0'));
  const replayed = performance.now();
  store.checkpoint();
  const written = performance.now();
  openStore(join(folder, 'own0'));
  const [a, b, c] = [replayed - from, written - replayed, performance.now() - written].map(
    Math.round,
  );
  console.log(`${count} files: replayed in ${a} ms, snapshot written in ${b} ms, read in ${c} ms`);
} finally {
  rmSync(folder, { recursive: true });
}
