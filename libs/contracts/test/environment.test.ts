import { globSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { misspelt, variables } from '../src/environment.ts';

describe('variables of the environment', () => {
  test('a typo is found, with what was meant', () => {
    expect(misspelt({ SSI_CLSUTER: 'x' })).toEqual([{ name: 'SSI_CLSUTER', meant: 'SSI_CLUSTER' }]);
    expect(misspelt({ SSI_NAT: 'x' })).toEqual([{ name: 'SSI_NAT', meant: 'SSI_NATS' }]);
    expect(misspelt({ SSI_EXPECTED_VOTE: '3' })).toEqual([
      { name: 'SSI_EXPECTED_VOTE', meant: 'SSI_EXPECTED_VOTES' },
    ]);
  });

  test('what is right, or somebody else’s, is left alone', () => {
    expect(misspelt({ SSI_CLUSTER: 'x', SSI_NODE: '1', HOME: '/', SSI_BILLING_KEY: 'x' })).toEqual(
      [],
    );
    expect(
      misspelt(Object.fromEntries(Object.keys(variables).map((v) => [`SSI_${v}`, '']))),
    ).toEqual([]);
  });

  test('the table has every variable that a program reads', () => {
    const cwd = fileURLToPath(new URL('../../..', import.meta.url));
    const names = new Set(
      globSync('{libs,services,infra}/**/*.{ts,mjs,c}', {
        cwd,
        exclude: ['**/node_modules', '**/test'],
      })
        .flatMap((file) => readFileSync(`${cwd}${file}`, 'utf8').match(/\bSSI_[A-Z0-9_]+\b/g) ?? [])
        .map((name) => name.slice('SSI_'.length)),
    );
    expect([...names].filter((n) => !(n in variables))).toEqual([]);
    expect(Object.keys(variables).filter((n) => !names.has(n))).toEqual([]);
  });
});
