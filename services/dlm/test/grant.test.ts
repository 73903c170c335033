// The rules of the three queues, value blocks and tokens, each by the sentence it comes from.
import { type LockFlag, type LockMode, lockModes } from '@ssi/contracts';
import { describe, expect, test } from 'vitest';
import {
  type Ast,
  bitsOf,
  cancel,
  compatible,
  convert,
  grantPending,
  type Lock,
  locksIn,
  newLock,
  newResource,
  purge,
  request,
  unlock,
  valueDirection,
} from '../src/index.ts';

/** A resource whose locks are told apart by letters; what their owners are told, as words. */
class Table {
  readonly r = newResource('r', { transid: 7, first: 100, last: 1_000_000 });
  readonly locks = new Map<string, Lock>();
  readonly values = new Map<string, string>();
  #names = new Map<Lock, string>();

  #run(step: (asts: Ast[]) => { ok: boolean; errno?: string }): string[] {
    const asts: Ast[] = [];
    const reply = step(asts);
    if (!reply.ok) return [reply.errno ?? ''];
    return asts.map((ast) => {
      const name = this.#names.get(ast.lock) ?? '?';
      if (ast.type === 'blocking') return `${name} blocks ${ast.mode}`;
      if (ast.type === 'refused') return `${name} ${ast.errno}`;
      if (ast.value) this.values.set(name, Buffer.from(ast.value).toString().replaceAll('\0', ''));
      const more = `${ast.altMode ? ' alt' : ''}${ast.demoted ? ' demoted' : ''}`;
      return `${name} ${ast.lock.granted}${more}${ast.valueInvalid ? ' notvalid' : ''}`;
    });
  }

  lock(name: string): Lock {
    const known = this.locks.get(name);
    if (known) return known;
    const lock = newLock(this.locks.size + 1, true);
    this.locks.set(name, lock);
    this.#names.set(lock, name);
    return lock;
  }
  request(name: string, mode: LockMode, ...flags: LockFlag[]) {
    return this.#run((asts) =>
      request(this.r, this.lock(name), { mode, flags: bitsOf(flags) }, asts),
    );
  }
  convert(name: string, mode: LockMode, flags: LockFlag[] = [], value?: string) {
    const ask = { mode, flags: bitsOf(flags), value: value ? Buffer.from(value) : undefined };
    return this.#run((asts) => convert(this.r, this.lock(name), ask, asts));
  }
  unlock(name: string, flags: LockFlag[] = [], value?: string, force = false) {
    const giving = { flags: bitsOf(flags), value: value ? Buffer.from(value) : undefined, force };
    return this.#run((asts) => unlock(this.r, this.lock(name), giving, asts));
  }
  cancel(name: string) {
    return this.#run((asts) => cancel(this.r, this.lock(name), 'ECANCELED', asts));
  }
  die(...names: string[]) {
    return this.#run((asts) => {
      for (const name of names) purge(this.r, this.lock(name));
      grantPending(this.r, asts);
      return { ok: true };
    });
  }
  queue(which: 'granted' | 'converting' | 'waiting') {
    return [...locksIn(this.r[which])].map((lock) => this.#names.get(lock));
  }
}

describe('DLM: modes', () => {
  test('the matrix of compatibility, whole', () => {
    const rows = lockModes.map((a) => lockModes.map((b) => (compatible(a, b) ? 1 : 0)).join(''));
    expect(rows).toEqual(['111111', '111110', '111000', '110100', '110000', '100000']);
  });

  test('the table of value blocks, whole', () => {
    const held = [undefined, ...lockModes] as const;
    const rows = held.map((a) => lockModes.map((b) => valueDirection(a, b).charAt(0)).join(''));
    expect(rows).toEqual(['rrrrrr', 'rrrrrr', 'nrrrrr', 'nnrrrr', 'nnnrrr', 'wwwwwr', 'wwwwww']);
  });
});

