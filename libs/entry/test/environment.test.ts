import { expect, test } from 'vitest';
import { z } from 'zod';
import { environmentOf, serviceEnvironment } from '../src/index.ts';

const right = { SSI_CLUSTER: 'c', SSI_NODE: '3', SSI_NATS: 'nats://127.0.0.1:4222' };

test('the environment of a service: numbers are numbers, what is left out has its default', () => {
  const read = environmentOf(serviceEnvironment, right);
  expect(read).toMatchObject({ ok: true, value: { SSI_NODE: 3, SSI_ADDRESSES: '127.0.0.1' } });
});

test('a service adds variables of its own', () => {
  const schema = serviceEnvironment.extend({ SSI_NODE_DIR: z.string().min(1) });
  expect(environmentOf(schema, right)).toMatchObject({ ok: false, errno: 'EINVAL' });
  expect(environmentOf(schema, { ...right, SSI_NODE_DIR: '/n' })).toMatchObject({
    value: { SSI_NODE_DIR: '/n' },
  });
});

test.each([
  ['a number that is none', { ...right, SSI_NODE: '1024' }, 'SSI_NODE'],
  ['a cluster name with a space', { ...right, SSI_CLUSTER: 'a b' }, 'SSI_CLUSTER'],
  ['a sample above 1', { ...right, SSI_TRACE_SAMPLE: '2' }, 'SSI_TRACE_SAMPLE'],
  ['a typo', { ...right, SSI_ADRESSES: '10.0.0.1' }, 'did you mean SSI_ADDRESSES?'],
])('EINVAL names the variable: %s', (_, env, named) => {
  const read = environmentOf(serviceEnvironment, env);
  expect(read).toMatchObject({ ok: false, errno: 'EINVAL' });
  expect(read.ok ? '' : read.detail).toContain(named);
});
