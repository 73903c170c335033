// How far back a terminal's unread input begins.
import { describe, expect, test } from 'vitest';
import { bytesToFeedAgain } from '../src/adapters/unread-input.ts';

const again = (fed: string, waiting: string): string => {
  const bytes = Buffer.from(fed);
  return fed.slice(fed.length - bytesToFeedAgain(bytes, Buffer.from(waiting)));
};

describe('vproc: a terminal with unread input', () => {
  test('the last bytes as they were fed', () => {
    expect(again('one\ntwo\n', 'wo\n')).toBe('wo\n');
    expect(again('one\n', '')).toBe('');
  });
  test('a return that was read as a new line, and what was erased', () => {
    expect(again('ls\rpwd\r', 'pwd\n')).toBe('pwd\r');
    expect(again('old\nabX\u007fc\n', 'abc\n')).toBe('abX\u007fc\n');
  });
  test('input that does not read as what was fed: as many bytes', () => {
    expect(again('abcd', 'zz')).toBe('cd');
    expect(again('a', 'zzz')).toBe('a');
  });
});