describe('DLM: grant rules', () => {
  test('6-4: a new request waits behind those that wait, though it is compatible', () => {
    const t = new Table();
    expect(t.request('a', 'PR')).toEqual(['a PR']);
    expect(t.request('b', 'EX')).toEqual(['a blocks EX']);
    expect(t.request('c', 'PR')).toEqual([]);
    expect(t.queue('waiting')).toEqual(['b', 'c']);
    expect(t.unlock('a')).toEqual(['b EX', 'b blocks PR']);
    expect(t.unlock('b')).toEqual(['c PR']);
  });

  test('6-3: a conversion passes those that wait, and goes before them', () => {
    const t = new Table();
    t.request('a', 'CR');
    t.request('b', 'CR');
    expect(t.request('c', 'EX')).toEqual(['a blocks EX', 'b blocks EX']);
    expect(t.convert('a', 'PR')).toEqual(['a PR', 'a blocks EX']);
    expect(t.convert('b', 'PW')).toEqual([]);
    expect(t.queue('converting')).toEqual(['b']);
    expect(t.unlock('a')).toEqual(['b PW', 'b blocks EX']);
  });

  test('6-3: conversions are granted in order', () => {
    const t = new Table();
    for (const n of ['a', 'b', 'c']) t.request(n, n === 'a' ? 'PW' : 'CR');
    expect(t.convert('b', 'PR')).toEqual(['a blocks PR']);
    expect(t.convert('c', 'CW')).toEqual([]);
    expect(t.convert('a', 'NL')).toEqual(['a NL', 'b PR', 'b blocks CW']);
    expect(t.queue('converting')).toEqual(['c']);
  });

  test('6-7: QUECVT puts a conversion behind the others; it is for conversions up', () => {
    const t = new Table();
    t.request('a', 'PR');
    t.request('b', 'NL');
    t.request('c', 'NL');
    expect(t.convert('b', 'PW')).toEqual(['a blocks PW']);
    expect(t.convert('c', 'PR', ['QUECVT'])).toEqual([]);
    expect(t.queue('converting')).toEqual(['b', 'c']);
    expect(t.convert('a', 'CR', ['QUECVT'])).toEqual(['EINVAL']);
    expect(t.cancel('c')).toEqual(['c ECANCELED']);
    expect(t.convert('c', 'PR')).toEqual(['c PR', 'c blocks PW']);
  });

  test('EXPEDITE: a new NL is granted past everybody; without it it waits', () => {
    const t = new Table();
    t.request('a', 'EX');
    t.request('b', 'EX');
    expect(t.request('c', 'NL')).toEqual([]);
    expect(t.request('d', 'NL', 'EXPEDITE')).toEqual(['d NL']);
    expect(t.request('e', 'CR', 'EXPEDITE')).toEqual(['EINVAL']);
  });

  test('NOORDER passes what waits where it is compatible; HEADQUE waits as the first', () => {
    const t = new Table();
    t.request('a', 'PR');
    t.request('b', 'EX');
    expect(t.request('c', 'CR', 'NOORDER')).toEqual(['c CR', 'c blocks EX']);
    t.request('d', 'EX', 'HEADQUE');
    t.request('e', 'CW', 'NOORDER');
    expect(t.queue('waiting')).toEqual(['d', 'b', 'e']);
    expect(t.unlock('a')).toEqual(['e CW', 'e blocks EX']);
  });

  test('NOQUEUE: EAGAIN, and the holders hear of it only with NOQUEUEBAST', () => {
    const t = new Table();
    t.request('a', 'PR');
    expect(t.request('b', 'EX', 'NOQUEUE')).toEqual(['b EAGAIN']);
    expect(t.request('c', 'EX', 'NOQUEUE', 'NOQUEUEBAST')).toEqual(['a blocks EX', 'c EAGAIN']);
    t.request('d', 'PR');
    expect(t.convert('d', 'EX', ['NOQUEUE'])).toEqual(['d EAGAIN']);
    expect(t.queue('granted')).toEqual(['a', 'd']);
    expect(t.request('e', 'EX', 'NOQUEUEBAST')).toEqual(['EINVAL']);
  });

  test('ALTPR and ALTCW: the other mode where the wanted one is not to be had', () => {
    const t = new Table();
    t.request('a', 'PR');
    expect(t.request('b', 'EX', 'ALTPR', 'NOQUEUE')).toEqual(['b PR alt']);
    expect(t.request('c', 'EX', 'ALTCW', 'NOQUEUE')).toEqual(['c EAGAIN']);
    expect(t.request('d', 'EX', 'ALTCW', 'ALTPR')).toEqual(['EINVAL']);
  });
});

describe('DLM: conversion deadlock', () => {
  test('EDEADLK for the one that comes second, which keeps its mode', () => {
    const t = new Table();
    t.request('a', 'PR');
    t.request('b', 'PR');
    expect(t.convert('a', 'EX')).toEqual(['b blocks EX']);
    expect(t.convert('b', 'EX')).toEqual(['b EDEADLK']);
    expect(t.lock('b').granted).toBe('PR');
    expect(t.unlock('b')).toEqual(['a EX']);
  });

  test('CONVDEADLK: demoted to NL, so that the first goes; granted later', () => {
    const t = new Table();
    t.request('a', 'PR');
    t.request('b', 'PR');
    t.convert('a', 'EX');
    expect(t.convert('b', 'EX', ['CONVDEADLK'])).toEqual(['a EX', 'a blocks EX']);
    expect(t.lock('b').granted).toBe('NL');
    expect(t.unlock('a')).toEqual(['b EX demoted']);
  });

  test('EDEADLK also where the first only waits for the second, and QUECVT keeps the order', () => {
    const t = new Table();
    t.request('a', 'NL');
    t.request('b', 'PR');
    t.convert('a', 'EX');
    expect(t.convert('b', 'EX', ['QUECVT'])).toEqual(['b EDEADLK']);
    expect(t.convert('b', 'EX')).toEqual(['b EX', 'b blocks EX']);
  });

  test('NODLCKWT: queued all the same; a cancel undoes it', () => {
    const t = new Table();
    t.request('a', 'PR');
    t.request('b', 'PR');
    t.convert('a', 'EX');
    expect(t.convert('b', 'EX', ['NODLCKWT'])).toEqual([]);
    expect(t.cancel('a')).toEqual(['a ECANCELED', 'a blocks EX']);
    expect(t.unlock('a')).toEqual(['b EX']);
  });
});

