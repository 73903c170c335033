// One checker, result by result, against keepalived's rules.
import type { Checker } from '@ssi/contracts';
import { describe, expect, test } from 'vitest';
import { afterCheck, newChecker, type ProbeResult, timesOf } from '../src/index.ts';

const connected: ProbeResult = { ok: true, kind: 'tcp' };
const refused: ProbeResult = { ok: false, reason: 'ECONNREFUSED' };
const ended = (exitCode: number): ProbeResult => ({ ok: true, kind: 'script', exitCode });
const answer = (status: number, text = '', md5 = ''): ProbeResult => ({
  ...{ ok: true, kind: 'http', status, md5, text },
});

const times = { delayLoopMs: 6_000, delayBeforeRetryMs: 500 };
const tcp = { kind: 'TCP_CHECK', ...times, retry: 2 } as const;
const misc: Checker & { kind: 'MISC_CHECK' } = {
  ...{ kind: 'MISC_CHECK', script: ['/bin/check'], ...times, dynamic: true },
};
const get = { kind: 'HTTP_GET', ...times, retry: 2, urls: [{ path: '/a' }, { path: '/b' }] };

/** What each result leads to: u or d where the server is told so, - where not; and the time until the next. */
function run(c: Checker, results: readonly ProbeResult[], tookMs = 0): string[] {
  let state = newChecker(c);
  return results.map((result) => {
    const step = afterCheck(c, state, result, tookMs);
    state = step.state;
    return `${step.tells?.[0] ?? '-'} ${step.nextInMs}`;
  });
}

describe('LVS: checkers', () => {
  test('defaults: 60 s, one retry after 1 s (HTTP_GET 3 s; MISC_CHECK none), warm-up up to the loop', () => {
    const common = { delayLoopMs: 60_000, warmupMs: 60_000 };
    const of = (c: Checker) => timesOf(c);
    expect(of({ kind: 'TCP_CHECK' })).toEqual({ ...common, retry: 1, delayBeforeRetryMs: 1_000 });
    expect(of({ kind: 'HTTP_GET', urls: [{ path: '/' }] })).toEqual({
      ...{ ...common, retry: 1, delayBeforeRetryMs: 3_000 },
    });
    expect(of({ kind: 'MISC_CHECK', script: ['x'] }).retry).toBe(0);
  });

  test('TCP_CHECK: the first failure is enough; later ones count after the retries', () => {
    expect(run(tcp, [refused, refused, connected])).toEqual(['d 6000', '- 6000', 'u 6000']);
    const list = [connected, refused, refused, refused, refused, connected, refused, connected];
    expect(run(tcp, list)).toEqual([
      ...['u 6000', '- 500', '- 500', 'd 6000', '- 6000', 'u 6000', '- 500', '- 6000'],
    ]);
  });

  test('alpha: down until the first success; the first failure is told as well', () => {
    expect(run({ ...tcp, alpha: true }, [refused, connected])).toEqual(['d 6000', 'u 6000']);
    expect(newChecker({ ...tcp, alpha: true }).isUp).toBe(false);
  });

  test('HTTP_GET: one address a check, up when all were right; a failed one is asked until it is right, then all', () => {
    const [good, bad] = [answer(200), answer(500)];
    expect(run(get as Checker, [good, good, good])).toEqual(['- 6000', 'u 6000', '- 6000']);
    // After the first round three failures in a row count; then /a, /a again and /b must be right.
    expect(run(get as Checker, [good, good, bad, bad, bad, bad, good, good, good])).toEqual([
      ...['- 6000', 'u 6000', '- 500', '- 500', 'd 6000', '- 6000', '- 6000', '- 6000', 'u 6000'],
    ]);
    // Not known yet: the first failure is enough, also of the second address.
    expect(run(get as Checker, [bad])).toEqual(['d 6000']);
    expect(run(get as Checker, [good, bad])).toEqual(['- 6000', 'd 6000']);
  });

  test('HTTP_GET: status ranges, digest, regex', () => {
    const url = (more: object): Checker => ({ kind: 'HTTP_GET', urls: [{ path: '/', ...more }] });
    const tells = (more: object, result: ProbeResult) => run(url(more), [result])[0]?.[0];
    expect([199, 200, 299, 300].map((s) => tells({}, answer(s)))).toEqual(['d', 'u', 'u', 'd']);
    const statusCodes = [
      { from: 100, to: 100 },
      { from: 404, to: 410 },
    ];
    expect([100, 101, 200, 404, 410, 411].map((s) => tells({ statusCodes }, answer(s)))).toEqual([
      ...['u', 'd', 'd', 'u', 'u', 'd'],
    ]);
    const digest = 'a'.repeat(32);
    expect(tells({ digest }, answer(200, '', digest))).toBe('u');
    expect(tells({ digest }, answer(200, '', 'b'.repeat(32)))).toBe('d');
    expect(tells({ regex: '^ok \\d+' }, answer(200, 'ok 12'))).toBe('u');
    expect(tells({ regex: '^ok \\d+' }, answer(200, 'no'))).toBe('d');
    expect(tells({ regex: 'bad', regexNoMatch: true }, answer(200, 'good'))).toBe('u');
    expect(tells({ regex: 'bad', regexNoMatch: true }, answer(200, 'bad'))).toBe('d');
  });

  test('MISC_CHECK: exit status 0; with dynamic 2 to 255 are weights 0 to 253; 1 is down', () => {
    const weigh = (c: Checker, code: number) => {
      const { state, tells } = afterCheck(c, newChecker(c), ended(code), 0);
      return [tells, state.weight];
    };
    expect([0, 1, 2, 52, 255].map((code) => weigh(misc, code))).toEqual([
      ['up', undefined],
      ['down', undefined],
      ['up', 0],
      ['up', 50],
      ['up', 253],
    ]);
    expect(weigh({ ...misc, dynamic: false }, 2)).toEqual(['down', undefined]);
  });

  test('MISC_CHECK: times run from the beginning of the script; a script that was killed has failed', () => {
    const killed: ProbeResult = { ok: false, reason: 'timed out' };
    expect(run(misc, [ended(0), killed], 200)).toEqual(['u 5800', 'd 5800']);
    expect(run({ ...misc, retry: 1 }, [ended(0), ended(1), ended(1)], 7_000)).toEqual([
      ...['u 0', '- 0', 'd 0'],
    ]);
  });
});
