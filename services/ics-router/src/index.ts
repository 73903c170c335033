// Every export of the router, by file.
export { fakeProber } from './adapters/prober.fake.ts';
export { tcpProber } from './adapters/prober.tcp.ts';
export type { Prober } from './ports.ts';
export { createIcsRouter, type Router, type RouterDeps } from './service.ts';
