// Every export of the contracts, by file.
export * from './actor.ts';
export * from './asyncapi.ts';
export * from './attach.ts';
export * from './call-graph.ts';
export * from './clms.ts';
export * from './contract.ts';
export * from './envelope.ts';
export * from './environment.ts';
export * from './errno.ts';
export * from './ics.ts';
export * from './ids.ts';
export * from './origin.ts';
export * from './rendezvous.ts';
export * from './service.ts';
export * from './subjects.ts';
export * from './vproc.ts';