describe('DLM: blocking ASTs', () => {
  test('the highest mode, once, and again only for a higher one', () => {
    const t = new Table();
    t.request('a', 'PW');
    expect(t.request('b', 'CW')).toEqual(['a blocks CW']);
    expect(t.request('c', 'PR')).toEqual(['a blocks PR']);
    expect(t.request('d', 'CW')).toEqual([]);
    expect(t.request('e', 'EX')).toEqual(['a blocks EX']);
    expect(t.request('f', 'EX')).toEqual([]);
  });

  test('a holder of PR hears of CW though PR waits too', () => {
    const t = new Table();
    t.request('a', 'PR');
    expect(t.request('b', 'CW')).toEqual(['a blocks CW']);
    expect(t.request('c', 'PR')).toEqual([]);
    expect(t.unlock('b', [], undefined, true)).toEqual(['b ECANCELED', 'c PR']);
  });
});

describe('DLM: value blocks', () => {
  test('written on the way down and at unlock from PW and EX, read on the way up', () => {
    const t = new Table();
    t.request('a', 'EX', 'VALBLK');
    expect(t.convert('a', 'CR', ['VALBLK'], 'one')).toEqual(['a CR']);
    t.request('b', 'CR', 'VALBLK');
    expect(t.values.get('b')).toBe('one');
    t.convert('b', 'PW', ['VALBLK']);
    t.unlock('b', ['VALBLK'], 'two');
    t.convert('a', 'PR', ['VALBLK'], 'not written');
    expect(t.values.get('a')).toBe('two');
    t.unlock('a', ['VALBLK'], 'not written either');
    t.request('c', 'NL', 'VALBLK');
    expect(t.values.get('c')).toBe('two');
  });

  test('not valid after a writer died or gave up with IVVALBLK, valid after the next write', () => {
    const t = new Table();
    t.request('a', 'EX');
    t.request('b', 'EX');
    expect(t.die('a')).toEqual(['b EX notvalid']);
    expect(t.unlock('b', ['VALBLK'], 'new')).toEqual([]);
    expect(t.request('c', 'PW')).toEqual(['c PW']);
    t.unlock('c', ['IVVALBLK']);
    expect(t.request('d', 'NL')).toEqual(['d NL notvalid']);
    t.request('e', 'PR');
    expect(t.die('e')).toEqual([]);
  });
});

describe('DLM: tokens', () => {
  test('every grant that writes has a greater one; concurrent writers share theirs', () => {
    const t = new Table();
    const n = (name: string) => t.lock(name).token?.n;
    t.request('a', 'CW');
    t.request('b', 'CW');
    expect([n('a'), n('b')]).toEqual([100, 100]);
    t.unlock('a');
    t.unlock('b');
    t.request('c', 'EX');
    expect(n('c')).toBe(101);
    t.convert('c', 'PR');
    expect(n('c')).toBeUndefined();
    t.convert('c', 'PW');
    expect(n('c')).toBe(102);
  });

  test('with none left a writing mode waits, a reading one does not', () => {
    const r = newResource('r');
    const asts: Ast[] = [];
    const lock = newLock(1);
    request(r, lock, { mode: 'EX' }, asts);
    expect(asts).toEqual([]);
    Object.assign(r.tokens, { transid: 1, next: 5, last: 6 });
    grantPending(r, asts);
    expect(lock.token).toEqual({ transid: 1, n: 5 });
  });
});

describe('DLM: bad input', () => {
  test('a lock that waits is neither converted nor unlocked; nothing pending cannot be cancelled', () => {
    const t = new Table();
    t.request('a', 'EX');
    t.request('b', 'EX');
    expect(t.convert('b', 'NL')).toEqual(['EBUSY']);
    expect(t.unlock('b')).toEqual(['EBUSY']);
    expect(t.cancel('a')).toEqual(['EBUSY']);
    expect(t.unlock('b', [], undefined, true)).toEqual(['b ECANCELED']);
    expect(t.unlock('a')).toEqual([]);
    expect(t.r.granted.size + t.r.converting.size + t.r.waiting.size).toBe(0);
  });

  test('100,000 waiters come and go in the time of a few', () => {
    const r = newResource('r', { transid: 1, first: 1, last: 1_000_000 });
    const asts: Ast[] = [];
    const locks = Array.from({ length: 100_000 }, (_, i) => newLock(i, true));
    const before = process.cpuUsage();
    for (const lock of locks) request(r, lock, { mode: 'EX' }, asts);
    expect(r.waiting.size).toBe(99_999);
    for (const lock of locks) unlock(r, lock, {}, asts);
    expect(asts.filter((a) => a.type === 'granted')).toHaveLength(100_000);
    // Quadratic behaviour would take minutes, of the processor's time.
    expect(process.cpuUsage(before).user / 1_000).toBeLessThan(5_000);
  });
});
